"""Vectors of many examples: in batches of like length, shared out over ranks, kept on disk as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_curriculum.difficulty.batching import pack_by_tokens, sequence_digest
from lit_curriculum.difficulty.runner import Progress
from lit_curriculum.types import CONDITIONED, Batch, ExampleStore, IntArray
from lit_curriculum.utils.distributed import all_reduce_sum, rank_and_world
from lit_curriculum.utils.files import atomic_path

Vectors = NDArray[np.float32]


def extract(
    store: ExampleStore,
    indices: IntArray,
    vectors_of: Callable[[Batch], Tensor],
    device: torch.device,
    token_budget: int,
    folder: Path | None,
    progress: Progress | None = None,
) -> Vectors:
    """Vectors [K, D] of the examples ``indices`` [K], on every rank.

    Batches are made up the same way whatever the number of ranks and then dealt out. Every batch is written to
    ``folder`` when it is done, so that an extraction that was killed goes on with the batches that are missing.

    Args:
        store: The data.
        indices: Which of them; each with a scored token.
        vectors_of: From a batch to [B, D].
        device: Where batches go.
        token_budget: Padded tokens of a batch.
        folder: Of this model and these vectors, or none to keep nothing.
        progress: Told (batches done, batches in all).

    Raises:
        ValueError: a vector is NaN or infinite.
    """
    rank, world_size = rank_and_world()
    lengths = store.lengths(CONDITIONED)[indices]
    batches = pack_by_tokens(lengths, token_budget)
    found: list[tuple[IntArray, Tensor]] = []
    # Ranks of a sharded model synchronise inside the forward, so every rank makes the same number of them.
    for number in range(rank, -(-len(batches) // world_size) * world_size, world_size):
        rows = batches[number % len(batches)]
        views = [store.encoded(int(indices[r]), CONDITIONED) for r in rows]
        path = None
        if folder is not None:
            digest = hashlib.blake2b(b"".join(sequence_digest(v) for v in views), digest_size=16).hexdigest()
            path = folder / f"{digest}.npy"
        if path is not None and path.exists():
            vectors = torch.from_numpy(np.load(path))
        else:
            batch = Batch.from_views([(int(indices[r]), 1.0, v) for r, v in zip(rows, views, strict=True)])
            vectors = vectors_of(batch.to(device)).detach().float().cpu()
            _check_finite(vectors, store, indices[rows])
            if path is not None:
                _write(path, vectors.numpy())
        if number < len(batches):
            found.append((rows, vectors))
        if progress is not None:
            progress(min(number + 1, len(batches)), len(batches))
    width = max((v.shape[1] for _, v in found), default=0)
    if world_size > 1:
        # A rank may have had no batch at all.
        box = torch.tensor([width], device=device)
        torch.distributed.all_reduce(box, torch.distributed.ReduceOp.MAX)
        width = int(box)
    table = torch.zeros(len(indices), width, device=device)
    for rows, vectors in found:
        table[torch.from_numpy(rows).to(device)] = vectors.to(device)
    total: Vectors = all_reduce_sum(table).cpu().numpy()
    return total


def _check_finite(vectors: Tensor, store: ExampleStore, indices: IntArray) -> None:
    broken = ~torch.isfinite(vectors).all(dim=1)
    if broken.any():
        example = store[int(indices[int(broken.nonzero()[0])])]
        raise ValueError(
            f"the model's vector of example {example.id} ({example.source}) is NaN or infinite; its weights are broken "
            "or overflow: nothing was scored."
        )


def _write(path: Path, vectors: Vectors) -> None:
    # An open file, since NumPy would end a path with .npy.
    with atomic_path(path) as draft, draft.open("wb") as file:
        np.save(file, vectors)
