"""What the page takes from a run's ledger, against a short real run and against values worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lit_curriculum import CurriculumCallback, LedgerWriter, Length, OrderedPolicy, RunCard, UniformPolicy
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood
from lit_curriculum.report import ledger_views as views
from lit_curriculum.report.ledger import Ledger, StageState
from lit_curriculum.report.page import write_page
from lit_curriculum.report.runs import read_run
from lit_curriculum.types import Example
from tests.toy import ToyData, ToyModule, toy_trainer


def _state(stage: int, scores: list[float], scored_at: list[int], chosen: int) -> StageState:
    times = np.array([1] * chosen + [0] * (len(scores) - chosen), dtype=np.int32)
    place = np.where(times > 0, np.arange(len(scores)), -1).astype(np.int32)
    zeros = np.zeros(len(scores), dtype=np.int32)
    return StageState(
        stage=stage, scores={"m": np.array(scores)}, scored_at={"m": np.array(scored_at, dtype=np.int32)},
        candidate=zeros.astype(bool), times=times, place=place, reason=zeros, reasons=[""],
    )  # fmt: skip


def test_newly_hard_leaves_out_stale_and_missing_scores() -> None:
    first = _state(0, [5.0, 4.0, 3.0, 2.0, np.nan], [0, 0, 0, 0, 0], chosen=2)
    #         hardest before: 0, 1 (3 is stale now and 4 has no score before, so neither counts)
    last = _state(2, [1.0, 4.0, 6.0, 9.0, 8.0], [2, 2, 2, 0, 2], chosen=2)
    assert views.newly_hard([first, last], "m", higher_is_harder=True).tolist() == [2]
    # where low is hard: 2 and 1 before (of 0, 1, 2), 0 and 1 now
    assert views.newly_hard([first, last], "m", higher_is_harder=False).tolist() == [0]


def test_rank_correlations_are_over_what_both_have() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    b = np.array([2.0, 1.0, 4.0, 3.0, 9.0])
    found = views.rank_correlations([a, b, np.full(5, np.nan)])
    assert found[0, 1] == pytest.approx(stats.spearmanr(a[:4], b[:4]).statistic)
    assert found[1, 1] == pytest.approx(1.0)
    assert np.isnan(found[0, 2])


@pytest.fixture
def run(tmp_path: Path, toy_examples: list[Example]) -> Path:
    metrics = {"length": Length(), "nll": NegativeLogLikelihood()}
    policy = OrderedPolicy(metric="nll", fraction=0.5)
    callbacks = [CurriculumCallback(policy, metrics, seed=1), RunCard(), LedgerWriter()]
    trainer = toy_trainer(tmp_path, max_epochs=3, callbacks=callbacks, limit_val_batches=1.0)
    trainer.fit(ToyModule(), ToyData(toy_examples))
    return tmp_path


def test_page_shows_use_examples_and_drift(run: Path, toy_examples: list[Example], tmp_path: Path) -> None:
    ledger = Ledger(run)
    times = ledger.times_trained()
    assert views.usage(ledger)[0] == str(int((times == 0).sum()))
    table = views.examples_table(ledger, "nll")
    hardest = int(np.argmax(ledger.state(2).scores["nll"]))
    assert table.rows[0][:2] == ["hardest", toy_examples[hardest].id]
    assert table.rows[0][5] == str(times[hardest])
    write_page([read_run(run)], tmp_path / "page", "val/loss")
    names = {p.stem for p in (tmp_path / "page" / "figures").glob("*.svg")}
    assert {"0_nll_drift", "0_nll_stages", "0_views"} <= names
    assert toy_examples[hardest].id in (tmp_path / "page" / "tables" / "examples_0.md").read_text()


def test_a_run_without_metrics_shows_its_use_alone(tmp_path: Path, toy_examples: list[Example]) -> None:
    callbacks = [CurriculumCallback(UniformPolicy(fraction=0.5), {}, seed=1), RunCard(), LedgerWriter()]
    toy_trainer(tmp_path, max_epochs=2, callbacks=callbacks).fit(ToyModule(), ToyData(toy_examples))
    assert views.most_alive(Ledger(tmp_path)) is None
    write_page([read_run(tmp_path)], tmp_path / "page", "val/loss")
    tables = {p.name for p in (tmp_path / "page" / "tables").iterdir()}
    assert "usage.md" in tables
    assert "examples_0.md" not in tables
