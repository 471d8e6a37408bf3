"""Learning-rate schedules over an exact horizon: warm-up to the full rate, then cosine or linear decay.

With T optimizer steps in the run, W of them warm-up, and t = 0 .. T - 1 the step that is about to be made, the rate is
the optimizer's own times

    (t + 1) / W                                              while t < W
    final + (1 - final) * decay((t - p) / (T - 1 - p))       after that, with p = max(W - 1, 0)

so the first step already moves the weights and the last one is made at exactly the final rate (a run of one step is
made at the full rate).
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_curriculum.utils.options import check_range

_log = logging.getLogger(__name__)


class HorizonSchedule(LRScheduler):
    """Base of schedules that must know how many optimizer steps the run has.

    Args:
        optimizer: Its rates are the ones reached after warm-up.
        warmup_fraction: Share of the run's steps that are warm-up, rounded up; in [0, 1).
        warmup_steps: Number of warm-up steps; where given, it replaces the fraction.
        final_fraction: Share of the full rate that the last step is made with; in [0, 1].
        total_steps: Optimizer steps in the run; left out where :meth:`set_horizon` is called later.

    Raises:
        ValueError: an option is out of range, or the warm-up does not fit into the run.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_fraction: float = 0.03,
        warmup_steps: int | None = None,
        final_fraction: float = 0.0,
        total_steps: int | None = None,
    ) -> None:
        check_range("lr_schedule", "[0, 1)", warmup_fraction=warmup_fraction)
        check_range("lr_schedule", "[0, inf)", warmup_steps=warmup_steps)
        check_range("lr_schedule", "[0, 1]", final_fraction=final_fraction)
        self.warmup_fraction = warmup_fraction
        self.warmup_steps = warmup_steps
        self.final_fraction = final_fraction
        self.total_steps: int | None = None
        super().__init__(optimizer)
        if total_steps is not None:
            self.set_horizon(total_steps)

    def set_horizon(self, total_steps: int) -> None:
        """Fix the number of optimizer steps in the run and set the rate of the step that comes next.

        Raises:
            ValueError: the run has no step, or is not longer than its warm-up.
        """
        if total_steps < 1:
            raise ValueError(f"the learning-rate schedule needs a run of at least one step, got {total_steps}.")
        if self.warmup_steps is not None and self.warmup_steps >= total_steps:
            raise ValueError(
                f"lr_schedule.warmup_steps={self.warmup_steps} leaves nothing of the run's {total_steps} steps; "
                f"lower it or use warmup_fraction."
            )
        self.total_steps = total_steps
        self._apply()

    def factor(self, step: int) -> float:
        """Share of the full rate at which the step number ``step`` (from 0) is made."""
        if self.total_steps is None:
            # The base class asks for the first rate before the horizon can be known.
            assert step == 0, f"{type(self).__name__} was stepped before set_horizon was called"
            return 1.0
        return self._within(step, self.total_steps)

    def _within(self, step: int, num_steps: int) -> float:
        """Share of the full rate at step ``step`` of a schedule of ``num_steps`` steps."""
        warmup = self._num_warmup(num_steps)
        if step < warmup:
            return (step + 1) / warmup
        peak = max(warmup - 1, 0)
        remaining = max(num_steps - 1 - peak, 1)
        return self.final_fraction + (1.0 - self.final_fraction) * self._decay(min((step - peak) / remaining, 1.0))

    def get_lr(self) -> list[float | Tensor]:
        """[groups] rate of each parameter group for the step that comes next."""
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; a horizon set in this run is kept, and a changed one is logged."""
        horizon = self.total_steps
        super().load_state_dict(state_dict)
        if horizon is not None and horizon != self.total_steps:
            _log.warning(
                "the run had %s optimizer steps when it was saved and has %d now; the learning rate follows the "
                "new length from here on",
                self.total_steps,
                horizon,
            )
            self.set_horizon(horizon)

    def _num_warmup(self, num_steps: int) -> int:
        if self.warmup_steps is not None:
            return self.warmup_steps
        # The small constant keeps 0.03 * 100 at 3 where the product comes out a rounding error above it; and the
        # last step is never part of the warm-up, so that it is made at the final rate however short the run.
        return min(math.ceil(self.warmup_fraction * num_steps - 1e-9), num_steps - 1)

    def _decay(self, progress: float) -> float:
        """Falls from 1 at progress 0 to 0 at progress 1."""
        raise NotImplementedError

    def _apply(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            rate = base * self.factor(self.last_epoch)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        rates = (group["lr"] for group in self.optimizer.param_groups)
        self._last_lr = [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]


class WarmupCosine(HorizonSchedule):
    """Linear warm-up, then half a cosine down to the final rate.

    References:
        Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5 with one cycle.
    """

    def _decay(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


class WarmupLinear(HorizonSchedule):
    """Linear warm-up, then a straight line down to the final rate."""

    def _decay(self, progress: float) -> float:
        return 1.0 - progress


class WarmupCosineCycles(WarmupCosine):
    """Warm-up and cosine that restart at given parts of the run, as for the rounds of TAPIR.

    Args:
        optimizer: Its rates are the ones reached after warm-up.
        cycles: Lengths of the cycles in any unit, such as their numbers of stages where stages are of equal size: S_0
            of three stages and three rounds of one are ``[3, 1, 1, 1]``. A cycle begins at the nearest step.
        warmup_fraction: Share of a cycle's steps that are warm-up.
        final_fraction: Share of the full rate that the last step of a cycle is made with.
        total_steps: Optimizer steps in the run; left out where :meth:`set_horizon` is called later.

    Raises:
        ValueError: an option is out of range, or the run has too few steps for a cycle to have one.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        cycles: list[float],
        warmup_fraction: float = 0.03,
        final_fraction: float = 0.0,
        total_steps: int | None = None,
    ) -> None:
        if not cycles or min(cycles) <= 0:
            raise ValueError(f"lr_schedule.cycles needs at least one length, each above 0, got {cycles}.")
        self.cycles = list(cycles)
        super().__init__(optimizer, warmup_fraction, None, final_fraction, total_steps)

    def set_horizon(self, total_steps: int) -> None:
        """See the base class."""
        starts = self._starts(total_steps)
        if any(a == b for a, b in itertools.pairwise(starts)):
            raise ValueError(f"lr_schedule.cycles={self.cycles} leaves a cycle of the run's {total_steps} steps empty.")
        super().set_horizon(total_steps)

    def factor(self, step: int) -> float:
        """Share of the full rate at which the step number ``step`` (from 0) is made."""
        if self.total_steps is None:
            return super().factor(step)
        starts = self._starts(self.total_steps)
        cycle = min(bisect.bisect_right(starts, step), len(self.cycles)) - 1
        return self._within(step - starts[cycle], starts[cycle + 1] - starts[cycle])

    def _starts(self, total_steps: int) -> list[int]:
        """First step of each cycle, and the end of the last."""
        return [round(total_steps * sum(self.cycles[:n]) / sum(self.cycles)) for n in range(len(self.cycles) + 1)]
