"""SelectIT: ratings by several prompts, reduced by the model's own uncertainty."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.methods.baselines.scorers.digits import DigitExpectation
from lit_curriculum.methods.baselines.scorers.scorer import ScorerDtype
from lit_curriculum.types import ExampleStore, FloatArray
from lit_curriculum.utils.options import check_range

_log = logging.getLogger(__name__)

PROMPTS = ("reflection_1", "reflection_2", "reflection_3", "reflection_4", "reflection_5")
"""The packaged prompts: five ways to ask for the same rating."""


class TokenReflection(DigitExpectation):
    """The most likely digit times how far the others lie below it, by one prompt; the options are those of its base.

    With ``p_k`` the softmax over the logits of the digits alone and ``b`` the most likely of K digits, the rating is
    ``b / (K - 1) * sum_k |p_k - p_b|``. Digits are 1 to 5, and the ratings of several turns are averaged.
    """

    digits = range(1, 6)
    turns = "mean"

    @property
    @override
    def formula(self) -> str:
        return super().formula.replace("digit-expectation/1", "token-reflection/1")

    @override
    def rate(self, probabilities: Tensor) -> Tensor:
        return token_reflection(probabilities, torch.tensor(list(self.digits), device=probabilities.device))


class SelfReflection(TextMetric):
    """Rating at the level of tokens, sentences and models.

    Over the prompts, the ratings of :class:`TokenReflection` are averaged and divided by ``1 + alpha * std`` (the
    standard deviation of the K values, not of a sample); over several models, these are averaged with the models'
    numbers of parameters as weights. The highest are the ones to select. An example that one of the models cannot be
    asked about has no score. The prompts are ours; each model is read once.

    Args:
        sources: Folders, hub ids or GGUF files of the models.
        prompts: Names of packaged prompts or ``.txt`` files, as in
            :class:`~lit_curriculum.DigitExpectation`; K of them.
        alpha: Weight of the disagreement of prompts.
        template: Chat template that a prompt becomes a user's turn of, or null: the answer follows the bare prompt.
        dtype: Of the models' weights: ``float32`` or ``bfloat16``.
        cache_dir: Where the models' answers are kept; by default the package's cache.

    Raises:
        ValueError: an option is out of range, or what its parts refuse.

    References:
        Liu et al. 2024, "SelectIT: Selective Instruction Tuning for LLMs via Uncertainty-Aware Self-Reflection",
        arXiv 2402.16705, section 3.
    """

    runtime_options = frozenset({"cache_dir"})
    unit = "digit"
    loads_model = True

    def __init__(
        self,
        sources: list[str],
        prompts: list[str] | None = None,
        alpha: float = 0.2,
        template: str | None = "auto",
        dtype: ScorerDtype = "float32",
        cache_dir: str | None = None,
    ) -> None:
        prompts = list(PROMPTS if prompts is None else prompts)
        if not sources or not prompts:
            raise ValueError("options sources and prompts of SelfReflection must name at least one each.")
        check_range(self, "[0, inf)", alpha=alpha)
        self.alpha = alpha
        self._parts = [
            [TokenReflection(source, prompt, template, dtype, cache_dir) for prompt in prompts] for source in sources
        ]

    @property
    def formula(self) -> str:
        parts = ";".join(part.formula for parts in self._parts for part in parts)
        return f"self-reflection/1({self.alpha:g};{parts})"

    def score(self, examples: ExampleStore) -> FloatArray:
        by_model: list[FloatArray] = []
        sizes: list[int] = []
        for parts in self._parts:
            module = parts[0].scorer.load()
            by_model.append(sentence_reflection(np.stack([p.score_by(module, examples) for p in parts]), self.alpha))
            sizes.append(sum(p.numel() for p in module.parameters()))
            _log.info("%s has rated %d examples by %d prompts", parts[0].scorer.source, len(examples), len(parts))
        weights = np.array(sizes, dtype=np.float64) / sum(sizes)
        total: FloatArray = weights @ np.stack(by_model)
        return total


def token_reflection(probabilities: Tensor, digits: Tensor) -> Tensor:
    """Ratings [B] from the digits' probabilities [B, K]; of equally likely digits the first counts."""
    highest, best = probabilities.max(dim=1)
    gaps = (highest[:, None] - probabilities).sum(dim=1)
    return digits[best] * gaps / (probabilities.shape[1] - 1)


def sentence_reflection(ratings: FloatArray, alpha: float) -> FloatArray:
    """[N] from the ratings [K, N] by K prompts."""
    found: FloatArray = ratings.mean(axis=0) / (1.0 + alpha * ratings.std(axis=0))
    return found
