"""The data module: instruction data as batches of tokens, with the sampler that a curriculum drives."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

from lit_curriculum.data.instruction_data import InstructionData
from lit_curriculum.data.sampler import CurriculumSampler, StridedSampler
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.types import CONDITIONED, Batch, EncodedView, ExampleStore

Item = tuple[int, float, EncodedView]
"""Index, weight in the loss, and tokens of an example."""


class ViewDataset(Dataset[Item]):
    """One view of a store as a map-style data set of ``(index, weight, tokens)``.

    Args:
        store: The examples.
        view: Name of the view.
    """

    def __init__(self, store: ExampleStore, view: str) -> None:
        self.store = store
        self.view = view

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, key: int | tuple[int, float]) -> Item:
        """The example ``key``: an index, or an index with its weight as the sampler yields it."""
        index, weight = key if isinstance(key, tuple) else (key, 1.0)
        return index, weight, self.store.encoded(index, self.view)


class InstructionDataModule(InstructionData, LightningDataModule):
    """Instruction data for a curriculum: :attr:`train_store` and the :attr:`sampler` that its training loader reads.

    Everything is read and tokenized once, by one process, into a cache; every process opens that. The options are
    those of :class:`~lit_curriculum.data.instruction_data.InstructionData`, and so are the methods that subclasses with
    data from elsewhere override.
    """

    sampler: CurriculumSampler

    @override
    def prepare_data(self) -> None:
        encoder = self.encoder()
        for split in self.splits():
            self._open(split, encoder)

    @override
    def setup(self, stage: str) -> None:
        encoder = self.encoder()
        if getattr(self, "train_store", None) is None or self.train_store.encoding != encoder.fingerprint:
            self.train_store = self._open("train", encoder)
            self.val_store = self._open("val", encoder) if "val" in self.splits() else None
            counts = f"{len(self.train_store)} to train on, {len(self.val_store or ())} to validate on"
            rank_zero_info(
                f"data: {counts}, chat template {encoder.template.name}, at most {encoder.options.max_length} tokens; "
                f"{self.problems.summary()}"
            )
        wanted = (len(self.train_store), *self._world())
        sampler = getattr(self, "sampler", None)
        if sampler is None or (sampler.num_examples, sampler.num_replicas, sampler.rank) != wanted:
            self.sampler = CurriculumSampler(*wanted, self.batch_size)

    @override
    def train_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.train_store, self.sampler, self.batch_size // self._world()[0])

    @override
    def val_dataloader(self) -> DataLoader[Item] | list[DataLoader[Item]]:
        if self.val_store is None:
            return []
        return self._loader(self.val_store, StridedSampler(len(self.val_store), *self._world()), self.eval_batch_size)

    def _loader(self, store: EncodedStore, sampler: Sampler[Any], batch_size: int) -> DataLoader[Item]:
        return DataLoader(
            ViewDataset(store, CONDITIONED),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=Batch.from_views,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    @override
    def _model(self) -> Any:
        return self.model if self.trainer is None else self.trainer.lightning_module

    def _world(self) -> tuple[int, int]:
        """Number of ranks and this process's rank."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
