"""Instruction-following difficulty (IFD): how little the instruction helps the model to say the response.

Two formulas go by this name in the field and rank differently, so each has its own class and id here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.difficulty.nll import mean_nll
from lit_curriculum.types import CONDITIONED, UNCONDITIONED


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
