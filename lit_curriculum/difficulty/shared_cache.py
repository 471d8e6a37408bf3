"""What models say of data apart from any training, kept for all runs of a user: no sequence costs anything twice."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

import torch

from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.types import ExampleStore, IntArray
from lit_curriculum.utils.hub import cache_dir

LIMIT_BYTES = 1 << 30
"""What all kept answers together may take on disk; one of a mean loss takes 40 bytes."""


def shared_cache(
    engine: ScoringEngine,
    fingerprint: str,
    store: ExampleStore,
    indices: IntArray,
    rank: int,
    home: Path | None = None,
    same_data_only: bool = False,
) -> SummaryCache:
    """The cache that all runs share which score with one model, type of arithmetic and kind of device.

    What is known of a sequence of tokens serves every data set it occurs in: its name is a hash of the tokens and of
    which of them are scored, so another template, tokenizer or maximum length finds nothing. A run on the same data in
    batches of the same size gets what the first such run got, bit for bit; what comes from runs on other data, or in
    other batches, may differ by rounding. Every process writes a separate file, and only if it computes something,
    so runs at the same time do not meet. Of what was not used for longest as much is removed as is over
    :data:`LIMIT_BYTES`.

    Args:
        engine: What will score.
        fingerprint: Of the model.
        store: The data.
        indices: [K] which examples will be scored.
        rank: Number of this process; rank 0 removes what is too much.
        home: Folder that the cache is in; by default the package's.
        same_data_only: Know only of runs on the same data in batches of the same size, so that nothing differs by
            rounding.
    """
    way = [engine.views, engine.token_budget, dict(getattr(store, "identity", {}))]
    purpose = hashlib.blake2b(json.dumps(way, sort_keys=True, default=str).encode(), digest_size=8)
    purpose.update(store.content_hashes[indices].tobytes())
    return open_cache(purpose.hexdigest(), fingerprint, engine.device, engine.autocast, rank, home, same_data_only)


def open_cache(
    own: str,
    fingerprint: str,
    device: torch.device,
    autocast: str,
    rank: int,
    home: Path | None = None,
    same_data_only: bool = False,
) -> SummaryCache:
    """The same, for answers of any kind.

    Args:
        own: Name of what is asked in which batches.
        fingerprint: Of the model.
        device: What computes the answers.
        autocast: ``none``, or the type that matrix products are taken in.
        rank: Number of this process; rank 0 removes what is too much.
        home: Folder that the cache is in; by default the package's.
        same_data_only: Know only of runs of the same name.
    """
    root = (cache_dir() if home is None else home) / "summaries"
    kind = f"{device.type} {own}" if same_data_only else device.type
    writer = f"{own}-{socket.gethostname()}-{os.getpid()}-{rank}"
    cache = SummaryCache.shared(root, fingerprint, autocast, writer, kind, prefer=own)
    for path in cache.folder.glob("*.journal"):
        with suppress(FileNotFoundError):  # another run has just removed it
            os.utime(path)
    if rank == 0:
        _remove_oldest(root, own)
    return cache


def _remove_oldest(root: Path, spared: str) -> None:
    """Remove files, those that were used last at the end, until all take no more than :data:`LIMIT_BYTES`."""
    found = []
    for path in root.glob("*/*.journal"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path, path.stat().st_size))
    total = sum(size for _, _, size in found)
    for _, path, size in sorted(found):
        if total <= LIMIT_BYTES:
            return
        if spared not in path.name:
            path.unlink(missing_ok=True)
            total -= size
