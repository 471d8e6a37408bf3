"""Mean response loss and perplexity under the model in training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.types import CONDITIONED, WHOLE


def mean_nll(summary: Tensor) -> Tensor:
    """Mean token loss [B] in nats from sums and counts [B, 2]; NaN where nothing was scored."""
    return torch.where(summary[:, 1] > 0, summary[:, 0] / summary[:, 1].clamp(min=1), torch.nan)


class NegativeLogLikelihood(ModelMetric):
    """Mean negative log-likelihood of the response given the instruction, in nats per token.

    The competence-aware loss difficulty of CAMPUS (arXiv 2509.13790) in its standard form.
    """

    unit = "nats per token"

    @property
    @override
    def formula(self) -> str:
        return "nll-mean/1"

    @override
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        return mean_nll(summaries[CONDITIONED])


class Perplexity(ModelMetric):
    """Perplexity of the response given the instruction: exp of the mean token loss."""

    unit = "perplexity"

    @property
    @override
    def formula(self) -> str:
        return "ppl/1"

    @override
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        return mean_nll(summaries[CONDITIONED]).exp()


class ConversationNLL(ModelMetric):
    """Mean negative log-likelihood of all tokens of the conversation but the first, in nats per token.

    Prompt, template and responses count alike. Beside a metric of the responses it costs one more pass.
    """

    unit = "nats per token"
    views = (WHOLE,)

    @property
    @override
    def formula(self) -> str:
        return "nll-mean-whole/1"

    @override
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        return mean_nll(summaries[WHOLE])
