"""Every yaml of the repository parses, and every curriculum runs for two stages on the embedded default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum.commands.plan import make_plan
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.report.ledger import Ledger
from tests.configs.config_layers import CONFIGS, check_plan, layers
from tests.configs.identities import check_identity
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
def test_every_curriculum_runs_as_planned_and_resumes_after_its_first_stage(
    curriculum: str, data: str, tmp_path: Path
) -> None:
    args = [
        *layers("tiny", data, curriculum, "debug"), "--data.num_train=120", "--data.num_val_per_ability=2",
        f"--data.cache_dir={tmp_path / 'cache'}", *BANDED.get(curriculum, ()), *SMALL.get(curriculum, ()),
    ]  # fmt: skip
    plan, first_stage = run(args, tmp_path / "straight")
    run(args, tmp_path / "resumed", resume_from=first_stage)
    straight, resumed = tmp_path / "straight" / "version_0", tmp_path / "resumed" / "version_0"
    check_plan(plan, Ledger(straight))
    stages = sorted(p.name for p in (straight / "selection").glob("*.jsonl"))
    assert stages[:2] == ["stage-0.jsonl", "stage-1.jsonl"]
    assert len(stages) == 2 or curriculum in BANDED
    for name in stages[2:]:  # the checkpoint holds the plan of stage 1 already
        assert (resumed / "selection" / name).read_text() == (straight / "selection" / name).read_text(), name
    ends = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (straight, resumed)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(ends[1][key], ends[0][key]), key
    curricula = [end["callbacks"]["CurriculumCallback"] for end in ends]
    for key in ("stage", "sampler", "table", "policy"):
        assert same(curricula[1][key], curricula[0][key]), key


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit; NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(nan=-7.0), other.nan_to_num(nan=-7.0))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def run(args: list[str], folder: Path, resume_from: Path | None = None) -> tuple[dict[str, Any], Path]:
    """Plan and train in ``folder``; the plan, and the checkpoint at the end of the first stage."""
    places = [f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}"]
    cli = CurriculumCLI([*args, *places], run=False)
    plan = make_plan(cli.trainer, cli.model, cli.datamodule) if resume_from is None else {}
    saver = next(c for c in cli.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
    saver.save_top_k, saver._save_on_train_epoch_end = -1, True
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=None if resume_from is None else str(resume_from))
    check_identity(cli)
    found = sorted((folder / "version_0" / "checkpoints").glob("epoch=0-*.ckpt"))
    return plan, found[0] if found else folder


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
    check_identity(cli)
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
