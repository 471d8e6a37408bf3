"""``lit-curriculum merge`` and ``lit-curriculum select``: join files of scores, and choose examples by them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, get_loader  # type: ignore[attr-defined]

from lit_curriculum.curriculum.base import CurriculumPolicy, entry_reasons
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.engine import Autocast, TokenBudget
from lit_curriculum.difficulty.learned import refuse_learned
from lit_curriculum.difficulty.score_store import merge_scores, read_scores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.planner import StagePlanner
from lit_curriculum.models.loading import ModelSource
from lit_curriculum.types import Example, ExampleStore, Plan
from lit_curriculum.utils.command_parser import CommandParser
from lit_curriculum.utils.files import atomic_path


def merge_command(args: Sequence[str]) -> None:
    """``lit-curriculum merge``: join files of scores of one model, encoding and set of formulas into one.

    Raises:
        ValueError: the files are of different models, encodings or formulas, or differ about an example.
        FileNotFoundError: one is not there.
    """
    parser = CommandParser(
        "merge", "Merge scores of shards (lit-curriculum score --shard 1/N, 2/N, ...) into one file."
    )
    parser.add_argument("parts", nargs="+", type=Path, help="DIR/scores.parquet of each shard, or DIR")
    parser.add_argument("--out", type=Path, required=True, help="file to write, such as scores.parquet")
    given = parser.parse_args(args)
    parts = [read_scores(part / "scores.parquet" if part.is_dir() else part) for part in given.parts]
    merged = merge_scores(parts)
    merged.save(given.out)
    print(f"merged {len(merged)} examples of {len(parts)} files ({', '.join(merged.metrics)}): {given.out}")


def select_command(args: Sequence[str]) -> None:
    """``lit-curriculum select``: write what ``curriculum.policy`` would train on in its first stage; reads no weights.

    Of several processes, the first one does it and the others end at once. Lightning is imported only for a model or
    data module other than the default ones, and transformers only for data that were not encoded before. Of the options
    of trainer and model it then looks only at those that it needs.

    Each line of ``--out`` holds id, messages, weight, rank (1 is trained on first), the scores, the reason for the
    pick, ability and source, and every other field of the record.

    Raises:
        ValueError: the scores are not of these data, this encoding or these formulas.
    """
    parser = CommandParser("select", "Write the examples that a policy chooses from stored scores.", takes_run=True)
    parser.add_argument("--scores", type=Path, default=None, help="DIR/scores.parquet of lit-curriculum score")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")
    own, rest = parser.parse_with_run(args)
    if any(int(os.environ.get(name) or 0) for name in _RANK):
        return  # there is one choice and one file, and nothing here that processes could share
    stored = None if own.scores is None else read_scores(own.scores)
    planner, examples, num_stages = _configure_light(rest) or _configure(rest)
    refuse_learned(planner.metrics, "select")
    planner.setup(examples, num_stages)
    if stored is not None:
        stored.check_run({n: m.formula for n, m in planner.metrics.items()}, examples)
        stored.enter(planner.table, examples)
    planner.score_texts()
    for name in planner.policy.required_metrics:
        if planner.table.never_scored(name).any():
            there = "--scores is not given" if stored is None else f"{own.scores} holds only {sorted(stored.metrics)}"
            raise ValueError(
                f"the policy reads the metric {name!r}, but {there}; score the data with it (lit-curriculum score)."
            )
    plan, table, policy = planner.plan(0).plan, planner.table, planner.policy
    _write(own.out, _lines(examples, table, plan, entry_reasons(policy, table, plan)))
    print(f"selected {len(plan)} of {len(examples)} examples with {type(policy).__name__}: {own.out}")


_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that launchers set to a number other than zero for all processes but the first."""
Configured = tuple[StagePlanner, ExampleStore, int]
"""Planner, examples and the number of stages of a run."""


def _configure(args: Sequence[str]) -> Configured:
    """Configure the run as ``lit-curriculum fit`` does."""
    from lit_curriculum.commands.run import CurriculumCLI, curriculum_of, training_examples

    cli = CurriculumCLI(args, run=False)
    examples = training_examples(cli.trainer, cli.model, cli.datamodule)
    return curriculum_of(cli.trainer).planner, examples, cli.trainer.max_epochs or 1


def _configure_light(args: Sequence[str]) -> Configured | None:
    """Configure a run of the default model and data module without Lightning; none for others or for a wrong option."""
    from lit_curriculum.data.instruction_data import InstructionData  # here, as merge needs no data sets

    layers = Layers()
    try:
        layers.read(args)
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return None
    num_stages = layers.trainer.get("max_epochs")
    if layers.data_class != _DATA or layers.model_class != _MODEL or type(num_stages) is not int or num_stages < 1:
        return None
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=bool | int, default=0)
    parser.add_function_arguments(make_planner, "curriculum")
    parser.add_subclass_arguments(InstructionData, "data", required=True)
    try:
        config = parser.parse_args(layers.rest)
    except ArgumentError:
        return None
    if config.curriculum.seed is None:
        config.curriculum.seed = int(config.seed_everything or 0)
    init = parser.instantiate_classes(config)
    data: InstructionData = init.data
    data.model = ModelSource(**{f.name: layers.model[f.name] for f in fields(ModelSource) if f.name in layers.model})
    data.read()
    return make_planner(**init.curriculum), data.train_store, num_stages


