"""Accuracy and loss of every ability on the validation data, as training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from lit_curriculum.callbacks.seen_rows import NO_ABILITY
from lit_curriculum.evaluation.ability_scores import AbilityScores
from lit_curriculum.evaluation.measured import COLUMNS
from lit_curriculum.loop.checks import step_outputs, validation_store
from lit_curriculum.types import ExampleStore


class AbilityMonitor(Callback):
    """Logs ``val/accuracy/<ability>``, ``val/nll/<ability>`` and their plain mean over abilities, ``val/accuracy``.

    Accuracy is the share of examples whose every response token is the model's most likely one given the right
    tokens before it. The scores come from sums over the whole validation data, all ranks together. The module's
    ``validation_step`` returns a mapping with ``index``, ``nll_sum``, ``num_scored`` and ``exact``, each [B], as
    :class:`~lit_curriculum.CausalLMModule` does; the data module has a ``val_store``. An example's chance level
    is read from ``chance`` in its ``meta``. The sanity check is left out.

    Attributes:
        results: Scores of the last validation by ability; see
            :meth:`~lit_curriculum.evaluation.ability_scores.AbilityScores.compute`. Empty before the first.
        history: One entry for each validation: ``epoch``, ``step`` and ``results``; kept in checkpoints.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[str, float]] = {}
        self.history: list[dict[str, Any]] = []
        self._store: ExampleStore | None = None
        self._codes = torch.empty(0, dtype=torch.int64)
        self._chance = torch.empty(0, dtype=torch.float64)
        self._scores: AbilityScores | None = None

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        store = validation_store(trainer, self)
        if store is not self._store or len(store) != len(self._codes):
            self._read(store)
        assert self._scores is not None
        self._scores.reset()
        # Sums that are reduced over ranks have to lie where the ranks' messages can reach them; alone they stay on
        # the CPU, where every device's sums can be kept in double precision.
        self._scores.to(pl_module.device if trainer.world_size > 1 else torch.device("cpu"))

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
        if trainer.sanity_checking:
            return
        found = step_outputs(outputs, COLUMNS, "validation_step", self, pl_module)
        assert self._scores is not None
        index = found["index"].cpu()
        device = self._scores.device
        self._scores.update(
            self._codes[index].to(device),
            found["exact"].to(device),
            found["nll_sum"].to(device),
            found["num_scored"].to(device),
            self._chance[index].to(device),
        )

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert self._scores is not None
        self.results = self._scores.compute()
        entry = {"epoch": trainer.current_epoch, "step": trainer.global_step, "results": self.results}
        self.history.append(entry)
        logged = {"val/accuracy": float(np.mean([r["accuracy"] for r in self.results.values()]))}
        for ability, result in self.results.items():
            logged[f"val/accuracy/{ability}"] = result["accuracy"]
            logged[f"val/nll/{ability}"] = result["nll"]
        # All ranks hold the same numbers already; reducing them once more only tells the Trainer so.
        pl_module.log_dict(logged, on_step=False, on_epoch=True, batch_size=1, sync_dist=trainer.world_size > 1)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.results = self.history[-1]["results"] if self.history else {}

    def _read(self, store: ExampleStore) -> None:
        """Note the ability and the chance level of every validation example."""
        names = [NO_ABILITY if ability is None else ability for ability in store.abilities]
        abilities = list(dict.fromkeys(names))
        codes = {ability: code for code, ability in enumerate(abilities)}
        chances = [float(store[i].meta.get("chance", torch.nan)) for i in range(len(store))]
        self._codes = torch.tensor([codes[name] for name in names], dtype=torch.int64)
        self._chance = torch.tensor(chances, dtype=torch.float64)
        self._scores = AbilityScores(abilities)
        self._store = store
