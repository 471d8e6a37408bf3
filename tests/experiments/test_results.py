"""The page of results says what the files say, and no file names a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from experiments import descriptions
from experiments.claims import CLAIMS, SCALES, Claim
from experiments.questions import QUESTIONS
from experiments.summarise import pages
from experiments.verdicts import RESULTS, judge

FOLDERS = sorted(p.parent for p in RESULTS.glob("*/results.json"))


def test_the_pages_are_what_the_files_give() -> None:
    for path, text in pages(RESULTS).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m experiments.summarise"


def _cells(folder: Path, ours: list[float], theirs: list[float]) -> None:
    lines = ["{}"]
    for row, values in (("a", ours), ("b", theirs)):
        lines += [
            json.dumps({"row": row, "seed": s, "measures": {"loss": v, "price": 2.0}}) for s, v in enumerate(values)
        ]
    (folder / "x").mkdir()
    (folder / "x" / "cells.jsonl").write_text("\n".join(lines) + "\n")


def _claim(lower_is_better: bool, margin: float = 0.0) -> Claim:
    return Claim(
        paper="P", text="t", folder="x", row="a", against="b", measure="loss", lower_is_better=lower_is_better,
        config="c", cost="price", budget=("price",), margin=margin,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "lower_is_better", "verdict"),
    [
        ([1.0, 2.0, 3.1], True, "holds"),
        ([1.0, 2.0, 3.1], False, "does not hold"),
        ([1.0, 4.0, 4.1], True, "not detectable here"),
        ([1.0], True, "not run"),
    ],
)
def test_verdicts_come_from_paired_intervals(
    tmp_path: Path, ours: list[float], lower_is_better: bool, verdict: str
) -> None:
    claim = _claim(lower_is_better)
    assert judge([claim], tmp_path)[0].verdict == "not run"
    theirs = [2.0, 3.0, 4.0]
    _cells(tmp_path, ours, theirs)
    [found] = judge([claim], tmp_path)
    assert found.verdict == verdict
    if verdict != "not run":
        expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
        assert (found.pairs, found.cost, found.budgets) == (3, 2.0, (1.0,))
        assert found.rate == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_a_claim_to_lose_nothing_is_tested_against_its_margin(tmp_path: Path) -> None:
    _cells(tmp_path, [2.02, 3.03, 4.01], [2.0, 3.0, 4.0])
    verdicts = [judge([_claim(True, margin)], tmp_path)[0].verdict for margin in (0.0, 0.03, 0.1)]
    assert verdicts == ["not detectable here", "not detectable here", "holds"]


def test_verdicts_are_corrected_for_their_number(tmp_path: Path) -> None:
    _cells(tmp_path, [1.0, 2.0, 3.7, 4.2], [2.0, 3.0, 4.0, 5.0])
    alone = judge([_claim(True)], tmp_path)[0]
    assert alone.verdict == "holds"
    same = [_claim(False, margin=m) for m in (0.76, 0.79)]  # about as much as the rows differ by: nothing to see
    among = judge([_claim(True), *same, *same, *same], tmp_path)[0]
    assert (among.low, among.high) == (alone.low, alone.high)
    assert among.rate == pytest.approx(7 * alone.rate)
    assert among.verdict == "not detectable here"


def test_tables_beside_the_claims_are_made_from_the_files(tmp_path: Path) -> None:
    name = "complexity alone, everything re-scored: newly hard"
    row = {"name": name, "value": 0.3, "low": 0.25, "high": 0.35, "n": 5}
    texts = [
        {"name": f"levels/{metric}: {kind}", "value": value, "low": value - 0.1, "high": value + 0.1}
        for kind, values in (("rho", (0.2, -0.7, float("nan"))), ("partial", (0.1, 0.05, -0.2)))
        for metric, value in zip(("length_response", "ifd", "mtld"), values, strict=True)
    ]
    for folder, rows in (("iterit_ablation", [row]), ("true_difficulty", texts)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "results.json").write_text(json.dumps(rows))
    new, followed = descriptions.tables("IterIT", tmp_path)
    assert [r[1:] for r in new.rows] == [["mean of all stages", "0.3 [0.25, 0.35], 5"]]
    beyond = ["0.05 [-0.05, 0.15]", "mtld -0.20 [-0.30, -0.10]"]
    assert followed.rows[0][2:] == ["0.20 [0.10, 0.30]", "ifd -0.70 [-0.80, -0.60]", *beyond]
    assert descriptions.tables("DoIT", tmp_path) == []


def test_claims_name_configurations_that_exist() -> None:
    for claim in CLAIMS:
        assert (RESULTS.parent / claim.config).exists()
        assert claim.folder in QUESTIONS
        assert claim.folder in SCALES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_result_has_its_rows_and_its_provenance(folder) -> None:  # type: ignore[no-untyped-def]
    assert folder.name in QUESTIONS
    rows = json.loads((folder / "results.json").read_text())
    assert rows
    assert all({"name", "value", "unit"} <= set(row) for row in rows)
    source = json.loads((folder / "provenance.json").read_text())
    assert source["commit"]
    assert source["config"]
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml", ".csv", ".md"):
            assert not any(f"/{place}/" in path.read_text() for place in ("root", "home", "tmp", "shared", "work"))


def test_rows_that_differ_by_the_same_for_every_seed_say_nothing(tmp_path: Path) -> None:
    _cells(tmp_path, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    found, other = judge([_claim(True), _claim(False)], tmp_path)
    assert found.verdict == other.verdict == "not detectable here"
    assert (found.low, found.value, found.high, found.pairs, found.rate) == (0.0, 0.0, 0.0, 3, 1.0)
    assert (found.budgets, found.cost) == ((1.0,), 2.0)
