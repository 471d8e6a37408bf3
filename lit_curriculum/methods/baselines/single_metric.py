"""Base class of policies that read one metric and have one stage size."""

from __future__ import annotations

from collections.abc import Sequence

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.ordering import StageSize, content_ranks
from lit_curriculum.types import ExampleStore


class SingleMetricPolicy(CurriculumPolicy):
    """Base class of policies of one metric and one stage size; subclasses implement the choice.

    Args:
        metric: Name of the difficulty metric.
        fraction: Share of the data that a stage trains on; null where ``count`` is given.
        count: Number of examples that a stage trains on.
        tokens: Number of tokens that a stage trains on, for policies that choose without repeats.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, metric: str, fraction: float | None, count: int | None, tokens: int | None = None) -> None:
        self.size = StageSize(fraction, count, tokens)
        self.metric, self.fraction, self.count, self.tokens = metric, fraction, count, tokens

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self.size.setup(examples)
        self._size = self.size.planned(len(examples))
        self._tie_rank = content_ranks(examples.content_hashes)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [self.size.planned(num_examples)] * num_stages