def make_planner(
    policy: CurriculumPolicy,
    metrics: dict[str, DifficultyMetric] | None = None,
    seed: int | None = None,
    token_budget: TokenBudget = "device",
    autocast: Autocast = "none",
    training_loss_metric: str | None = None,
    reuse_scores: bool = False,
) -> StagePlanner:
    """Make the planner of a run; the options are those of :class:`~lit_curriculum.CurriculumCallback`."""
    del token_budget, reuse_scores
    return StagePlanner(policy, metrics, seed or 0, training_loss_metric, autocast)


class Layers:
    """Options of a run in layers; those of trainer and model are not checked."""

    def __init__(self) -> None:
        self.trainer: dict[str, Any] = {}
        self.model: dict[str, Any] = {}
        """Arguments of the model."""
        self.model_class: str | None = None
        self.data_class: str | None = None
        self.rest: list[str] = []
        """All other options, with a data class that is free of Lightning."""

    def read(self, args: Sequence[str]) -> None:
        """Read options of the command line.

        Raises:
            ValueError: an option has no value, or a layer is no mapping.
            OSError: a layer cannot be read.
        """
        given = iter(args)
        for arg in given:
            option, sep, text = arg.partition("=")
            value = text if sep else next(given, None)
            if value is None or not option.startswith("-"):
                raise ValueError(arg)
            keys = option.removeprefix("--").split(".")
            if option in ("-c", "--config"):
                self._layer(_load(Path(value).read_text(encoding="utf-8")))
            elif keys[0] in ("trainer", "model"):
                # Texts that look like numbers stay texts: a commit, the name of a folder.
                is_text = keys[0] == "model" and keys[-1] in ("source", "tokenizer", "revision") and value != "null"
                self._block(keys[0], _nested(keys[1:], value if is_text else _load(value)))
            elif option in ("--data", "--data.class_path"):
                self._layer({"data": _load(value)})
            else:
                self.rest.append(f"{option}={value}")

    def _layer(self, layer: Any) -> None:
        if not isinstance(layer, dict):
            raise ValueError("a layer is no mapping")
        for name in ("trainer", "model"):
            self._block(name, layer.pop(name, {}))
        data = layer.get("data")
        if isinstance(data, str):
            layer["data"] = data = {"class_path": data}
        if isinstance(data, dict) and "class_path" in data:
            self.data_class, data["class_path"] = data["class_path"], _LIGHT_DATA
        if layer:
            self.rest.append(f"--config={yaml.safe_dump(layer, sort_keys=False)}")

    def _block(self, name: str, value: Any) -> None:
        if isinstance(value, str) and name == "model":
            value = {"class_path": value}
        if not isinstance(value, dict):
            raise ValueError(f"{name} is no mapping")
        if name == "trainer":
            self.trainer |= value
            return
        self.model_class = value.pop("class_path", self.model_class)
        options = value.pop("init_args", {}) | value
        if isinstance(options.get("config"), dict) and isinstance(self.model.get("config"), dict):
            options["config"] = self.model["config"] | options["config"]
        self.model |= options


_load = get_loader("yaml")
_MODEL, _DATA = "lit_curriculum.CausalLMModule", "lit_curriculum.InstructionDataModule"
_LIGHT_DATA = "lit_curriculum.data.instruction_data.InstructionData"


def _nested(keys: Sequence[str], value: Any) -> Any:
    """``{"a": {"b": value}}`` for keys a and b."""
    for key in reversed(keys):
        value = {key: value}
    return value


def _lines(
    examples: ExampleStore, table: DifficultyTable, plan: Plan, reasons: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for place, index in enumerate(plan.indices.tolist()):
        scores = {name: float(v[index]) if np.isfinite(v[index]) else None for name, v in table.scores.items()}
        weight = 1.0 if plan.weights is None else float(plan.weights[place])
        yield _line(examples[index], {"weight": weight, "rank": place + 1, "scores": scores, "reason": reasons[place]})


def _line(example: Example, decision: dict[str, Any]) -> dict[str, Any]:
    """One line of the file; fields of the record that have a name of ours are under ``record``."""
    line: dict[str, Any] = {
        "id": example.id,
        "messages": [{"role": m.role, "content": m.content} for m in example.messages],
        **decision,
        "ability": example.ability,
        "source": example.source,
    }
    taken = {k: v for k, v in example.meta.items() if k in line}
    others = {k: v for k, v in example.meta.items() if k not in line}
    return line | others | ({"record": taken} if taken else {})


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    with atomic_path(path) as draft, draft.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
