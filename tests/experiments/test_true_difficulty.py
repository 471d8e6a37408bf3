"""The tables of true difficulty on rows whose answer is known by construction."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from experiments.true_difficulty.sources import TrueRow, evol_chains, gsm8k_steps, math_levels
from experiments.true_difficulty.tables import (
    Measured,
    areas,
    bootstrap,
    correlations,
    holm,
    markdown,
    over_seeds,
    partial_spearman,
)
from experiments.true_difficulty.text import text_scores


def _reference_partial(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """The textbook formula for one control."""
    xy, xz, yz = (float(spearmanr(a, b).statistic) for a, b in ((x, y), (x, z), (y, z)))
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def planted(n: int = 300) -> tuple[list[TrueRow], dict[str, np.ndarray]]:
    """Length follows the truth; one score follows length alone, one the truth beyond it."""
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, n).astype(float)
    length = np.exp(truth + rng.normal(0, 2, n))
    scores = {"length_instruction": rng.random(n), "length_response": length,
              "follows length": np.log(length) + rng.normal(0, 0.3, n),
              "knows": truth + rng.normal(0, 1, n)}  # fmt: skip
    rows = [TrueRow(id=str(i), instruction="", response="", truth=t, group=str(i)) for i, t in enumerate(truth)]
    return rows, scores


def test_the_partial_correlation_is_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    x, y, z = rng.random(50), rng.random(50), rng.random(50)
    assert partial_spearman(x, y, z[:, None]) == pytest.approx(_reference_partial(x, y, z))
    assert partial_spearman(x, y, np.log(z)[:, None]) == pytest.approx(_reference_partial(x, y, z))
    assert np.isnan(partial_spearman(z, y, z[:, None]))
    assert rankdata(z).std() > 0


def test_what_only_follows_length_is_found_out() -> None:
    rows, scores = planted()
    found = correlations(rows, scores, 100)
    assert found["follows length"]["rho"].low > 0.3
    assert found["follows length"]["partial"].low < 0 < found["follows length"]["partial"].high
    assert found["knows"]["partial"].low > 0.3
    assert set(found["length_response"]) == {"rho"}
    assert holm(found) == {"follows length": False, "knows": True}
    table = markdown({"planted": found})
    assert "## planted (300 rows)" in table
    assert table.count("| yes |") == 1


def test_over_seeds_the_interval_is_students() -> None:
    seeds = [{"m": {"rho": Measured(value=v, low=0.0, high=0.0, n=9)}} for v in (0.1, 0.2, 0.6)]
    found = over_seeds(seeds)["m"]["rho"]
    half = 4.302653 * np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))
    assert (found.n, found.of) == (3, "seeds")
    assert "## generated (3 seeds)" in markdown({"generated": {"m": {"rho": found}}})


def test_areas_beyond_that_of_length() -> None:
    rows, scores = planted()
    chosen = [TrueRow(id=r.id, instruction="", response="", truth=float(r.truth > 3), group=r.group) for r in rows]
    scores["unscored"] = np.where(np.arange(300) < 100, np.nan, scores["knows"])
    found = areas(chosen, scores, 60)
    assert found["knows"]["auc"].value > found["length_response"]["auc"].value
    assert found["knows"]["gain"].low > 0
    assert found["follows length"]["gain"].low < 0.02
    assert 0.5 < found["unscored"]["auc"].value < found["knows"]["auc"].value


def test_chains_are_drawn_whole_and_pairs_counted(tmp_path: Path) -> None:
    rows = [
        {"id": f"{c}-{level}", "evol_level": level, "parent_id": f"{c}-{level - 1}" if level else None, "chain": c,
         "instruction": "do " * (level + 1), "input": "", "output": "ok"}
        for c in "abc" for level in range(3 if c != "c" else 2)
    ]  # fmt: skip
    path = tmp_path / "evol.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)
    found = evol_chains(path, 9, 100)
    assert sorted(r.group for r in found) == ["a"] * 3 + ["b"] * 3  # the chain of c is not whole
    up = {name: np.array([r.truth for r in found]) for name in ("length_instruction", "length_response")}
    up["mixed"] = np.array([1.0 if r.group == "a" else r.truth for r in found])  # a's rows tie, b's rise
    pairs = correlations(found, up, 40)
    assert pairs["length_instruction"]["pairs"].value == 1.0
    assert pairs["mixed"]["pairs"].value == 0.75
    assert pairs["mixed"]["pairs"].low == 0.5  # chains are drawn whole: both may be a


def test_gsm8k_does_not_spell_its_steps_and_levels_are_equally_many(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for i in range(4):
            output = "He has " + "<<1+1=2>>2 " * i + "#### 2"
            file.write(json.dumps({"id": f"g{i}", "instruction": "q", "input": "", "output": output}) + "\n")
    rows = gsm8k_steps(path, 10, 100)
    assert sorted(r.truth for r in rows) == [1.0, 2.0, 3.0]  # a row without a mark has no known steps
    assert not any("<<" in r.response for r in rows)
    with gzip.open(path, "wt") as file:
        for i in range(20):
            row = {"id": f"m{i}", "instruction": "q", "input": "", "output": "o", "level": 1 + i % 2}
            file.write(json.dumps(row) + "\n")
    assert sorted(r.truth for r in math_levels(path, 6, 100)) == [1.0] * 3 + [2.0] * 3
    assert math_levels(path, 6, 1) == []


def test_a_bootstrap_over_rows_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)
    found = bootstrap(lambda i: float(values[i].mean()), [str(i) for i in range(400)], 500)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_metrics_of_the_text_say_more_for_what_is_harder() -> None:
    rows = [TrueRow(id=str(i), instruction="say " * i, response="a b c " * i, truth=float(i), group=str(i))
            for i in range(1, 40)]  # fmt: skip
    scores = text_scores(rows)
    assert scores["length_instruction"].tolist() == [r.truth for r in rows]
    assert scores["characters_response"].tolist() == [6 * r.truth for r in rows]
    assert scores["compression_response"][0] > scores["compression_response"][-1]  # repeating oneself is easy
