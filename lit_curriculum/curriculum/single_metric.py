"""What policies share that read one metric and train on as many examples in every stage."""

from __future__ import annotations

from collections.abc import Sequence

from lit_curriculum.curriculum.base import CurriculumPolicy, check_size, resolve_count
from lit_curriculum.curriculum.ordering import content_ranks
from lit_curriculum.types import ExampleStore

_OWNER = "curriculum.policy"


class SingleMetricPolicy(CurriculumPolicy):
    """Base of policies of one metric and one stage size; a subclass says how it chooses.

    Args:
        metric: Name of the difficulty metric.
        fraction: Share of the data that a stage trains on; null where ``count`` is given.
        count: Number of examples that a stage trains on.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, metric: str, fraction: float | None, count: int | None) -> None:
        check_size(fraction=fraction, count=count, owner=_OWNER)
        self.metric, self.fraction, self.count = metric, fraction, count

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.metric,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        self._size = resolve_count(len(examples), fraction=self.fraction, count=self.count, owner=_OWNER)
        self._tie_rank = content_ranks(examples.content_hashes)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [resolve_count(num_examples, fraction=self.fraction, count=self.count, owner=_OWNER)] * num_stages
