"""One display of progress: lines in a file, a bar in a terminal, one thing at a time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from lit_curriculum import progress
from lit_curriculum.callbacks import CurriculumCallback
from lit_curriculum.callbacks.progress import CalmProgressBar, scoring_bar
from lit_curriculum.cli import CurriculumCLI
from lit_curriculum.curriculum import OrderedPolicy
from lit_curriculum.difficulty.nll import NegativeLogLikelihood
from lit_curriculum.progress import Display
from lit_curriculum.types import Batch, Example
from tests.toy import ToyData, ToyModule, toy_trainer

CONFIGS = Path(__file__).parents[1] / "configs"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_a_line_now_and_then_and_nothing_is_written_over(clock: list[float]) -> None:
    out = io.StringIO()
    shown = Display("Scoring", " tok", log_seconds=30.0, stream=out)
    for second in range(100):
        clock[0] = float(second)
        shown.advance(second * 1000, 200_000, "loss 1.5")
    clock[0] = 200.0
    shown.advance(200_000, 200_000)
    shown.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "Scoring: 15 %, 30.0k of 200k tok, 1.00k tok/s, loss 1.5, 00:30 gone, 02:50 left"
    assert [line.split(",")[0] for line in lines] == [f"Scoring: {p} %" for p in (15, 30, 45, 100)]
    assert "\r" not in out.getvalue()


def test_short_work_says_nothing_in_a_file(clock: list[float]) -> None:
    out = io.StringIO()
    shown = Display("Judging", " answers", stream=out)
    clock[0] = 5.0
    shown.advance(10, 10)
    shown.close()
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar_with_rate_and_time_left_that_vanishes() -> None:
    out = Terminal()
    shown = Display("Stage 1 of 3", " batches", stream=out)
    shown.advance(5, 10, "train/loss 2.1")
    assert shown._bar is not None
    shown._bar.refresh()
    text = out.getvalue()
    assert "Stage 1 of 3:  50%" in text
    assert "5.00/10.0" in text
    assert "train/loss 2.1" in text
    shown.close()
    assert out.getvalue().endswith("\r")


class Telling(ToyModule):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("shown", loss, prog_bar=True, batch_size=len(batch))
        return loss


def test_training_and_validation_follow_one_another(
    tmp_path: Path, toy_examples: list[Example], capsys: pytest.CaptureFixture[str]
) -> None:
    policy = OrderedPolicy("nll", fraction=0.3, rescore="each_stage")
    callbacks = [CalmProgressBar(log_seconds=0.0), CurriculumCallback(policy, {"nll": NegativeLogLikelihood()})]
    trainer = toy_trainer(tmp_path, 2, callbacks=callbacks, enable_progress_bar=True, limit_val_batches=1.0)
    trainer.fit(Telling(), ToyData(toy_examples))
    lines = [line for line in capsys.readouterr().err.splitlines() if " gone, " in line]
    titles = [line.split(":")[0] for line in lines]
    assert list(dict.fromkeys(titles)) == ["Stage 1 of 2", "Validation", "Stage 2 of 2"]
    ends = [line for line in lines if "100 %" in line]
    assert [e.split(",")[1] for e in ends] == [" 3.00 of 3.00 batches", " 5.00 of 5.00 batches"] * 2
    assert all(", shown " in line for line in lines if line.startswith("Stage 2"))


def test_scoring_is_shown_only_where_the_trainer_shows_its_own(tmp_path: Path) -> None:
    with scoring_bar(toy_trainer(tmp_path), 0) as advance:
        assert advance is None
    with scoring_bar(toy_trainer(tmp_path, enable_progress_bar=True), 0) as advance:
        assert advance is not None
        advance(1, 2)


def bar_of(tmp_path: Path, *options: str) -> object:
    layers = ["base", "model/tiny", "data/abilities", "curriculum/uniform"]
    args = [f"--config={CONFIGS / layer}.yaml" for layer in layers] + [f"--trainer.default_root_dir={tmp_path}"]
    return CurriculumCLI([*args, *options], run=False).trainer.progress_bar_callback


def test_the_command_line_replaces_the_default_bar_and_no_other(tmp_path: Path) -> None:
    assert type(bar_of(tmp_path)) is CalmProgressBar
    assert bar_of(tmp_path, "--trainer.enable_progress_bar=false") is None
    mine = bar_of(tmp_path, "--trainer.callbacks+=TQDMProgressBar", "--trainer.callbacks.refresh_rate=7")
    assert type(mine) is TQDMProgressBar


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"CalmProgressBar\.log_seconds must be at least 0, got -1"):
        CalmProgressBar(log_seconds=-1.0)
