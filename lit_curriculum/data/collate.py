"""From stored examples to padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler

from lit_curriculum.types import Batch, EncodedView, ExampleStore

Item = tuple[int, float, EncodedView]


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
        """The example ``key``, an index or, as the sampler gives it, an index with its weight in the loss."""
        index, weight = key if isinstance(key, tuple) else (key, 1.0)
        return index, weight, self.store.encoded(index, self.view)


def collate(items: Sequence[Item], pad_to_multiple_of: int = 1) -> Batch:
    """Right-padded batch [B, L] of ``items``.

    Padding has token id 0 and is told apart by length alone: many tokenizers pad with a token that also ends turns.

    Args:
        items: Index, weight and tokens of each example.
        pad_to_multiple_of: L is rounded up to a multiple of this.
    """
    lengths = [len(view.input_ids) for _, _, view in items]
    width = -(-max(lengths) // pad_to_multiple_of) * pad_to_multiple_of
    ids = np.zeros((len(items), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    scored = np.zeros_like(ids, dtype=np.bool_)
    for row, (_, _, view) in enumerate(items):
        ids[row, : lengths[row]] = view.input_ids
        mask[row, : lengths[row]] = 1
        scored[row, : lengths[row]] = view.scored
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        scored=torch.from_numpy(scored),
        index=torch.tensor([index for index, _, _ in items], dtype=torch.int64),
        weight=torch.tensor([weight for _, weight, _ in items], dtype=torch.float32),
    )


class StridedSampler(DistributedSampler[int]):
    """Rank ``r`` of ``R`` gets the indices r, r + R, r + 2R, ...: every example once, none twice.

    Lightning leaves it alone because it is a :class:`~torch.utils.data.DistributedSampler`, whose own way is to
    repeat examples until all ranks have equally many. Ranks may differ by one example.

    Args:
        num_examples: Size of the data.
        num_replicas: Number of ranks.
        rank: This process's rank.
    """

    def __init__(self, num_examples: int, num_replicas: int, rank: int) -> None:
        # The base class only asks the data set for its length.
        super().__init__(range(num_examples), num_replicas=num_replicas, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self._indices = range(rank, num_examples, num_replicas)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)
