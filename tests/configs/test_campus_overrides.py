"""Every ablation that the head of campus.yaml names is one option, and trains on as many examples as the control."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lit_curriculum.commands.plan import make_plan
from lit_curriculum.commands.run import CurriculumCLI
from tests.configs.config_layers import CONFIGS, layers

NUM_TRAIN = 150
LATER = {
    "ppl_on=all": (
        '--curriculum.metrics.loss_all={"class_path": "lit_curriculum.ConversationNLL"}',
    )
}  # fmt: skip
"""Options that go with one, where it needs a metric more."""
OTHER_LENGTH = {"stop=exhaustion": 4 * NUM_TRAIN}
"""Ablations of the budget itself: four schedules are taught whole."""


def head() -> str:
    lines = (CONFIGS / "curriculum" / "campus.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def overrides() -> list[str]:
    """``option=value`` of every row, with all values of ``option=a | b`` and all lists of views."""
    found = [f"metrics={views}" for views in re.findall(r"'(\[[\w,]+\])'", head())]
    for option, first, others in re.findall(r"\b(\w+)=([\w.]+)((?: \| [\w.]+)*)", head()):
        found += [f"{option}={value}" for value in (first, *others.split(" | ")[1:])]
    return [f for f in found if not f.startswith("direction=")]  # of easy_to_hard.yaml


def planned_examples(folder: Path, curriculum: str, *options: str) -> int:
    args = [
        *layers("tiny", "abilities", curriculum, "debug"), f"--trainer.default_root_dir={folder}",
        f"--trainer.logger.init_args.save_dir={folder}", f"--data.num_train={NUM_TRAIN}",
        "--data.num_val_per_ability=1", f"--data.cache_dir={folder / 'cache'}", *options,
    ]  # fmt: skip
    cli = CurriculumCLI(args, run=False)
    return int(make_plan(cli.trainer, cli.model, cli.datamodule)["examples"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overrides")


def test_the_head_names_every_kind_of_ablation() -> None:
    named = {o.split("=")[0] for o in overrides()}
    wanted = {"choice", "rescore_which", "rescore_every", "rescore_scope", "metrics", "power", "initial_scope"}
    wanted |= {"num_bands", "pacing_index", "clock", "exclude_seen", "shuffle", "stop"}
    assert wanted <= named
    choices = [o.removeprefix("choice=") for o in overrides() if o.startswith("choice=")]
    assert choices == ["random", "round_robin", "max_ppl", "softmax"]
    views = [o.removeprefix("metrics=")[1:-1].split(",") for o in overrides() if o.startswith("metrics=")]
    assert [len(v) for v in views] == [2, 2, 3, 1], "two pairs, one left out, one alone"
    assert "direction=hard_to_easy" in head()


@pytest.mark.parametrize("override", overrides())
def test_every_ablation_is_one_option_at_equal_budget(override: str, folder: Path) -> None:
    options = ["--trainer.max_epochs=40", f"--curriculum.policy.{override}", *LATER.get(override, ())]
    assert planned_examples(folder, "campus", *options) == OTHER_LENGTH.get(override, 3 * NUM_TRAIN)


def test_the_control_trains_on_as_many(folder: Path) -> None:
    assert planned_examples(folder, "uniform", "--trainer.max_epochs=3") == 3 * NUM_TRAIN
