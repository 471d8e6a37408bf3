"""From stored examples to padded batches and over ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from lit_curriculum.data.datamodule import ViewDataset
from lit_curriculum.data.sampler import StridedSampler
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Batch, EncodedView
from tests.conftest import ListStore


def item(index: int, weight: float, ids: list[int], scored: list[int]) -> tuple[int, float, EncodedView]:
    return index, weight, EncodedView(np.array(ids, np.int32), np.array(scored, bool))


def test_padding_by_hand() -> None:
    # Only the length distinguishes token 0 from padding.
    batch = Batch.from_views([item(7, 0.5, [5, 0, 6], [0, 1, 1]), item(2, 1.0, [0], [0])])
    assert batch.input_ids.tolist() == [[5, 0, 6], [0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.scored.tolist() == [[False, True, True], [False, False, False]]
    assert batch.index.tolist() == [7, 2]
    assert batch.weight.tolist() == [0.5, 1.0]
    types = [t.dtype for t in (batch.input_ids, batch.attention_mask, batch.scored, batch.index, batch.weight)]
    assert types == [torch.int64, torch.int64, torch.bool, torch.int64, torch.float32]


def test_batches_leave_the_stored_tokens_alone(toy_store: ListStore) -> None:
    view = toy_store.encoded(0, CONDITIONED)
    view.input_ids.flags.writeable = False
    batch = Batch.from_views([(0, 1.0, view)])
    batch.input_ids += 1
    assert view.input_ids.tolist() == (batch.input_ids[0] - 1).tolist()


def test_a_view_takes_indices_with_and_without_weight(toy_store: ListStore) -> None:
    data = ViewDataset(toy_store, UNCONDITIONED)
    assert len(data) == 40
    assert data[3][:2] == (3, 1.0)
    assert data[(3, 0.25)][:2] == (3, 0.25)
    assert data[3][2].input_ids.tolist() == toy_store.encoded(3, UNCONDITIONED).input_ids.tolist()
    assert len(ViewDataset(toy_store, CONDITIONED)[3][2].input_ids) > len(data[3][2].input_ids)


@pytest.mark.parametrize("num_replicas", [1, 2, 3, 7])
@pytest.mark.parametrize("num_examples", [1, 5, 12])
def test_ranks_share_without_repeating(num_replicas: int, num_examples: int) -> None:
    samplers = [StridedSampler(num_examples, num_replicas, rank) for rank in range(num_replicas)]
    parts = [list(s) for s in samplers]
    assert sorted(i for part in parts for i in part) == list(range(num_examples))
    assert [len(s) for s in samplers] == [len(part) for part in parts]
    assert parts[0][: min(2, len(parts[0]))] == list(range(0, num_examples, num_replicas))[:2]
    # Lightning replaces every sampler that is not one of these.
    assert isinstance(samplers[0], DistributedSampler)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_the_same_batches_with_workers(toy_store: ListStore, workers: int) -> None:
    loader = DataLoader(
        ViewDataset(toy_store, CONDITIONED),
        batch_size=16,
        sampler=StridedSampler(40, 2, 1),
        collate_fn=Batch.from_views,
        num_workers=workers,
    )
    batches = list(loader)
    assert [b.index.tolist() for b in batches] == [list(range(1, 33, 2)), [33, 35, 37, 39]]
    ids = toy_store.encoded(37, CONDITIONED).input_ids.tolist()
    assert batches[1].input_ids[2, : len(ids)].tolist() == ids
