"""Growth of every ability: what was trained on, what is answered, at every validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from lit_curriculum.callbacks.abilities import NO_ABILITY
from lit_curriculum.callbacks.checks import curriculum_data
from lit_curriculum.growth.records import GrowthRecord, overall
from lit_curriculum.types import ExampleStore, IntArray

_NEEDED = ("index", "nll_sum", "num_scored", "exact")
_TOLD = "n_unique/"


class AbilityGrowthTracker(Callback):
    """Makes growth records at every validation, and logs them under ``growth/``.

    Logs ``growth/{split}/{ability}/score``, ``chance``, ``kappa`` and ``nll``, the plain means
    ``growth/{split}/overall_in_domain``, ``overall_ood`` and ``overall_all``, and ``growth/{ability}/n_unique``,
    ``n_seen`` and ``p_mix``. Rank zero appends every record to ``growth.jsonl`` in the run's folder. The items of the
    validation data are split by turns within an ability into ``valid``, which checkpoints are chosen on, and ``test``.
    The module's steps return ``index``, ``nll_sum``, ``num_scored`` and ``exact``, each [B]; an item's chance stands
    as ``chance`` in its ``meta``. The sanity check is left out.

    Args:
        ood: Abilities that are not trained on.
        cell: Name of the run in a study.
        arm: How its data were made.
        size: Name of the model.
        params: Parameters of the model.
        seed: Seed of the run.
        rung: Rows of each ability that the run's rung names.
        valid: Split the items; otherwise all are ``test``, where no checkpoint has to be chosen.

    Attributes:
        history: All records so far; kept in checkpoints.
    """

    def __init__(
        self,
        ood: list[str] | None = None,
        cell: str = "run",
        arm: str = "curated",
        size: str = "base",
        params: float = 1.0,
        seed: int = 0,
        rung: int = 0,
        valid: bool = True,
    ) -> None:
        self.ood = list(ood or [])
        self.cell, self.arm, self.size, self.params, self.seed, self.rung = cell, arm, size, params, seed, rung
        self.valid = valid
        self.history: list[GrowthRecord] = []
        self._seen: dict[str, list[int]] = {}
        self._rows: list[Tensor] = []
        self._trained: list[Tensor] = []

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not isinstance(outputs, Mapping) or any(k not in outputs for k in ("index", "num_scored")):
            raise MisconfigurationException(
                f"AbilityGrowthTracker needs training_step to return index and num_scored, which "
                f"{type(pl_module).__name__} does not; return them, or take it out of trainer.callbacks."
            )
        self._trained.append(torch.stack([outputs["index"].detach(), outputs["num_scored"].detach()]))

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = []

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
        if not isinstance(outputs, Mapping) or any(k not in outputs for k in _NEEDED):
            raise MisconfigurationException(
                f"AbilityGrowthTracker needs validation_step to return {', '.join(_NEEDED)}, which "
                f"{type(pl_module).__name__} does not; return them, or take it out of trainer.callbacks."
            )
        self._rows.append(torch.stack([outputs[k].detach().double() for k in _NEEDED]))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        data = curriculum_data(trainer)
        store: ExampleStore | None = getattr(data, "val_store", None)
        if store is None:
            raise MisconfigurationException(
                "AbilityGrowthTracker needs a data module with a val_store; set data.val_path or data.val_fraction."
            )
        self._count_training(data.train_store)
        rows = _gathered(torch.cat(self._rows, dim=1), trainer).cpu().numpy()
        # Ordered by item and once each: padding of a sampler may not count twice.
        _, first = np.unique(rows[0], return_index=True)
        new = self._records(trainer, store, rows[:, first], data.train_store)
        self.history += new
        self._log(trainer, pl_module, new)

    def _count_training(self, store: ExampleStore) -> None:
        if not self._trained:
            return
        index, tokens = torch.cat(self._trained, dim=1).cpu().numpy()
        self._trained = []
        names = np.array([store.abilities[int(i)] or NO_ABILITY for i in index])
        for ability in np.unique(names):
            mine = names == ability
            rows_, tokens_ = self._seen.get(str(ability), [0, 0])
            self._seen[str(ability)] = [rows_ + int(mine.sum()), tokens_ + int(tokens[mine].sum())]

    def _records(
        self, trainer: Trainer, store: ExampleStore, rows: np.ndarray[Any, Any], train: ExampleStore
    ) -> list[GrowthRecord]:
        index, nll, scored, exact = rows[0].astype(np.int64), rows[1], rows[2], rows[3] > 0
        names = np.array([store.abilities[int(i)] or NO_ABILITY for i in index])
        chances = np.array([float(store[int(i)].meta.get("chance", np.nan)) for i in index])
        unique = self._unique(trainer, train)
        records = []
        for ability in dict.fromkeys(names.tolist()):
            mine = np.flatnonzero(names == ability)
            splits = (("valid", mine[::2]), ("test", mine[1::2])) if self.valid else (("test", mine),)
            for split, items in splits:
                if len(items) == 0:
                    continue
                seen, tokens = self._seen.get(ability, [0, 0])
                records.append(
                    GrowthRecord(
                        cell=self.cell, arm=self.arm, size=self.size, params=self.params, seed=self.seed,
                        rung=self.rung, ability=ability, group="ood" if ability in self.ood else "in_domain",
                        split=split, epoch=trainer.current_epoch + 1, step=trainer.global_step,
                        n_unique=unique.get(ability, 0), n_seen=seen, tokens_seen=tokens,
                        correct=int(exact[items].sum()), total=len(items), chance_sum=float(chances[items].sum()),
                        nll=float(nll[items].sum() / scored[items].sum()),
                        outcomes="".join("1" if e else "0" for e in exact[items]),
                        item_nll=tuple(round(float(v), 5) for v in nll[items] / scored[items]),
                    )
                )  # fmt: skip
        return records

    def _unique(self, trainer: Trainer, train: ExampleStore) -> dict[str, int]:
        """Different rows of each ability that the run draws on: the policy's count, else those of the plan."""
        plan = curriculum_data(trainer).sampler.plan
        told = {} if plan is None else {k: v for k, v in plan.scalars.items() if k.startswith(_TOLD)}
        if told:
            return {k.removeprefix(_TOLD): int(v) for k, v in told.items()}
        indices: IntArray = np.empty(0, np.int64) if plan is None else np.unique(plan.indices)
        names, counts = np.unique([train.abilities[int(i)] or NO_ABILITY for i in indices], return_counts=True)
        return {str(n): int(c) for n, c in zip(names, counts, strict=True)}

    def _log(self, trainer: Trainer, pl_module: LightningModule, new: list[GrowthRecord]) -> None:
        logged: dict[str, float] = {}
        total_seen = sum(rows for rows, _ in self._seen.values())
        for r in new:
            tag = f"growth/{r.split}/{r.ability}"
            logged |= {f"{tag}/score": r.score, f"{tag}/nll": r.nll}
            if np.isfinite(r.chance_sum):
                logged |= {f"{tag}/chance": r.chance, f"{tag}/kappa": r.kappa}
            logged |= {f"growth/{r.ability}/n_unique": float(r.n_unique), f"growth/{r.ability}/n_seen": float(r.n_seen)}
            if total_seen:
                logged[f"growth/{r.ability}/p_mix"] = r.n_seen / total_seen
        for split in ("valid", "test"):
            mine = [r for r in new if r.split == split]
            for name, group in (("in_domain", "in_domain"), ("ood", "ood"), ("all", None)):
                value = overall(mine, group)
                if np.isfinite(value):
                    logged[f"growth/{split}/overall_{name}"] = value
        for logger in trainer.loggers:
            logger.log_metrics(logged, step=trainer.global_step)
        if trainer.is_global_zero and trainer.log_dir is not None:
            path = Path(trainer.log_dir) / "growth.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                for r in new:
                    row = {"epoch": r.epoch, "step": r.step, "ability": r.ability, "split": r.split, "score": r.score}
                    row |= {"nll": r.nll, "n_unique": r.n_unique, "n_seen": r.n_seen, "outcomes": r.outcomes}
                    file.write(json.dumps(row) + "\n")

    @override
    def state_dict(self) -> dict[str, Any]:
        # Training rows not counted yet belong to the state as well.
        rows = torch.cat(self._trained, dim=1).cpu() if self._trained else torch.zeros(2, 0, dtype=torch.int64)
        return {"history": [_plain(r) for r in self.history], "seen": self._seen, "trained": rows}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [GrowthRecord(**{**row, "item_nll": tuple(row["item_nll"])}) for row in state_dict["history"]]
        self._seen = {k: list(v) for k, v in state_dict["seen"].items()}
        self._trained = [state_dict["trained"]]


def _plain(record: GrowthRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in GrowthRecord.__slots__}


def _gathered(rows: Tensor, trainer: Trainer) -> Tensor:
    """[4, items] of all ranks; ranks may hold different numbers."""
    if trainer.world_size == 1:
        return rows
    parts: list[Any] = [None] * trainer.world_size
    dist.all_gather_object(parts, rows.cpu())
    return torch.cat(parts, dim=1)
