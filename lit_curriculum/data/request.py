"""Remembers which encoded data answer a request, so that asking again costs no reading."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lit_curriculum.data.store import EncodedStore


def requested_store(request: Any, cache_dir: Path, build: Callable[[], EncodedStore]) -> EncodedStore:
    """The store that was built for the same request, if it is still there, else a new one.

    Args:
        request: Anything JSON that names the data and all options, or none where the data have no name; then
            nothing is looked up or remembered.
        cache_dir: Where stores are built.
        build: Reads the data and makes the store.
    """
    if request is None:
        return build()
    name = hashlib.blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=16).hexdigest()
    note = cache_dir / "requests" / name
    if note.exists():
        folder = cache_dir / "encoded" / note.read_text(encoding="utf-8")
        if folder.exists():
            return EncodedStore([folder])
    store = build()
    note.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when written, so that another process never reads half a name.
    with tempfile.NamedTemporaryFile("w", dir=note.parent, prefix=".", delete=False, encoding="utf-8") as file:
        file.write(store.fingerprint)
    Path(file.name).replace(note)
    return store
