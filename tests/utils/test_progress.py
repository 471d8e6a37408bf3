"""One display of progress: lines in a file, a bar in a terminal, one thing at a time."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import pytest
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from transformers.utils import logging

from lit_curriculum import CausalLMModule, CurriculumCallback, OrderedPolicy
from lit_curriculum.callbacks import progress_bar
from lit_curriculum.callbacks.progress_bar import StageProgressBar
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood
from lit_curriculum.loop.scoring import scoring_bar
from lit_curriculum.types import Batch, Example
from lit_curriculum.utils import progress
from lit_curriculum.utils.progress import Display, is_interactive
from tests.data.toy_stores import build, make_encoder, make_examples
from tests.methods.baselines.tiny_scorer import save_scorer
from tests.toy import ToyData, ToyModule, toy_trainer

CONFIGS = Path(__file__).parents[2] / "configs"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def nothing_else_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test has left open hides nothing here."""
    monkeypatch.setattr(Display, "_outer", None)


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
    assert "5/10 [" in text
    assert "train/loss 2.1" in text
    shown.close()
    assert out.getvalue().endswith("\r")


class Telling(ToyModule):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("shown", loss, prog_bar=True, batch_size=len(batch))
        return loss


def test_training_and_validation_follow_one_another(
    tmp_path: Path, toy_examples: list[Example], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "Display", partial(Display, log_seconds=0.0))
    policy = OrderedPolicy("nll", fraction=0.3, rescore="each_stage")
    callbacks = [StageProgressBar(), CurriculumCallback(policy, {"nll": NegativeLogLikelihood()})]
    trainer = toy_trainer(tmp_path, 2, callbacks=callbacks, enable_progress_bar=True, limit_val_batches=1.0)
    trainer.fit(Telling(), ToyData(toy_examples))
    lines = [line for line in capsys.readouterr().err.splitlines() if " gone, " in line]
    titles = [line.split(":")[0] for line in lines]
    assert list(dict.fromkeys(titles)) == ["Stage 1 of 2", "Validation", "Stage 2 of 2"]
    ends = [line for line in lines if "100 %" in line]
    assert [e.split(",")[1] for e in ends] == [" 3 of 3 batches", " 5 of 5 batches"] * 2
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
    assert type(bar_of(tmp_path)) is StageProgressBar
    assert bar_of(tmp_path, "--trainer.enable_progress_bar=false") is None
    mine = bar_of(tmp_path, "--trainer.callbacks+=TQDMProgressBar", "--trainer.callbacks.refresh_rate=7")
    assert type(mine) is TQDMProgressBar


SCRIPT = """
from lit_curriculum.utils.progress import display
with display("Judging", " answers") as advance:
    for done in range(1, 4):
        advance(done, 3)
"""


def test_a_real_terminal_gets_a_bar_and_a_file_does_not(tmp_path: Path) -> None:
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=inner)
    os.close(inner)
    shown = ""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(outer, 65536):
            shown += part.decode()
    os.close(outer)
    assert process.wait(timeout=60) == 0
    assert "Judging: 0 answers" in shown
    assert shown.endswith("\r")
    with (tmp_path / "log").open("w") as file:
        subprocess.run([sys.executable, "-c", SCRIPT], check=True, stderr=file, timeout=60)
    assert (tmp_path / "log").read_text() == ""  # it took less than half a minute


def test_a_notebook_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_interactive(io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert is_interactive(io.StringIO())


def test_of_displays_within_one_another_the_outer_one_is_seen(clock: list[float]) -> None:
    outer, inner, next_one = io.StringIO(), io.StringIO(), io.StringIO()
    shown = Display("Growth study", " cells", log_seconds=1.0, stream=outer)
    for title, stream in (("Tokenising", inner), ("Scoring", inner)):
        within = Display(title, " examples", log_seconds=1.0, stream=stream)
        clock[0] += 5.0
        within.advance(1, 2)
        within.close()
    shown.advance(1, 2)
    shown.close()
    after = Display("Validation", " batches", log_seconds=1.0, stream=next_one)
    clock[0] += 5.0
    after.advance(1, 2)
    after.close()
    assert inner.getvalue() == ""
    assert outer.getvalue().startswith("Growth study: 50 %, 1 of 2 cells")
    assert next_one.getvalue().startswith("Validation: 50 %")


def test_other_processes_than_the_first_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    for stream in (io.StringIO(), Terminal()):
        shown = Display("Scoring", " tok", log_seconds=0.0, stream=stream)
        shown.advance(1, 2)
        shown.close()
        assert stream.getvalue() == ""


def test_loading_and_tokenising_leave_no_bars_of_others_in_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_scorer(tmp_path / "model")
    capfd.readouterr()  # what saving says in the test itself
    CausalLMModule(source=model).configure_model()
    build(tmp_path, make_examples(30))
    assert capfd.readouterr().err == ""
    # For others that use these libraries nothing has changed.
    assert logging.is_progress_bar_enabled()
    assert not datasets.are_progress_bars_disabled()


def test_tokenising_shows_its_progress(tmp_path: Path, clock: list[float], capfd: pytest.CaptureFixture[str]) -> None:
    encoder = make_encoder()
    encode = encoder.encode

    def slow(*args: Any) -> Any:
        clock[0] += 40.0
        return encode(*args)

    encoder.encode = slow  # type: ignore[method-assign]
    build(tmp_path, make_examples(2300), encoder)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines][-1] == "Tokenising: 100 %"
    assert lines[0].startswith("Tokenising: 43 %, 1000 of 2300 examples")
