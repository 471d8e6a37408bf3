"""What commands check of metrics and stored scores before they use them."""

from __future__ import annotations

from collections.abc import Mapping

from lit_curriculum import __version__
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.difficulty.learned import LearnedMetric
from lit_curriculum.difficulty.score_store import StoredScores
from lit_curriculum.types import ExampleStore


def refuse_learned(metrics: Mapping[str, DifficultyMetric], command: str) -> None:
    """Refuse metrics that learn from the run that they are part of.

    Raises:
        ValueError: names the first one.
    """
    for name, metric in metrics.items():
        if isinstance(metric, LearnedMetric) and metric.needs_run:
            raise ValueError(
                f"curriculum.metrics.{name} ({type(metric).__name__}) learns while a model is trained, so "
                f"lit-curriculum {command} has no score of it; leave it out of curriculum.metrics, or train with it "
                "(lit-curriculum fit)."
            )


def check_scores(stored: StoredScores, formulas: dict[str, str], examples: ExampleStore) -> None:
    """Refuse scores of other data, another encoding or another formula.

    Raises:
        ValueError: names what differs.
    """
    suffix = "+bf16" if stored.key.autocast == "bfloat16" else ""
    known = {
        n: f + suffix if stored.key.formulas[n].endswith("+bf16") else f
        for n, f in formulas.items()
        if n in stored.key.formulas
    }
    encoding = dict(getattr(examples, "identity", {}))
    stored.check({"formulas": known, "encoding": encoding, "version": __version__})
