"""Loss-based sampling: unbiased pruning (InfoBatch) and selective backpropagation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lit_curriculum.curriculum.base import OWNER
from lit_curriculum.curriculum.ordering import highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.single_metric import LossSource, TrainingLossPolicy
from lit_curriculum.types import ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range

Rule = Literal["below_mean", "percentile"]


class LossSamplingPolicy(TrainingLossPolicy):
    """Keep example i at each stage with a probability p_i from its loss, until the budget of the run is spent.

    - ``below_mean``: p_i = 1 - r where the loss is below the mean of all known losses, else 1 (InfoBatch).
    - ``percentile``: p_i = (k_i / n)^beta, k_i = 1 .. n being the rank of the loss from below (selective
      backpropagation, with the percentile among all losses in place of a history of recent ones).

    With ``unbiased`` a kept example weighs 1 / p_i, so that the weighted losses of a stage sum, in expectation, to
    the losses of all examples: sum_i E[kept_i] / p_i * l_i = sum_i l_i. For the gradient to be so the model has to take
    weights as they are (``model.weighting: absolute``). Examples without a loss are kept with weight 1. The draw is
    systematic over a random order: each p_i holds exactly, and the size of a stage is within one of sum_i p_i.

    Sizes of stages depend on the losses, so the run has a budget: it ends when that many examples have been trained
    on, the last stage being cut to it at random, and the learning-rate horizon is exact. ``trainer.max_epochs`` is
    only an upper bound.

    Args:
        metric: Name of the loss, or of another metric that is harder where it is higher.
        rule: ``below_mean`` or ``percentile``.
        prune: Probability that a loss below the mean is left out (r in InfoBatch, 0.5 there), in [0, 1).
        power: Exponent of the percentile (beta), above 0: the share kept is about 1 / (1 + beta).
        unbiased: Weigh what is kept by 1 / p_i.
        anneal: Share of the budget, at its end, in which stages train on all examples with weight 1 (1 - delta in
            InfoBatch, where delta is 0.875), in [0, 1].
        budget_passes: Where the run ends, in passes over the data.
        losses: ``training`` or ``refresh``: whether losses are those of training or computed before every stage.

    Raises:
        ValueError: an option is out of range, or ``trainer.max_epochs`` stages may not suffice for the budget.

    References:
        Qin et al. 2024, "InfoBatch", arXiv 2303.04947; Jiang et al. 2019, "Accelerating Deep Learning by
        Focusing on the Biggest Losers", arXiv 1910.00762. The draw: Madow 1949, "On the theory
        of systematic sampling, II"; the weights: Horvitz and Thompson 1952.
    """

    def __init__(
        self,
        metric: str = "loss",
        rule: Rule = "below_mean",
        prune: float = 0.5,
        power: float = 1.0,
        unbiased: bool = True,
        anneal: float = 0.125,
        budget_passes: float = 3.0,
        losses: LossSource = "training",
    ) -> None:
        super().__init__(metric, losses)
        check_range(self, "[0, 1)", prune=prune)
        check_range(self, "[0, 1]", anneal=anneal)
        check_range(self, "(0, inf)", power=power, budget_passes=budget_passes)
        self.rule: Rule = rule
        self.prune, self.power, self.unbiased, self.anneal = prune, power, unbiased, anneal
        self.budget_passes = budget_passes
        self._done = 0

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        super().setup(examples, num_stages)
        least = max(1, self._fewest(len(examples)))
        needed = math.ceil(self._budget(len(examples)) / least)
        if num_stages < needed:
            raise ValueError(
                f"trainer.max_epochs={num_stages}, but a stage of {OWNER} may be as small as {least} of "
                f"{len(examples)} examples and budget_passes={self.budget_passes} then takes {needed} stages; set "
                f"trainer.max_epochs to {needed} (the run ends when the budget is spent)."
            )

    def _budget(self, num_examples: int) -> int:
        # The small constant keeps 0.07 * 100 at 7 where the product falls a rounding error below it.
        return max(1, int(self.budget_passes * num_examples + 1e-9))

    def _fewest(self, num_examples: int) -> int:
        """Smallest size that a stage can have: all losses but one below the mean."""
        if self.rule == "below_mean":
            return int((num_examples - 1) * (1.0 - self.prune) + 1e-9) + 1
        return int(percentile_probabilities(num_examples, self.power).sum() + 1e-9)

    def _planned(self, num_examples: int) -> int:
        """Expected size of a stage if half of the losses are below the mean."""
        if self.rule == "below_mean":
            return round(num_examples * (1.0 - self.prune / 2.0))
        return round(float(percentile_probabilities(num_examples, self.power).sum()))

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        budget, sizes = self._budget(num_examples), list[int]()
        while (left := budget - sum(sizes)) > 0:
            first = not sizes and self.losses == "training"
            whole = first or self._anneals(sum(sizes), budget)
            sizes.append(min(left, num_examples if whole else max(1, self._planned(num_examples))))
        return sizes

    def _anneals(self, done: int, budget: int) -> bool:
        return done >= (1.0 - self.anneal) * budget

    def finished(self, stage: int) -> bool:
        return stage > 0 and self._done >= self._budget(self._num_examples)

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        if stage == 0:
            self._done = 0
        losses = self.known_losses(table, stage)
        budget = self._budget(self._num_examples)
        whole = self._anneals(self._done, budget)
        kept = np.ones(len(losses)) if whole else self.probabilities(losses)
        drawn = self._by_content[systematic_sample(kept[self._by_content], generator)]
        chosen = generator.permutation(drawn)[: budget - self._done]
        self._done += len(chosen)
        known = np.isfinite(losses)
        scalars = {
            "selected": float(len(chosen)),
            "mean_loss": float(losses[known].mean()) if known.any() else 0.0,
            "expected_size": float(kept.sum()),
            "budget_spent": self._done / budget,
        }
        weights = (1.0 / kept[chosen]).astype(np.float32) if self.unbiased else None
        return Plan(indices=chosen, weights=weights, scalars=scalars)

    def probabilities(self, losses: FloatArray) -> FloatArray:
        """Probability [N] to keep every example, from its loss [N]; 1 without a loss."""
        kept = np.ones(len(losses))
        (known,) = np.nonzero(np.isfinite(losses))
        if not len(known):
            return kept
        if self.rule == "below_mean":
            kept[known[losses[known] < losses[known].mean()]] = 1.0 - self.prune
        else:
            order = known[highest_first(-losses[known], self._tie_rank[known])]
            kept[order] = percentile_probabilities(len(known), self.power)
        return kept

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._done = state["done"]


def percentile_probabilities(num: int, power: float) -> FloatArray:
    """Probabilities [num] (k / num)^power of ranks k = 1 .. num."""
    probabilities: FloatArray = (np.arange(1, num + 1) / num) ** power
    return probabilities


def systematic_sample(probabilities: FloatArray, generator: np.random.Generator) -> IntArray:
    """Draw positions [n] such that position i is included with probability ``probabilities[i]``.

    Those of probability 1 always are. The others are placed in random order on a line, each as long as its
    probability, and those that hold a mark are taken; marks are one apart from a random start.
    """
    certain = np.flatnonzero(probabilities >= 1.0)
    others = generator.permutation(np.flatnonzero(probabilities < 1.0))
    ends = np.floor(np.cumsum(probabilities[others]) + generator.random())
    return np.concatenate([certain, others[np.diff(ends, prepend=0.0) > 0]])
