"""Updates metrics that have parameters of their own, and enters their scores into the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule

from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.ranks import from_rank_zero
from lit_curriculum.difficulty.stateful import StatefulMetric, UpdateContext, UpdateCost
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.progress import Show, no_display
from lit_curriculum.quiet import quiet
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, make_generator


class StatefulMetrics:
    """The stateful metrics of a run, as of the refresh that is being made and as of the last one that ended.

    Only the latter is saved. A refresh that is killed is made again from the state that it began with, and every
    update depends on that, the weights, the table, the seed and the stage alone.

    Args:
        metrics: All metrics by name; those that are not stateful are left out.

    Raises:
        ValueError: one reads a metric that there is not.
    """

    def __init__(self, metrics: Mapping[str, DifficultyMetric]) -> None:
        self.metrics = {name: m for name, m in metrics.items() if isinstance(m, StatefulMetric)}
        self._kept = {name: metric.state_dict() for name, metric in self.metrics.items()}
        for name, metric in self.metrics.items():
            for column in metric.reads:
                if column not in metrics:
                    raise ValueError(
                        f"curriculum.metrics.{name} reads the metric {column!r}, but curriculum.metrics has "
                        f"{sorted(metrics)}; add it there under that name."
                    )

    def check(self, module: LightningModule) -> None:
        """Refuse a model that cannot do what a metric asks for.

        Raises:
            MisconfigurationException: a method is missing.
        """
        for name, metric in self.metrics.items():
            for method in metric.model_methods:
                if not callable(getattr(module, method, None)):
                    raise MisconfigurationException(
                        f"curriculum.metrics.{name} needs the model's method {method}, which {type(module).__name__} "
                        "does not have; use CausalLMModule, give yours one (see lit_curriculum.types), or set other "
                        "features or another objective."
                    )

    def wanted(self, asked: IntArray, num_examples: int, stage: int, seed: int) -> IntArray:
        """The indices that the policy ``asked`` for [K], and after them those that updates want beside them."""
        for name, metric in self.metrics.items():
            more = metric.wanted(asked, num_examples, stage, make_generator(seed, stage, f"{name} wanted"))
            asked = np.concatenate([asked, np.setdiff1d(more, asked)])
        return asked

    def refresh(
        self, module: LightningModule, store: ExampleStore, table: DifficultyTable, stage: int, seed: int,
        show: Show = no_display,
    ) -> UpdateCost:  # fmt: skip
        """Update what is due before ``stage`` and score all examples with it; every rank gets rank 0's result.

        Args:
            module: The model in training.
            store: The N examples.
            table: Takes the scores.
            stage: The stage that comes next.
            seed: Of the run.
            show: Makes the display of the progress.
        """
        everything = np.arange(len(store))
        total = UpdateCost()
        for name, metric in self.metrics.items():
            if not metric.is_due(stage):
                continue
            metric.load_state_dict(self._kept[name])
            with quiet(module), show(f"Updating {name}", "") as progress:
                context = UpdateContext(
                    model=module,  # type: ignore[arg-type]
                    device=module.device,
                    store=store,
                    table=table,
                    stage=stage,
                    generator=make_generator(seed, stage, name),
                    progress=progress,
                )
                cost = metric.update(context)
                metric.load_state_dict(from_rank_zero(metric.state_dict(), module.device))
                timed = metric.timed_score(context, everything)
            values = from_rank_zero(timed.values, module.device)
            scorable = ~np.isnan(values)
            table.update(name, everything[scorable], values[scorable], stage)
            table.mark_unscorable(name, everything[~scorable], stage)
            own = {
                "seconds": cost.seconds + timed.seconds,
                "generated_tokens": float(cost.generated_tokens),
                "forward_tokens": float(cost.forward_tokens + timed.forward_tokens),
            }
            scalars = {f"{name}/{key}": value for key, value in {**cost.scalars, **own}.items()}
            total = UpdateCost(
                seconds=total.seconds + cost.seconds + timed.seconds,
                generated_tokens=total.generated_tokens + cost.generated_tokens,
                forward_tokens=total.forward_tokens + cost.forward_tokens + timed.forward_tokens,
                scalars={**total.scalars, **scalars},
            )
        return total

    def keep(self) -> None:
        """Note that the refresh has ended: this is the state that a checkpoint holds from now on."""
        self._kept = {name: metric.state_dict() for name, metric in self.metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        """States of the last refresh that ended."""
        return dict(self._kept)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        for name, metric in self.metrics.items():
            metric.load_state_dict(state[name])
        self.keep()


def score_alone(name: str, metric: StatefulMetric, module: LightningModule, store: ExampleStore) -> FloatArray:
    """Scores [N] of a metric that stands alone, under the weights of ``module``; every rank gets rank 0's.

    Raises:
        MisconfigurationException: the model cannot do what the metric asks for.
        ValueError: what the metric refuses.
    """
    assert metric.stands_alone, "it would learn from a run that there is not"
    StatefulMetrics({name: metric}).check(module)
    context = UpdateContext(
        model=module,  # type: ignore[arg-type]
        device=module.device,
        store=store,
        table=DifficultyTable(len(store), []),
        stage=0,
        generator=make_generator(0, 0, "score"),
    )
    with quiet(module):
        metric.update(context)
        found = metric.score(context, np.arange(len(store)))
    return from_rank_zero(found, module.device)
