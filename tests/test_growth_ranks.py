"""Growth records on two processes: the same as on one, though the items divide by neither ranks nor batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.rank_processes import start

pytestmark = pytest.mark.slow
RUN = {"module": "tests.growth_rank_run"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that has learnt enough to answer some items."""
    folder = tmp_path_factory.mktemp("trained") / "one"
    start(folder, 1, "--stages=3", "--count=781", **RUN)
    return folder / "weights.pt"


@pytest.mark.parametrize("answers", ["teacher_forced", "generated"])
def test_growth_records_do_not_depend_on_ranks(tmp_path: Path, weights: Path, answers: str) -> None:
    options = (f"--answers={answers}", f"--weights={weights}")
    single = start(tmp_path / "one", 1, *options, **RUN)[0]["records"]
    first, second = (rank["records"] for rank in start(tmp_path / "two", 2, *options, **RUN))
    assert first == second
    assert sum(r["total"] for r in single if r["epoch"] == 1) == 89
    losses = [[r.pop("nll") for r in found] for found in (single, first)]
    per_item = [[v for r in found for v in r.pop("item_nll")] for found in (single, first)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(per_item[1], per_item[0], atol=1e-3)
    assert first == single  # outcomes, rows and tokens trained on, step and chance
    last = [r for r in single if r["epoch"] == 2]
    assert sum(r["n_seen"] for r in {r["ability"]: r for r in last}.values()) == 2 * 101
    assert 0 < sum(r["correct"] for r in last) < 89
