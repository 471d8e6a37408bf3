"""End to end on a tiny model: cells, records, fits, figures, event tags, and a tracker that resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_curriculum.cli import main
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.methods.doit.study.growth_records import read_records
from lit_curriculum.methods.doit.tracker import AbilityGrowthTracker

CONFIGS = Path(__file__).parents[3] / "configs"
LAYERS = [str(CONFIGS / f"{name}.yaml") for name in ("base", "model/tiny", "data/abilities")]


def small_data(tmp_path: Path) -> list[str]:
    return [
        "--trainer.accelerator=cpu", "--data.num_train=200", "--data.num_val_per_ability=6", "--data.duplicate_share=0",
        f"--data.cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_study_from_yaml_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "configs": LAYERS, "args": small_data(tmp_path), "abilities": {"echo": 12, "lookup": 12},
        "ood": ["copy"], "rungs": [1, 4, 12], "match": "updates", "updates": 4, "epochs": 2, "min_epoch": 1,
        "batch_size": 8, "arms": ["curated", "without", "base"],
    }  # fmt: skip
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(options))
    assert main(["growth", "fit", f"--study={path}", f"--out={out}"]) == 2
    assert "holds no finished cell" in capsys.readouterr().err
    assert main(["growth", "run", f"--study={path}", f"--out={out}", "--cell=1"]) == 0
    assert len(list((out / "cells").iterdir())) == 1
    assert main(["growth", "run", f"--study={path}", f"--out={out}"]) == 0
    records = read_records(out / "records.jsonl")
    # Cells, checkpoints, abilities, splits: three rungs, all but one of two; and the untrained model.
    assert len(records) == (3 + 2) * 2 * 10 * 2 + 10 * 2
    assert {r.n_seen for r in records if r.arm == "base"} == {0}
    records = [r for r in records if r.arm == "curated"]
    last = [r for r in records if r.rung == 4 and r.epoch == 2 and r.split == "test"]
    assert {r.ability: r.n_unique for r in last if r.n_unique} == {"echo": 4, "lookup": 4}
    assert sum(r.n_seen for r in last) == 4 * 8
    assert {r.ability for r in records if r.group == "ood"} == {"copy"}
    assert all((r.correct, r.total) == (r.outcomes.count("1"), 3) for r in records if r.selected)
    assert main(["growth", "report", f"--study={path}", f"--out={out}", "--bootstrap=50", "--tensorboard"]) == 0
    fits = json.loads((out / "fits.json").read_text())
    abilities = {f["ability"] for f in fits}
    assert {"echo", "lookup"} <= abilities
    assert all(f["growth_class"] for f in fits)
    assert {f["arm"] for f in fits} == {"curated"}
    for name in ("curves.svg", "sensitivity.svg", "classes.md", "report.md"):
        assert (out / name).stat().st_size > 300
    findings = json.loads((out / "findings.json").read_text())
    assert findings["transfer"] is None
    assert set(findings["transference"]) == {"echo", "lookup"}
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert set(events.Tags()["images"]) == {f"growth/curves/{a}" for a in abilities} | {"growth/sensitivity"}
    assert [e.step for e in events.Images("growth/sensitivity")] == [6]  # finished cells
    text = events.Tensors("growth/report/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == (out / "report.md").read_text()
    slopes = EventAccumulator(str(out / "tensorboard" / "curated-base")).Reload()
    echo = next(f for f in fits if f["ability"] == "echo")
    for name, key in (("slope", "value"), ("slope_lo", "low"), ("slope_hi", "high")):
        assert slopes.Scalars(f"growth/echo/{name}")[0].value == pytest.approx(echo["slope"][key], abs=1e-6)
    cells = sorted((out / "tensorboard" / "cells").iterdir())
    assert len(cells) == 6
    tags = EventAccumulator(str(cells[0])).Reload().Tags()["scalars"]
    assert "growth/test/overall_in_domain" in tags


def make_run(tmp_path: Path, name: str, epochs: int) -> CurriculumCLI:
    args = [*(f"--config={c}" for c in LAYERS), f"--config={CONFIGS / 'curriculum/uniform.yaml'}"]
    args += [*small_data(tmp_path), f"--trainer.max_epochs={epochs}", "--trainer.enable_progress_bar=false"]
    args += [f"--trainer.default_root_dir={tmp_path / name}", "--trainer.num_sanity_val_steps=1"]
    args += [f"--trainer.logger.init_args.save_dir={tmp_path / name}", "--trainer.enable_model_summary=false"]
    args += ["--model.lr_schedule=torch.optim.lr_scheduler.ConstantLR"]
    cli = CurriculumCLI(args, run=False)
    cli.trainer.callbacks.append(AbilityGrowthTracker(ood=["noise"]))  # type: ignore[attr-defined]
    return cli


def tracker_of(cli: CurriculumCLI) -> AbilityGrowthTracker:
    return next(c for c in cli.trainer.callbacks if isinstance(c, AbilityGrowthTracker))  # type: ignore[attr-defined]


@pytest.mark.slow
def test_tags_lines_and_a_history_that_outlives_the_run(tmp_path: Path) -> None:
    straight = make_run(tmp_path, "straight", 2)
    straight.trainer.fit(straight.model, straight.datamodule)
    history = tracker_of(straight).history
    assert len(history) == 2 * 10 * 2  # the sanity check has left nothing
    assert [r.n_seen for r in history if r.ability == "echo" and r.split == "test"] == [20, 40]
    folder = Path(straight.trainer.log_dir or "")
    tags = EventAccumulator(str(folder)).Reload().Tags()["scalars"]
    for tag in (
        "growth/valid/echo/score", "growth/test/echo/chance", "growth/test/echo/kappa", "growth/test/echo/nll",
        "growth/test/overall_in_domain", "growth/test/overall_ood", "growth/test/overall_all",
        "growth/echo/n_unique", "growth/echo/n_seen", "growth/echo/p_mix",
    ):  # fmt: skip
        assert tag in tags
    assert len((folder / "growth.jsonl").read_text().splitlines()) == 40

    first = make_run(tmp_path, "first", 1)
    first.trainer.fit(first.model, first.datamodule)
    checkpoint = Path(first.trainer.log_dir or "") / "checkpoints" / "last.ckpt"
    # Growth is in the checkpoint of the same epoch only where validation came before it was written.
    torch.load(checkpoint, weights_only=True)
    second = make_run(tmp_path, "second", 2)
    second.trainer.fit(second.model, second.datamodule, ckpt_path=str(checkpoint), weights_only=True)
    resumed = tracker_of(second).history
    assert [(r.ability, r.n_seen, r.epoch) for r in resumed] == [(r.ability, r.n_seen, r.epoch) for r in history]
    assert [r.nll for r in resumed] == pytest.approx([r.nll for r in history], rel=1e-4)


def test_steps_that_return_too_little_are_refused() -> None:
    tracker = AbilityGrowthTracker()

    class Trainer:
        sanity_checking = False

    with pytest.raises(MisconfigurationException, match="needs validation_step to return index"):
        tracker.on_validation_batch_end(Trainer(), None, {}, None, 0)  # type: ignore[arg-type]
