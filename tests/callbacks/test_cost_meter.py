"""The machine's limit is a rate that a product really had."""

from __future__ import annotations

import pytest
import torch

from lit_curriculum.callbacks import monitor as monitor_cost
from lit_curriculum.callbacks.monitor import machine_limit


@pytest.mark.parametrize(("seconds", "side"), [(0.004, 512), (0.0004, 1024), (0.0, 4096)])
def test_the_side_grows_until_a_product_can_be_timed(
    seconds: float, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that takes ``seconds`` for a product of side 512, and eight times as long for each doubling."""
    tried: list[int] = []

    def taken(one: torch.Tensor) -> float:
        tried.append(len(one))
        return max(seconds * (len(one) / 512) ** 3, 1e-6)

    monkeypatch.setattr(monitor_cost, "_seconds", taken)
    rate = machine_limit(torch.device("cpu"), torch.float32)
    assert tried[-1] == side
    assert rate == pytest.approx(2.0 * side**3 / max(seconds * (side / 512) ** 3, 1e-6))
