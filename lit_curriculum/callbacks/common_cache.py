"""What models say of data before any training, kept for all runs of a user: it costs nothing the second time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path

from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.journal import SummaryCache
from lit_curriculum.hub import cache_dir
from lit_curriculum.types import ExampleStore, IntArray

LIMIT_BYTES = 1 << 30
"""What all kept answers together may take on disk; one of a mean loss takes 40 bytes."""


def common_cache(
    engine: ScoringEngine, fingerprint: str, store: ExampleStore, indices: IntArray, rank: int
) -> SummaryCache:
    """The cache that all runs share which score the examples ``indices`` [K] with one model in the same way.

    The same way means the same data, views, token budget and kind of device, so the batches are the same too: a run
    that finds everything here trains on the same bits as one that computes it. Every process writes a file of its
    own, and only if it computes something, so runs at the same time do not meet. Of what was not used for longest as
    much is removed as is over :data:`LIMIT_BYTES`.

    Args:
        engine: What will score.
        fingerprint: Of the model.
        store: The data.
        indices: [K] which examples will be scored.
        rank: Number of this process; rank 0 removes what is too much.
    """
    way = [engine.views, engine.token_budget, engine.device.type, dict(getattr(store, "identity", {}))]
    purpose = hashlib.blake2b(json.dumps(way, sort_keys=True, default=str).encode(), digest_size=16)
    purpose.update(store.content_hashes[indices].tobytes())
    root = cache_dir() / "summaries"
    writer = f"{socket.gethostname()}-{os.getpid()}-{rank}"
    cache = SummaryCache.shared(root, fingerprint, engine.autocast, writer, purpose.hexdigest())
    if cache.folder.exists():
        os.utime(cache.folder)
    if rank == 0:
        _remove_oldest(root, cache.folder)
    return cache


def _remove_oldest(root: Path, spared: Path) -> None:
    """Remove folders, those that were used last at the end, until all take no more than :data:`LIMIT_BYTES`."""
    sizes: dict[Path, int] = {}
    used: dict[Path, float] = {}
    for folder in root.iterdir() if root.exists() else ():
        try:
            sizes[folder] = sum(path.stat().st_size for path in folder.iterdir())
            used[folder] = folder.stat().st_mtime
        except FileNotFoundError:
            continue  # another run has just removed it
    total = sum(sizes.values())
    for folder in sorted(used, key=lambda f: used[f]):
        if total <= LIMIT_BYTES:
            return
        if folder != spared:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
