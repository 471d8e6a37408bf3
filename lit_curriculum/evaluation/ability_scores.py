"""Exact match and loss by ability, from sums that are right under ranks and uneven batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class AbilityScores(Metric):
    """Accuracy, loss, chance and chance-corrected accuracy of each ability.

    Only sums are kept and reduced over ranks; every ratio is taken at the end, so how the examples were cut into
    batches or spread over ranks changes nothing.

    Args:
        abilities: Names of the abilities; an ability's code is its position here.

    References:
        Chance correction: Cohen 1960, "A coefficient of agreement for nominal scales", kappa = (p - c) / (1 - c).
    """

    is_differentiable = False
    full_state_update = False

    correct: Tensor
    total: Tensor
    chance: Tensor
    nll: Tensor
    tokens: Tensor

    def __init__(self, abilities: Sequence[str]) -> None:
        super().__init__()
        self.abilities = tuple(abilities)
        for name, dtype in (
            ("correct", torch.float64),
            ("total", torch.int64),
            ("chance", torch.float64),
            ("nll", torch.float64),
            ("tokens", torch.int64),
        ):
            self.add_state(name, torch.zeros(len(self.abilities), dtype=dtype), dist_reduce_fx="sum")

    def update(
        self, ability_codes: Tensor, exact: Tensor, nll_sum: Tensor, num_scored: Tensor, chance: Tensor | None = None
    ) -> None:
        """Add a batch.

        Args:
            ability_codes: [B] int64, positions in ``abilities``.
            exact: [B] bool, whether the whole response was right; or a score between 0 and 1, such as pass@k.
            nll_sum: [B] summed loss of the response in nats.
            num_scored: [B] number of tokens that the sum is over.
            chance: [B] probability that a blind guess is right. Where it is unknown, leave it out or give NaN; chance
                and kappa of the abilities concerned are NaN then.
        """
        if chance is None:
            chance = torch.full_like(nll_sum, torch.nan)
        for state, values in (
            (self.correct, exact),
            (self.total, torch.ones_like(ability_codes)),
            (self.chance, chance),
            (self.nll, nll_sum),
            (self.tokens, num_scored),
        ):
            state.index_add_(0, ability_codes, values.to(state.dtype))

    def compute(self) -> dict[str, dict[str, float]]:
        """Of each ability that occurred.

        Returns:
            ``accuracy``, the share of exact matches p; ``nll``, the mean loss in nats per token; ``chance``, the mean
            chance level c of its examples; ``kappa``, (p - c) / (1 - c): 0 at chance, 1 when all is right; and
            ``num_examples``.
        """
        accuracy = self.correct / self.total.double()
        chance = self.chance / self.total
        columns = {
            "accuracy": accuracy,
            "nll": self.nll / self.tokens,
            "chance": chance,
            "kappa": (accuracy - chance) / (1 - chance),
            "num_examples": self.total,
        }
        values = {name: column.tolist() for name, column in columns.items()}
        return {
            ability: {name: values[name][code] for name in values}
            for code, ability in enumerate(self.abilities)
            if values["num_examples"][code]
        }
