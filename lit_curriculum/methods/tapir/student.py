"""The student's answers: prompts from the data, generation that is shared by ranks and continued after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lit_curriculum.types import CONDITIONED, ExampleStore, GenerativeModel, IntArray
from lit_curriculum.utils.distributed import broadcast_object, rank_and_world
from lit_curriculum.utils.jsonl_log import append_journal, read_journal

TokenIds = NDArray[np.int32]
Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all) of this rank."""
_CHUNK = 256
"""Answers between two writes to disk."""


def answer_prompt(store: ExampleStore, index: int) -> TokenIds:
    """The tokens of an example up to its first response.

    Raises:
        ValueError: the example has no scored token, so it cannot be said where its answer starts.
    """
    view = store.encoded(index, CONDITIONED)
    if not view.scored.any():
        example = store[index]
        raise ValueError(f"{example.source} ({example.id}) has no response token, so the student cannot be asked.")
    return np.asarray(view.input_ids[: int(view.scored.argmax())], dtype=np.int32)


class StudentAnswers:
    """Answers of one model, kept as they come.

    Each rank appends to a file of its own and reads those of all, so a run that is resumed, with any number of
    ranks, asks only for what is missing. A file holds answers of one model under one set of options alone.

    Args:
        folder: Where the files are; nothing is kept where it is none.
        model: From :func:`~lit_curriculum.difficulty.fingerprint.model_fingerprint`; none where the weights are
            sharded: nothing is kept then, and every rank answers everything in step with the others.
        max_new_tokens: Tokens at most of one answer.
        temperature: 0 takes the most likely token each time.
        seed: Of the draws.
    """

    def __init__(
        self, folder: Path | None, model: str | None, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> None:
        self.options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        self.max_new_tokens, self.temperature, self.seed = max_new_tokens, temperature, seed
        self.sharded = model is None
        name = hashlib.blake2b(json.dumps([model, self.options]).encode(), digest_size=8).hexdigest()
        self.folder = None if folder is None or model is None else folder / name
        self.num_generated = 0
        """Answers that this rank has generated, not read."""

    def answer(
        self, model: GenerativeModel, prompts: Sequence[TokenIds], progress: Progress | None = None
    ) -> list[TokenIds]:
        """The answer to each prompt, on every rank.

        Args:
            model: The student.
            prompts: The same on all ranks.
            progress: Told after every write.
        """
        keys = [_digest(p) for p in prompts]
        # Rank zero's word on what is known, before anyone writes: all ranks have to deal out the same rest.
        device = getattr(model, "device", torch.device("cpu"))
        known = self._read() if self.sharded else broadcast_object(self._read(), device)
        missing = list(dict.fromkeys(k for k in keys if k not in known))
        first = {k: i for i, k in reversed(list(enumerate(keys)))}
        # Dealt out by length, so that every rank gets nearly the same work.
        todo = sorted((first[k] for k in missing), key=lambda i: (-len(prompts[i]), keys[i]))
        rank, world = (0, 1) if self.sharded else rank_and_world()
        mine = todo[rank::world]
        for start in range(0, len(mine), _CHUNK):
            part = mine[start : start + _CHUNK]
            found = model.generate([prompts[i] for i in part], self.max_new_tokens, self.temperature, self.seed)
            self.num_generated += len(part)
            new = {keys[i]: a.tolist() for i, a in zip(part, found, strict=True)}
            self._append(new, rank)
            known |= new
            if progress is not None:
                progress(start + len(part), len(mine))
        if world > 1:
            parts: list[dict[str, list[int]]] = [{} for _ in range(world)]
            dist.all_gather_object(parts, {keys[i]: known[keys[i]] for i in mine})
            for part_of_rank in parts:
                known |= part_of_rank
        return [np.asarray(known[k], dtype=np.int32) for k in keys]

    def _read(self) -> dict[str, list[int]]:
        if self.folder is None:
            return {}
        return {r["prompt"]: r["answer"] for path in sorted(self.folder.glob("*.jsonl")) for r in read_journal(path)}

    def _append(self, new: dict[str, list[int]], rank: int) -> None:
        if self.folder is not None:
            append_journal(self.folder / f"{rank}.jsonl", [{"prompt": k, "answer": a} for k, a in new.items()])


def prompts_of(store: ExampleStore, indices: IntArray) -> list[TokenIds]:
    """Prompts [K] of the examples ``indices`` [K]."""
    return [answer_prompt(store, int(i)) for i in indices]


def _digest(prompt: TokenIds) -> str:
    return hashlib.blake2b(np.ascontiguousarray(prompt, dtype=np.int32).tobytes(), digest_size=16).hexdigest()
