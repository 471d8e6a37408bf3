"""Accuracy and loss of every ability on the validation data during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from lit_curriculum.evaluation.ability_scores import ability_scores
from lit_curriculum.loop.checks import step_outputs, validation_store
from lit_curriculum.types import BoolArray, ExampleStore, FloatArray, IntArray, ability_names
from lit_curriculum.utils.float64 import to_float64

COLUMNS = ("index", "nll_sum", "num_scored", "exact")
"""What the module's ``validation_step`` returns of each item, each [B]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What the model did on M validation items, ordered by index."""

    index: IntArray
    abilities: NDArray[np.str_]
    nll_sum: FloatArray
    """Nats over the right answer's tokens."""
    num_scored: FloatArray
    """Number of those tokens."""
    right: BoolArray
    chance: FloatArray
    """Probability that a blind guess is right; NaN where it is unknown."""

    @classmethod
    def from_rows(cls, rows: FloatArray, store: ExampleStore) -> Outcomes:
        """Make the outcomes of all items in ``rows`` [4, items], the columns of :data:`COLUMNS`.

        An item that occurs twice counts once, since a sampler may repeat items to even out the ranks.
        """
        index, first = np.unique(rows[0].astype(np.int64), return_index=True)
        _, nll_sum, num_scored, right = rows[:, first]
        chance = [float(store[int(i)].meta.get("chance", np.nan)) for i in index]
        return cls(
            index=index, abilities=ability_names(store, index), nll_sum=nll_sum, num_scored=num_scored,
            right=right > 0, chance=np.array(chance),
        )  # fmt: skip

    def only(self, items: IntArray) -> Outcomes:
        """The outcomes of the items with the indices ``items``."""
        kept = np.isin(self.index, items)
        return Outcomes(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})

    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by ability; see :func:`~lit_curriculum.evaluation.ability_scores.ability_scores`."""
        return ability_scores(self.abilities.tolist(), self.right, self.nll_sum, self.num_scored, self.chance)


class ItemRows(Metric):
    """Rows [items, 4] of all ranks, the columns of :data:`COLUMNS` in float64."""

    full_state_update = False
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    @override
    def update(self, *columns: Tensor) -> None:
        """Add a batch: four columns, each [B]."""
        self.rows.append(torch.stack([to_float64(column.detach()) for column in columns], dim=1))

    @override
    def compute(self) -> Tensor:
        """Concatenate the rows of all ranks."""
        return dim_zero_cat(self.rows)


class AbilityMeter(Callback):
    """Collects what the model does on the validation items; a subclass reads :meth:`outcomes` when they are done.

    The module's ``validation_step`` returns a mapping with ``index``, ``nll_sum``, ``num_scored`` and ``exact``, each
    [B], as :class:`~lit_curriculum.CausalLMModule` does. The data module has a ``val_store``. An item's chance level
    is ``chance`` in its ``meta``. The sanity check is left out.
    """

    def __init__(self) -> None:
        self._rows = ItemRows()

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows.reset()  # before the move: a device without float64 cannot hold the rows of the last validation
        self._rows.to(pl_module.device)
        # A rank without items takes part in the gathering all the same.
        self._rows.update(*[torch.zeros(0, device=pl_module.device) for _ in COLUMNS])
        if not trainer.sanity_checking:
            validation_store(trainer, self)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            found = step_outputs(outputs, COLUMNS, "validation_step", self, pl_module)
            self._rows.update(*[found[name] for name in COLUMNS])

    def outcomes(self, trainer: Trainer) -> Outcomes:
        """Outcomes of the whole validation data, the same on every rank; all ranks have to call it."""
        return Outcomes.from_rows(self._rows.compute().T.cpu().numpy(), validation_store(trainer, self))


class AbilityMonitor(AbilityMeter):
    """Logs ``val/accuracy/<ability>``, ``val/nll/<ability>`` and ``val/accuracy``, the plain mean over abilities.

    Accuracy is the share of items whose every response token is the model's most likely one, given the right tokens
    before it. See :class:`AbilityMeter` for what module and data have to offer.

    Attributes:
        results: Scores of the last validation by ability; see
            :func:`~lit_curriculum.evaluation.ability_scores.ability_scores`. Empty before the first.
        history: One entry for each validation: ``epoch``, ``step`` and ``results``; kept in checkpoints.
    """

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[str, dict[str, float]] = {}
        self.history: list[dict[str, Any]] = []

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.results = self.outcomes(trainer).scores()
        self.history.append({"epoch": trainer.current_epoch, "step": trainer.global_step, "results": self.results})
        logged = {"val/accuracy": float(np.mean([r["accuracy"] for r in self.results.values()]))}
        for ability, result in self.results.items():
            logged[f"val/accuracy/{ability}"] = result["accuracy"]
            logged[f"val/nll/{ability}"] = result["nll"]
        # All ranks hold the same numbers already; sync_dist only declares it to the Trainer.
        pl_module.log_dict(logged, on_step=False, on_epoch=True, batch_size=1, sync_dist=trainer.world_size > 1)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.results = self.history[-1]["results"] if self.history else {}
