"""The training benchmark: its contenders train on the same tokens, and its ratios are right."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import training
from experiments.benchmarks.scoring_data import QUICK, choose_rows, datamodule
from experiments.benchmarks.training import report
from experiments.benchmarks.training_contenders import APART, CONTENDERS, GROUPED, OURS, PACKED, Run, Setting
from lit_curriculum.models.execution import rows, token_nll
from lit_curriculum.types import CONDITIONED, Batch


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    data = datamodule(choose_rows(None, None, 9), QUICK, tmp_path, batch_size=9)
    return Setting(data, QUICK, 9, 1024, tmp_path)


@pytest.mark.slow
def test_all_train_on_the_same_tokens(setting: Setting) -> None:
    names = [name for name in CONTENDERS if name != PACKED or importlib.util.find_spec("trl")]
    usual = rows.SHORTEST
    runs = {name: CONTENDERS[name](setting) for name in names}
    assert usual == rows.SHORTEST
    # One step over all examples, so the losses are of the same tokens and weights.
    for name in names[:3]:
        assert runs[name].loss == pytest.approx(runs[OURS].loss, rel=1e-5), name
        assert runs[name].seconds > 0


def test_ours_trains_without_padding(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    learning: list[bool] = []

    def watch(decoder: torch.nn.Module, batch: Batch) -> torch.Tensor:
        learning.append(torch.is_grad_enabled())
        return rows.hidden_by_rows(decoder, batch)

    monkeypatch.setitem(token_nll._OTHER_LAYOUTS, "by rows", watch)
    CONTENDERS[OURS](setting)
    assert learning == [True], "the one step"


def test_the_table_for_other_trainers_holds_the_same_targets(setting: Setting) -> None:
    table = setting.dataset()
    assert sum(len(ids) for ids in table["input_ids"]) == setting.num_tokens
    scored = [sum(label != -100 for label in labels) for labels in table["labels"]]
    assert scored == setting.store.num_scored(CONDITIONED).tolist()
    assert setting.rows_per_step == max(1, round(setting.num_tokens / 1024))


def test_ratios_are_taken_within_rounds() -> None:
    speeds = {OURS: 1.0, APART: 2.0, GROUPED: 3.0, PACKED: 4.0}
    found = [
        {"name": name, "round": n, "seconds": s * (1 + n), "processor": s / 2, "product": 0.1 * s, "loss": 2.0}
        for n in range(3) for name, s in speeds.items()
    ]  # fmt: skip
    values = {row["name"]: row["value"] for row in report(found, num_tokens=10)}
    assert values[f"{OURS} over {GROUPED}: speed"] == pytest.approx(3.0)
    assert values[f"{APART} over {PACKED}: speed"] == pytest.approx(2.0)
    assert values[f"{OURS} over {PACKED}: in products"] == pytest.approx(1.0)
    assert values[f"{OURS} over {PACKED}: in processor time"] == pytest.approx(4.0)
    assert values[f"{OURS}: non-padding tokens"] == pytest.approx(5.0)
    assert values[f"{PACKED}: mean loss of the steps"] == 2.0


def test_the_command_writes_its_table_and_repeats_what_was_disturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fake contenders, of which one never gets the CPU alone."""
    asked: list[str] = []

    def stand_in(name: str) -> Run:
        asked.append(name)
        busy = 0.1 * asked.count(name) if name == GROUPED else 1.0
        return Run(seconds=2.0, processor=2.0 * busy, loss=1.0)

    monkeypatch.setattr(training, "find_spec", lambda _: True)
    monkeypatch.setattr(training.torch, "get_num_threads", lambda: 1)
    for name in CONTENDERS:
        monkeypatch.setitem(CONTENDERS, name, lambda _, name=name: stand_in(name))
    monkeypatch.setattr(sys, "argv", ["training", "--quick", "--out", str(tmp_path)])
    training.main()
    assert {name: asked.count(name) for name in CONTENDERS} == {OURS: 2, APART: 2, GROUPED: 6, PACKED: 2}
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "results.json").read_text())}
    # Of three tries the least disturbed one counts: .3 of the time in the first round, .6 in the second.
    assert rows[f"{OURS} over {GROUPED}: in processor time"] == pytest.approx(0.45)
    training.main()
    assert len(asked) == 12, "what was measured is not measured again"
    monkeypatch.setattr(sys, "argv", ["training", "--quick", "--attempts=1", "--out", str(tmp_path / "once")])
    training.main()
    assert len(asked) == 12 + 2 * len(CONTENDERS)


def test_without_trl_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["training", "--quick", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        training.main()
    assert "pip install trl==1.16.0" in capsys.readouterr().err
