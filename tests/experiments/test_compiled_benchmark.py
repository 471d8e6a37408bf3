"""The benchmark of torch.compile: its operation is the attention within rows, its ratios and costs are right."""

from __future__ import annotations

import pytest
import torch

from experiments.benchmarks import compiled
from experiments.benchmarks.compiled import COMPILED, EAGER, attend_by_rows, report
from lit_curriculum.models.execution import rows


def test_the_operation_is_the_attention_within_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = torch.nn.Module().eval()
    attention.num_key_value_groups, attention.is_causal = 2, True  # type: ignore[assignment]
    monkeypatch.setattr(compiled, "_attention", attention)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 9, 6, generator=generator)
    key, value = torch.randn(2, 1, 2, 9, 6, generator=generator)
    runs = [(1, 3), (2, 2)]
    expected = rows._attend(attention, query, key, value, None, runs, 2, scaling=0.5)[0]
    found = attend_by_rows(query, key, value, torch.tensor(runs), torch.tensor(2), 0.5)
    assert torch.equal(found, expected)
    torch.library.opcheck(attend_by_rows, (query, key, value, torch.tensor(runs), torch.tensor(2), 0.5))


def test_compiling_is_what_the_first_call_takes_longer() -> None:
    plain = {"processors": [9.0, 4.0, 4.0, 6.0], "walls": [9.0, 4.0, 4.0, 6.0], "scores": [0.5, 1.0]}
    faster = {"processors": [12.0, 2.0, 1.0, 3.0], "walls": [22.0, 2.0, 2.0, 2.0], "scores": [0.5, 1.1], "plain": plain}
    found = report({"scores": [0.5, 1.0], "tokens": 12}, {"float32": {EAGER: plain, COMPILED: faster}})
    rows_ = {row["name"]: row for row in found}
    assert rows_[f"{EAGER}, float32: tokens"]["value"] == 3.0
    ratio = rows_[f"{COMPILED}, float32 over {EAGER}"]
    assert (ratio["value"], ratio["low"], ratio["high"], ratio["n"]) == (2.0, 2.0, 4.0, 3)
    assert rows_[f"{COMPILED}, float32: compiling"]["value"] == 10.0
    assert rows_[f"{COMPILED}, float32: compiling, by the clock"]["value"] == 20.0
    assert rows_[f"{COMPILED}, float32: won back after"]["value"] == 10.0
    assert rows_[f"{COMPILED}, float32: largest relative error"]["value"] == pytest.approx(0.1)
