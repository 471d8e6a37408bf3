"""The journals that hold what one model has said, and those of many models in one folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lit_curriculum.difficulty.batching import ENGINE_VERSION, Digests
from lit_curriculum.difficulty.journal import SummaryJournal, SummaryKey
from lit_curriculum.types import BoolArray, FloatArray


class SummaryCache:
    """The journals of one model in a folder: one file a summary and process, all of them read, one's own written.

    Args:
        folder: Where the files are; made where there is none.
        model: From :func:`~lit_curriculum.difficulty.fingerprint.model_fingerprint`.
        autocast: ``none``, or the type that matrix products are taken in.
        writer: Name of this process among those that write to the folder: its rank, where they are of one run.
        prefer: Writers whose name starts with this are believed first, where several know a sequence.
        beside: A cache elsewhere of the same model and arithmetic, that everything is written to as well.
        read_beside: Whether what is known there, and not here, counts as known.

    Raises:
        ValueError: the folder holds summaries of another model, autocast or engine (when it is first asked for them).
    """

    def __init__(
        self, folder: Path, model: str, autocast: str = "none", writer: int | str = 0, prefer: str = "",
        beside: SummaryCache | None = None, read_beside: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.model, self.autocast, self.writer, self.prefer = folder, model, autocast, writer, prefer
        self.beside, self.read_beside = beside, read_beside
        self._journals: dict[str, list[SummaryJournal]] = {}

    @classmethod
    def shared(
        cls, root: Path, model: str, autocast: str = "none", writer: int | str = 0, purpose: str = "", prefer: str = ""
    ) -> SummaryCache:
        """The cache of one model (and ``purpose``) among those of many under ``root``."""
        name = hashlib.blake2b(f"{model} {autocast} {ENGINE_VERSION} {purpose}".encode(), digest_size=8).hexdigest()
        return cls(root / name, model, autocast, writer, prefer)

    def known(self, summaries: Sequence[str], digests: Digests) -> tuple[BoolArray, dict[str, FloatArray]]:
        """Which of ``digests`` [U, 2] have all of ``summaries`` [U], and these [num_known, K] in their order."""
        masks, values = [], []
        for summary in summaries:
            mask, table = np.zeros(len(digests), dtype=np.bool_), np.empty((len(digests), 0))
            for journal in self._journals_of(summary):
                found, rows = journal.known(digests)
                if not found.any():
                    continue
                if not table.shape[1]:
                    table = np.zeros((len(digests), rows.shape[1]))
                new = found & ~mask
                table[new] = rows[new[found]]
                mask |= new
            masks.append(mask)
            values.append(table)
        known = np.logical_and.reduce(masks)
        return known, {s: v[known] for s, v in zip(summaries, values, strict=True)}

    def append(self, digests: Digests, values: Mapping[str, FloatArray]) -> None:
        """Write the summaries [B, K] of one batch, by name."""
        for summary, rows in values.items():
            self._journals_of(summary)[0].append(digests, rows)
        if self.beside is not None:
            self.beside.append(digests, values)

    def learn(self, digests: Digests, values: Mapping[str, FloatArray]) -> None:
        """Know the summaries [B, K] that other processes write."""
        for summary, rows in values.items():
            self._journals_of(summary)[0].learn(digests, rows)

    def close(self) -> None:
        """Close all files."""
        for journals in self._journals.values():
            journals[0].close()
        if self.beside is not None:
            self.beside.close()

    def _journals_of(self, summary: str) -> list[SummaryJournal]:
        if summary not in self._journals:
            key = SummaryKey(model=self.model, summary=summary, autocast=self.autocast, engine=ENGINE_VERSION)
            stem = re.sub(r"[^A-Za-z0-9]+", "-", summary)
            own = self.folder / f"{stem}.{self.writer}.journal"
            others = [p for p in self.folder.glob(f"{stem}.*.journal") if p != own]
            others.sort(key=lambda p: (not p.name.startswith(f"{stem}.{self.prefer}"), p.name))
            found = [SummaryJournal(own, key), *(SummaryJournal(p, key, True) for p in others)]
            if self.beside is not None and self.read_beside:
                found += self.beside._journals_of(summary)
            self._journals[summary] = found
        return self._journals[summary]
