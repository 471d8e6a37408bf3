"""Metrics of token losses: negative log-likelihood, perplexity and instruction-following difficulty (IFD)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, WHOLE


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


class InstructionFollowingDifficulty(ModelMetric):
    """IFD as a ratio of perplexities, ``exp(L_cond - L_prior)``.

    ``L_cond`` is the mean token loss of the response after the whole conversation, ``L_prior`` after the template
    without the user's turns. The form of Superfiltering and of IterIT (arXiv 2412.17365, complexity score). At 1
    or above, the instruction makes the response no more likely.
    """

    unit = "ratio of perplexities"
    views = (CONDITIONED, UNCONDITIONED)

    @property
    @override
    def formula(self) -> str:
        return "ifd-ppl-ratio/1"

    @override
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        return (mean_nll(summaries[CONDITIONED]) - mean_nll(summaries[UNCONDITIONED])).exp()


class LossRatioIFD(ModelMetric):
    """IFD as a ratio of mean token losses, ``L_cond / L_prior``: the form of Cherry_LLM.

    NaN (unscorable) where ``L_prior`` is exactly 0.
    """

    unit = "ratio of losses"
    views = (CONDITIONED, UNCONDITIONED)

    @property
    @override
    def formula(self) -> str:
        return "ifd-loss-ratio/1"

    @override
    def combine(self, summaries: Mapping[str, Tensor]) -> Tensor:
        prior = mean_nll(summaries[UNCONDITIONED])
        return torch.where(prior > 0, mean_nll(summaries[CONDITIONED]) / prior, torch.nan)
