"""Every yaml of the repository parses, and every curriculum runs for two stages on the embedded default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lit_curriculum.commands.plan import make_plan
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.report.ledger import Ledger
from tests.configs.config_layers import CONFIGS, check_plan, layers
from tests.methods.baselines.tiny_scorer import save_scorer

LAYERS = {
    folder: sorted(p.stem for p in (CONFIGS / folder).glob("*.yaml")) for folder in ("model", "data", "curriculum")
}
# One stage is one band: more stages than debug.yaml has, and fewer bands than the method's.
_FEW_BANDS = (
    "--trainer.max_epochs=9", "--curriculum.policy.num_bands=2", "--curriculum.policy.budget_passes=0.5",
)  # fmt: skip
BANDED = {
    "campus": _FEW_BANDS,
    "campus_three_views": _FEW_BANDS,
    "campus_demo": _FEW_BANDS,
    "infobatch": ("--trainer.max_epochs=4", "--curriculum.policy.budget_passes=2.0"),
    "selective_backprop": ("--trainer.max_epochs=4", "--curriculum.policy.budget_passes=1.5"),
    "phases": ("--curriculum.policy.num_bands=2", "--curriculum.policy.stages_per_band=1"),
    "one_pass": ("--curriculum.policy.num_bands=2", "--curriculum.policy.budget_passes=1.0"),
    "baby_steps": ("--curriculum.policy.num_bands=2", "--curriculum.policy.budget_passes=1.0"),
}
# Need weights that are not in the repository; their tests are marked slow elsewhere.
NEEDS_WEIGHTS = {"superfiltering", "deita", "selectit"}
# Options that fit a configuration to 120 examples.
SMALL = {
    "cherry_pre_experienced": (
        "--curriculum.policy.first.init_args.count=20",
        "--curriculum.policy.first.init_args.diversity.init_args.num_clusters=10",
    ),
    "iterit_within_abilities": (
        "--curriculum.policy.policy.init_args.fraction=0.25",
        "--curriculum.policy.policy.init_args.max_complexity=1.0e+9",  # an untrained model finds all of some too hard
    ),
}
# Needs a copy of data that are not in the repository; tests/methods/doit/test_doit_datamodule.py makes a tiny one.
NEEDS_DATA = {"doit"}


def test_there_is_a_yaml_for_every_kind() -> None:
    assert {"iterit", "uniform"} <= set(LAYERS["curriculum"])
    assert "tiny" in LAYERS["model"]
    assert LAYERS["data"]


@pytest.mark.parametrize("model", LAYERS["model"])
def test_every_model_is_made_from_its_yaml(model: str, tmp_path: Path) -> None:
    cli = CurriculumCLI(
        [*layers(model, "abilities", "uniform", "debug"), f"--trainer.default_root_dir={tmp_path}"], run=False
    )
    assert type(cli.model).__name__ == "CausalLMModule"
    assert cli.model.lr_schedule is not None


@pytest.mark.parametrize("curriculum", ["infobatch", "super_loss", "loss_weights"])
def test_weights_that_are_meant_as_they_are_reach_the_model_so(curriculum: str, tmp_path: Path) -> None:
    args = [*layers("tiny", "abilities", curriculum, "debug"), f"--trainer.default_root_dir={tmp_path}"]
    assert CurriculumCLI(args, run=False).model.weighting == "absolute"


@pytest.mark.parametrize("curriculum", [c for c in LAYERS["curriculum"] if c not in NEEDS_WEIGHTS])
@pytest.mark.parametrize("data", [d for d in LAYERS["data"] if d not in NEEDS_DATA])
def test_every_curriculum_runs_two_stages_as_it_was_planned(curriculum: str, data: str, tmp_path: Path) -> None:
    args = [
        *layers("tiny", data, curriculum, "debug"), f"--trainer.default_root_dir={tmp_path}",
        f"--trainer.logger.init_args.save_dir={tmp_path}", "--data.num_train=120", "--data.num_val_per_ability=2",
        f"--data.cache_dir={tmp_path / 'cache'}", *BANDED.get(curriculum, ()), *SMALL.get(curriculum, ()),
    ]  # fmt: skip
    cli = CurriculumCLI(args, run=False)
    plan = make_plan(cli.trainer, cli.model, cli.datamodule)
    cli.trainer.fit(cli.model, cli.datamodule)
    checkpoint = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert checkpoint.exists()
    stages = sorted(p.name for p in (tmp_path / "version_0" / "selection").glob("*.jsonl"))
    assert stages[:2] == ["stage-0.jsonl", "stage-1.jsonl"]
    assert len(stages) == 2 or curriculum in BANDED
    check_plan(plan, Ledger(tmp_path / "version_0"))


@pytest.mark.parametrize("curriculum", sorted(NEEDS_WEIGHTS & set(LAYERS["curriculum"])))
def test_curricula_that_need_weights_are_planned_without_them(curriculum: str, tmp_path: Path) -> None:
    cli = CurriculumCLI(with_source(curriculum, "package:no_such_package/weights.gguf", tmp_path), run=False)
    plan = make_plan(cli.trainer, cli.model, cli.datamodule)
    assert len(plan["stages"]) == 2
    assert plan["simulated_scores"]


@pytest.mark.parametrize("curriculum", sorted(NEEDS_WEIGHTS & set(LAYERS["curriculum"])))
def test_curricula_that_need_weights_run_with_tiny_ones_as_planned(curriculum: str, tmp_path: Path) -> None:
    cli = CurriculumCLI(with_source(curriculum, save_scorer(tmp_path / "scorer", context=1024), tmp_path), run=False)
    plan = make_plan(cli.trainer, cli.model, cli.datamodule)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert len(list((tmp_path / "version_0" / "selection").glob("*.jsonl"))) == 2
    check_plan(plan, Ledger(tmp_path / "version_0"))


def with_source(curriculum: str, source: str, folder: Path) -> list[str]:
    """Options of a run whose curriculum reads its weights from ``source`` instead of a package."""
    text = (CONFIGS / "curriculum" / f"{curriculum}.yaml").read_text()
    (folder / "own.yaml").write_text(re.sub(r"package:[^\s,\]}]+", source, text))
    return [
        *layers("tiny", "abilities", "uniform", "debug"), f"--config={folder / 'own.yaml'}",
        f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}",
        "--data.num_train=120", "--data.num_val_per_ability=2", f"--data.cache_dir={folder / 'cache'}",
    ]  # fmt: skip
