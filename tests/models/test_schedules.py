"""Learning-rate schedules against a formula written out, step by step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD, Optimizer

from lit_curriculum.models.lr_schedules import (
    HorizonSchedule,
    WarmupCosine,
    WarmupCosineCycles,
    WarmupLinear,
)


def make_optimizer(rate: float = 0.5) -> Optimizer:
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))]
    return SGD([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 2 * rate}], lr=rate)


def rates(optimizer: Optimizer, schedule: HorizonSchedule, steps: int) -> list[float]:
    """Rate of the first group at every step."""
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == 2 * seen[-1]
        assert schedule.get_last_lr()[0] == seen[-1]
        optimizer.step()
        schedule.step()
    return seen


def _reference_rates(shape: str, total: int, warmup: int, final: float, rate: float) -> list[float]:
    """Warm-up counted by hand, then points spread evenly between the full and the final rate."""
    rising = [rate * k / warmup for k in range(1, warmup + 1)]
    # The last warm-up step is the peak; without warm-up the first step is.
    intervals = total - max(warmup, 1)
    points = [k / intervals if intervals else 0.0 for k in range(intervals + 1)]
    curves: dict[str, Callable[[float], float]] = {
        "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
        "linear": lambda x: 1 - x,
    }
    falling = [rate * (final + (1 - final) * curves[shape](x)) for x in points]
    return rising + (falling[1:] if warmup else falling)


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.5, 0.99])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_schedules_equal_the_reference(total: int, fraction: float, final: float) -> None:
    warmup = min(math.ceil(round(fraction * total, 6)), total - 1)
    makers: dict[str, Callable[[Optimizer], HorizonSchedule]] = {
        "cosine": lambda o: WarmupCosine(o, fraction, final_fraction=final),
        "linear": lambda o: WarmupLinear(o, fraction, final_fraction=final),
    }
    for shape, make in makers.items():
        optimizer = make_optimizer()
        schedule = make(optimizer)
        schedule.set_horizon(total)
        seen = rates(optimizer, schedule, total)
        assert seen == pytest.approx(_reference_rates(shape, total, warmup, final, 0.5), abs=1e-12)
        assert seen[0] > 0.0
        if total > 1:
            assert seen[-1] == 0.5 * final
            # A few steps more than planned stay at the end of the curve.
            assert rates(optimizer, schedule, 2) == [seen[-1]] * 2


@pytest.mark.parametrize(("total", "warmup"), [(243, 8), (327, 10), (69, 3), (100, 3)])
def test_warmup_fraction_is_rounded_up(total: int, warmup: int) -> None:
    optimizer = make_optimizer()
    seen = rates(optimizer, WarmupCosine(optimizer, total_steps=total), total)
    assert seen.index(max(seen)) == warmup - 1


def test_warmup_steps_stand_in_place_of_the_fraction() -> None:
    optimizer = make_optimizer()
    seen = rates(optimizer, WarmupLinear(optimizer, 0.9, warmup_steps=4, total_steps=12), 12)
    assert seen == pytest.approx(_reference_rates("linear", 12, 4, 0.0, 0.5))


def test_tensor_rate_is_filled_in_place() -> None:
    rate = torch.tensor(0.5)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = WarmupLinear(optimizer, warmup_steps=2, total_steps=4)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25
    assert schedule.get_last_lr()[0] is not rate


def test_resumed_schedule_continues() -> None:
    straight_optimizer = make_optimizer()
    straight = rates(straight_optimizer, WarmupCosine(straight_optimizer, total_steps=20), 20)
    first_optimizer = make_optimizer()
    first = WarmupCosine(first_optimizer, total_steps=20)
    rates(first_optimizer, first, 9)
    second_optimizer = make_optimizer()
    second = WarmupCosine(second_optimizer)
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second_optimizer, second, 11) == straight[9:]


def test_run_resumed_with_another_length_follows_the_new_one(caplog: pytest.LogCaptureFixture) -> None:
    longer_optimizer = make_optimizer()
    longer = rates(longer_optimizer, WarmupCosine(longer_optimizer, warmup_steps=2, total_steps=40), 40)
    first_optimizer = make_optimizer()
    first = WarmupCosine(first_optimizer, warmup_steps=2, total_steps=20)
    rates(first_optimizer, first, 9)
    second_optimizer = make_optimizer()
    second = WarmupCosine(second_optimizer, warmup_steps=2, total_steps=40)
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    with caplog.at_level(logging.WARNING):
        second.load_state_dict(first.state_dict())
    assert "had 20 optimizer steps when it was saved and has 40 now" in caplog.text
    assert rates(second_optimizer, second, 31) == longer[9:]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"warmup_fraction must be in \[0, 1\), got 3"):
        WarmupCosine(make_optimizer(), warmup_fraction=3)
    with pytest.raises(ValueError, match="warmup_steps must be at least 0, got -1"):
        WarmupCosine(make_optimizer(), warmup_steps=-1)
    with pytest.raises(ValueError, match=r"final_fraction must be in \[0, 1\], got 1.5"):
        WarmupCosine(make_optimizer(), final_fraction=1.5)
    with pytest.raises(ValueError, match="at least one step, got 0"):
        WarmupCosine(make_optimizer(), total_steps=0)
    with pytest.raises(ValueError, match="warmup_steps=10 leaves nothing of the run's 10 steps"):
        WarmupCosine(make_optimizer(), warmup_steps=10, total_steps=10)


def test_stepping_without_a_horizon_is_a_mistake() -> None:
    optimizer = make_optimizer()
    schedule = WarmupCosine(optimizer)
    optimizer.step()
    with pytest.raises(AssertionError, match="before set_horizon"):
        schedule.step()


def test_each_cycle_is_a_schedule_of_its_own() -> None:
    optimizer = make_optimizer()
    schedule = WarmupCosineCycles(optimizer, cycles=[3, 1, 1], warmup_fraction=0.2, final_fraction=0.1)
    schedule.set_horizon(50)
    first = _reference_rates("cosine", 30, 6, 0.1, 0.5)
    other = _reference_rates("cosine", 10, 2, 0.1, 0.5)
    assert rates(optimizer, schedule, 50) == pytest.approx([*first, *other, *other])
    assert schedule.factor(50) == pytest.approx(0.1), "a step too many is made at the final rate"


def test_cycles_that_cannot_be_are_refused() -> None:
    for cycles in ([], [1.0, 0.0]):
        with pytest.raises(ValueError, match=r"lr_schedule.cycles needs at least one length, each above 0"):
            WarmupCosineCycles(make_optimizer(), cycles=cycles)
    with pytest.raises(ValueError, match=r"lr_schedule.cycles=\[9, 1\] leaves a cycle of the run's 4 steps empty"):
        WarmupCosineCycles(make_optimizer(), cycles=[9, 1], total_steps=4)
