"""Base classes of difficulty metrics: a number per example, with direction, unit and formula id.

A metric declares what it needs: the text, scored once (:class:`TextMetric`), or token losses of named views under
the model in training (:class:`ModelMetric`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lit_curriculum.types import CONDITIONED, WHOLE, EncodedView, ExampleStore, FloatArray, IntArray, TokenNLL
from lit_curriculum.utils.float64 import to_float64
from lit_curriculum.utils.options import Configured


class DifficultyMetric(Configured, ABC):
    """Base of all metrics; subclass :class:`TextMetric` or :class:`ModelMetric`."""

    higher_is_harder: ClassVar[bool] = True
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Lowest and highest plausible score, for simulations without a model."""
    unit: str
    """Unit of the score: ``tokens``, ``nats per token``, ``ratio``."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """Name and version of the exact formula, options included, such as ``ifd-ppl-ratio/1``.

        Scores may be compared, stored together or reused only where it is equal.
        """

    @property
    def model_methods(self) -> tuple[str, ...]:
        """Methods of the model that the metric calls, such as ``generate``; none by default."""
        return ()


class TextMetric(DifficultyMetric):
    """A metric of the examples alone, computed once."""

    loads_model: ClassVar[bool] = False
    """Whether the metric loads another model, so that ``plan`` simulates its scores."""

    @abstractmethod
    def score(self, examples: ExampleStore) -> FloatArray:
        """Scores [N]; NaN marks an example that cannot be scored."""


class ModelMetric(DifficultyMetric):
    """A metric of the model's losses, computed again whenever the policy asks for it.

    The scoring engine runs the model over each view once and gives every metric the token losses of a batch.
    :meth:`summarise` reduces them to a few numbers per example, and :meth:`combine` turns those of all views into the
    score. Token losses are not kept.
    """

    views: ClassVar[tuple[str, ...]] = (CONDITIONED,)

    @property
    def model_methods(self) -> tuple[str, ...]:
        return ("token_nll",)

    @property
    def summary_id(self) -> str:
        """Name and version of what :meth:`summarise` returns; metrics with the same id share cached summaries."""
        return "sum-count/1"

    def summarise(self, tokens: TokenNLL, num_rows: int) -> Tensor:
        """Per-row summary [num_rows, K] in float64; by default K = 2, sum and count of the token losses."""
        return sum_and_count(tokens, num_rows)

    @abstractmethod
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        """Scores [num_rows] from one summary [num_rows, K] per view; NaN where there is no scored token."""


def sum_and_count(tokens: TokenNLL, num_rows: int) -> Tensor:
    """Sum and number of token losses of each row, [num_rows, 2] float64."""
    nll = to_float64(tokens.nll)
    out = torch.zeros(num_rows, 2, dtype=torch.float64, device=nll.device)
    out.index_add_(0, tokens.row.to(nll.device), torch.stack((nll, torch.ones_like(nll)), dim=1))
    return out


def encoded_view(store: ExampleStore, index: int, view: str) -> EncodedView:
    """The tokens of one view of one example."""
    if view != WHOLE:
        return store.encoded(index, view)
    ids = store.encoded(index, CONDITIONED).input_ids
    return EncodedView(ids, np.arange(len(ids)) > 0)


def num_scored(store: ExampleStore, view: str) -> IntArray:
    """[N] number of scored tokens of ``view``."""
    return store.num_scored(view) if view != WHOLE else np.maximum(store.lengths(CONDITIONED) - 1, 0)
