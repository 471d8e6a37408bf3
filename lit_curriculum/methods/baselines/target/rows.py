"""Which rows of the data are the target."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lit_curriculum.types import ExampleStore, IntArray
from lit_curriculum.utils.options import Configured


class TargetRows(Configured):
    """The target set as rows of the data itself, so that it has their template, tokens and checks.

    Add the file of target examples to ``data.path`` and name it here, or name abilities. Target rows get no score, so
    that no policy chooses them by it. Groups (LESS's subtasks) are abilities; rows without one are a group too.

    Args:
        file: Rows whose source is this file, as ``data.path`` names it; null for any.
        abilities: Only rows of these abilities; null for all.
        per_group: Rows of each group at most, the first by content hash; null for all.

    Raises:
        ValueError: nothing is named, or (in :meth:`groups`) there is no such row.
    """

    option_path: ClassVar[str] = "targets"

    def __init__(
        self, file: str | None = None, abilities: list[str] | None = None, per_group: int | None = None
    ) -> None:
        if file is None and per_group is None:
            raise ValueError("option targets: name the file of the target rows, or set per_group to take some of each.")
        if per_group is not None and per_group < 1:
            raise ValueError(f"option targets.per_group must be at least 1, got {per_group}.")
        self.file, self.abilities, self.per_group = file, abilities, per_group

    @property
    def name(self) -> str:
        """All options."""
        return f"{self.file or '*'},{'+'.join(self.abilities or ['*'])},{self.per_group or 'all'}"

    def groups(self, store: ExampleStore) -> list[IntArray]:
        """Indices of the target rows of each group, in the order of the groups' names."""
        found: dict[str, list[int]] = {}
        wanted = None if self.abilities is None else set(self.abilities)
        for i, ability in enumerate(store.abilities):
            if wanted is not None and ability not in wanted:
                continue
            if self.file is None or store[i].source.rsplit(":", 1)[0] == self.file:
                found.setdefault(ability or "", []).append(i)
        if not found:
            raise ValueError(
                f"option targets: no row of the data has file={self.file} and abilities={self.abilities}; add the file "
                "to data.path, or name abilities of the data."
            )
        hashes = store.content_hashes
        groups = [np.array(found[name], dtype=np.int64) for name in sorted(found)]
        return [g[np.argsort(hashes[g], kind="stable")][: self.per_group] for g in groups]
