"""The command that runs all experiments: what it would run exists, and a short suite runs and is not run again."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from experiments import reproduce, results_page
from experiments.questions import QUESTIONS
from experiments.verdicts import RESULTS
from lit_curriculum.commands.run import CurriculumCLI

ROOT = Path(__file__).parents[2]


def test_every_step_is_a_module_with_a_question() -> None:
    for profile in ("tiny", "small"):
        for step in reproduce.steps(list(reproduce.SUITES), profile):
            assert importlib.util.find_spec(step.module) is not None
            assert step.folder in QUESTIONS


def test_commands_take_their_data_and_refuse_to_go_without() -> None:
    (step,) = reproduce.steps(["campus"], "small")
    given = Namespace(out=Path("o"), data=Path("d"), accelerator="cuda", quick=True)
    made = reproduce.command(step, given)
    assert made[3:] == [
        "--profile", "real", "--out", "o/campus_ablation_real", "--data", "d/train", "--accelerator", "cuda", "--quick",
    ]  # fmt: skip
    given.data = None
    with pytest.raises(SystemExit, match="campus_ablation_real reads real data: give --data FOLDER"):
        reproduce.command(step, given)


def test_the_page_of_results_is_what_the_files_give(tmp_path: Path) -> None:
    before = (RESULTS / "report.html").read_text(encoding="utf-8")
    try:
        assert results_page.write(RESULTS).read_text(encoding="utf-8") == before, "run python -m experiments.summarise"
    finally:
        (RESULTS / "report.html").write_text(before, encoding="utf-8")


@pytest.mark.slow
def test_a_suite_runs_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.reproduce", "--suite", "iterit", "--quick", "--out", str(tmp_path)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "minus random" in first.stdout
    cells = (tmp_path / "iterit_ablation" / "cells.jsonl").read_text()
    assert len(cells.splitlines()) == 1 + 3 * 2
    assert json.loads((tmp_path / "iterit_ablation" / "results.json").read_text())
    assert "IterIT" in (tmp_path / "report.html").read_text()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[1/6]" not in again.stdout  # no cell was run again
    assert (tmp_path / "iterit_ablation" / "cells.jsonl").read_text() == cells


@pytest.mark.parametrize(("name", "batch"), [("iterit", 32), ("campus", 128), ("tapir", 128)])
def test_the_papers_settings_make_a_run(name: str, batch: int, tmp_path: Path) -> None:
    """No weights are read; only the accelerator is another."""
    options = [a for a in reproduce.plan_command(name) if a.startswith("--config=")]
    args = [
        *options,
        "--trainer.accelerator=cpu",
        "--trainer.precision=32-true",
        f"--trainer.default_root_dir={tmp_path}",
    ]
    cli = CurriculumCLI([*args, "--trainer.logger=false"], run=False)
    assert "lama" in cli.model.source
    assert cli.datamodule.paths == ["tatsu-lab/alpaca"]
    assert cli.datamodule.batch_size * cli.trainer.accumulate_grad_batches == batch
    assert name in reproduce.PAPER
