"""Cells are run once, kept as they end, and compared with the control of the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.ablation import CellLog, compare, read_cells


def test_a_stopped_ablation_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    ran: list[tuple[str, int]] = []

    def cell(row: str, seed: int) -> dict[str, float]:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((row, seed))
        return {"loss": float(seed)}

    path = tmp_path / "cells.jsonl"
    with pytest.raises(KeyboardInterrupt):
        CellLog(path, {"rows": 2}).run(["a", "b"], range(3), cell, 0, 1)
    assert ran == [("a", 0), ("b", 0), ("a", 1)]
    again = CellLog(path, {"rows": 2})
    ran.clear()
    again.run(["a", "b"], range(3), cell, 0, 1)
    assert ran == [("b", 1), ("a", 2), ("b", 2)]
    with pytest.raises(SystemExit, match=r"cells.jsonl is of other options .*rows.*2.* name another"):
        CellLog(path, {"rows": 3})


def test_a_cell_whose_line_was_cut_off_is_run_again(tmp_path: Path) -> None:
    path, ran = tmp_path / "cells.jsonl", []

    def cell(row: str, seed: int) -> dict[str, float]:
        ran.append((row, seed))
        return {"loss": float(seed)}

    CellLog(path, {"rows": 2}).run(["a", "b"], range(2), cell, 0, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    ran.clear()
    CellLog(path, {"rows": 2}).run(["a", "b"], range(2), cell, 0, 1)
    assert ran == [("b", 1)]
    assert path.read_bytes() == whole
    assert read_cells(path) == {(row, seed): {"loss": float(seed)} for seed in range(2) for row in ("a", "b")}
    path.write_bytes(whole.replace(b'"b", "seed": 0', b'"b", "sid": 0'))
    with pytest.raises(SystemExit, match=r"cells\.jsonl:3 is no cell \(it has no 'seed'\)"):
        CellLog(path, {"rows": 2})


def test_shards_share_the_cells(tmp_path: Path) -> None:
    logs = [CellLog(tmp_path / "cells.jsonl", {}) for _ in range(2)]
    for shard, log in enumerate(logs):
        log.run(["a", "b", "c"], range(2), lambda row, seed: {"x": 1.0}, shard, 2)
    assert len(logs[0].found) == 3
    logs[0].read()
    assert len(logs[0].found) == 6


def test_differences_are_paired_by_seed() -> None:
    found = {("random", s): {"loss": 1.0 + s} for s in range(5)}
    gains = [0.1, 0.2, 0.3, 0.2, 0.1]
    found |= {("ours", s): {"loss": 1.0 + s - gain} for s, gain in enumerate(gains)}
    found |= {("like", s): {"loss": 1.0 + s + 0.01 * (-1) ** s} for s in range(4)}
    table = {row["name"]: row for row in compare(found, ["random", "ours", "like"], "random", {"loss": "nats"})}
    ours = table["ours minus random: loss"]
    expected = stats.ttest_rel([1.0 + s - g for s, g in enumerate(gains)], [1.0 + s for s in range(5)])
    interval = expected.confidence_interval(0.95)
    assert ours["value"] == pytest.approx(-np.mean(gains))
    assert (ours["low"], ours["high"]) == pytest.approx((interval.low, interval.high))
    assert ours["n"] == 5
    assert table["like minus random: loss"]["n"] == 4
    assert table["ours minus random: loss, false discovery rate"]["value"] == pytest.approx(2 * expected.pvalue)
    assert float(ours["high"]) < 0 < float(table["like minus random: loss"]["high"])
    assert table["random: loss"]["value"] == pytest.approx(3.0)
