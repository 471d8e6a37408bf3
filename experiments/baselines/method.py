"""What a row of the table of baselines is: a configuration, what is changed in it, and what it is compared with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

CONFIGS = Path(__file__).parents[2] / "configs"
Family = Literal["selection", "ordering"]
RANDOM: dict[Family, str] = {"selection": "random of equal size", "ordering": "random order"}
"""The control of each family: the row of that name."""
Block = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What all rows share; every row trains on as many examples, repeats counted."""

    examples: int = 400
    """Training examples (N)."""
    batch_size: int = 16
    warm_stages: int = 2
    """Passes over all data in random order before a selection begins."""
    stages: int = 8
    """Stages on the selected part."""
    fraction: float = 0.25
    """Selected share of the data."""
    held_out: int = 30
    """Held-out examples of each ability."""

    @property
    def passes(self) -> int:
        """Passes over the data that the budget is worth; the number of stages of a row that trains on all of them."""
        return self.warm_stages + round(self.stages * self.fraction)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row.

    A ``selection`` chooses a part of the data: the model trains on all data first, in the same random order in every
    row (so that scores of the model mean something), and then on the selected part in every stage. An ``ordering``
    trains on as many examples from the start. Where a selection's own file has a first phase (``WarmStartPolicy``), the
    common one replaces it.
    """

    name: str
    config: str
    """Name of a file in ``configs/curriculum``, without its ending."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Dotted names under ``curriculum`` and their values, such as ``policy.init_args.metric``, or a :class:`Later`."""
    family: Family = "selection"
    stages: int | None = None
    """Stages of an ordering at most; by default as many as the budget has passes."""
    arguments: tuple[str, ...] = ()
    """More options of the command line, such as ``--data.option=value``."""

    def block(self, setting: Setting, proxy: Path) -> Block:
        """The ``curriculum`` block of the file, with the options on top.

        Args:
            setting: What all rows share.
            proxy: Folder of the small model that scores from outside.
        """
        text = (CONFIGS / "curriculum" / f"{self.config}.yaml").read_text(encoding="utf-8")
        block: Block = copy.deepcopy(yaml.safe_load(text)["curriculum"])
        sized = {"policy.init_args.fraction": setting.fraction} if self.family == "selection" else {}
        if self.family == "selection" and block["policy"]["class_path"].endswith(".WarmStartPolicy"):
            block["policy"] = block["policy"]["init_args"]["policy"]
        for name, value in {**sized, **self.options}.items():
            put(block, name, value(setting, proxy) if callable(value) else value)
        return block

    @property
    def needs_proxy(self) -> bool:
        """Whether a model from outside scores."""
        return any(value in (proxy_folder, proxy_folders) for value in self.options.values())

    def command(self, setting: Setting, proxy: Path) -> list[str]:
        """Options of the command line that make the row."""
        block = self.block(setting, proxy)
        args = [f"--config={CONFIGS / 'curriculum' / self.config}.yaml", "--trainer.callbacks=[]"]
        args += [f"--curriculum.metrics={json.dumps(block.get('metrics', {}))}"]
        return [*args, *policy_options(block["policy"], self.family, setting, self.stages), *self.arguments]


Later = Callable[[Setting, Path], Any]
"""A value that is known when a cell is run."""


def warm_stages(setting: Setting, proxy: Path) -> int:
    """Number of the common first stages."""
    del proxy
    return setting.warm_stages


def proxy_folder(setting: Setting, proxy: Path) -> str:
    """Folder of the small model that scores from outside."""
    del setting
    return str(proxy)


def proxy_folders(setting: Setting, proxy: Path) -> list[str]:
    """The same, where several are asked for."""
    return [proxy_folder(setting, proxy)]


def policy_options(policy: Block, family: Family, setting: Setting, stages: int | None = None) -> list[str]:
    """Options of the command line for a policy, behind the common first stages where it is a selection."""
    if family == "ordering":
        return [f"--curriculum.policy={json.dumps(policy)}", f"--trainer.max_epochs={stages or setting.passes}"]
    # All options, since those of a policy of the same class in the row's own file would stay in force.
    everything = {"fraction": 1.0, "count": None, "tokens": None, "fresh": "each_stage"}
    uniform = {"class_path": "lit_curriculum.UniformPolicy", "init_args": everything}
    wrapped = {
        "class_path": "lit_curriculum.WarmStartPolicy",
        "init_args": {"first": uniform, "policy": policy, "stages": setting.warm_stages},
    }
    stages = setting.warm_stages + setting.stages
    return [f"--curriculum.policy={json.dumps(wrapped)}", f"--trainer.max_epochs={stages}"]


def put(block: Block, name: str, value: Any) -> None:
    """Set ``a.b.c`` of a nested dictionary; dictionaries on the way are made where they are missing."""
    *path, last = name.split(".")
    for key in path:
        block = block.setdefault(key, {})
    block[last] = value
