"""The student answers and the judge scores its answers; both are kept on disk as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement, PairJudge, Usage
from lit_curriculum.methods.tapir.rounds import Roles
from lit_curriculum.types import CONDITIONED, ExampleStore, GenerativeModel, IntArray
from lit_curriculum.utils.distributed import broadcast_object, rank_and_world
from lit_curriculum.utils.jsonl_log import JsonlLog

TokenIds = NDArray[np.int32]
Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all) of this rank."""
_ANSWERS_AT_ONCE = 256
"""Answers between two writes to disk."""
_JUDGEMENTS_AT_ONCE = 64
"""Judgements between two writes to disk."""


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
    """Greedy answers of the student, kept on disk as they come.

    Each rank appends to its file and reads the files of all, so a run that is resumed, with any number of
    ranks, asks only for what is missing. A file holds answers of one model under one set of options alone.

    Args:
        folder: Where the files are; nothing is kept where it is none.
        model: From :func:`~lit_curriculum.difficulty.fingerprint.model_fingerprint`; none where the weights are
            sharded: nothing is kept then, and every rank answers everything in step with the others.
        max_new_tokens: Tokens at most of one answer.
        seed: Of the draws, which greedy decoding does not make.
    """

    def __init__(self, folder: Path | None, model: str | None, max_new_tokens: int, seed: int = 0) -> None:
        self.max_new_tokens, self.seed, self.sharded = max_new_tokens, seed, model is None
        options = {"max_new_tokens": max_new_tokens, "temperature": 0.0, "seed": seed}
        name = hashlib.blake2b(json.dumps([model, options]).encode(), digest_size=8).hexdigest()
        self.folder = None if folder is None or model is None else folder / name

    def answer(
        self, model: GenerativeModel, prompts: Sequence[TokenIds], progress: Progress | None = None
    ) -> list[TokenIds]:
        """The answer to each prompt, on every rank.

        Args:
            model: The student.
            prompts: The same on all ranks.
            progress: Called after every write.
        """
        keys = [_digest(p) for p in prompts]
        # Rank zero decides what is known, before any rank writes: all ranks have to share the same rest.
        device = getattr(model, "device", torch.device("cpu"))
        known = self._read() if self.sharded else broadcast_object(self._read(), device)
        missing = list(dict.fromkeys(k for k in keys if k not in known))
        first = {k: i for i, k in reversed(list(enumerate(keys)))}
        # Shared by length, so that every rank gets nearly the same work.
        todo = sorted((first[k] for k in missing), key=lambda i: (-len(prompts[i]), keys[i]))
        rank, world = (0, 1) if self.sharded else rank_and_world()
        mine = todo[rank::world]
        log = None if self.folder is None else _answer_log(self.folder / f"{rank}.jsonl")
        for start in range(0, len(mine), _ANSWERS_AT_ONCE):
            part = mine[start : start + _ANSWERS_AT_ONCE]
            found = model.generate([prompts[i] for i in part], self.max_new_tokens, 0.0, self.seed)
            new = {keys[i]: a.tolist() for i, a in zip(part, found, strict=True)}
            if log is not None:
                log.append([{"prompt": k, "answer": a} for k, a in new.items()])
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
        logs = [_answer_log(path) for path in sorted(self.folder.glob("*.jsonl"))]
        return {prompt: answer for log in logs for prompt, answer in log.entries.items()}


def _answer_log(path: Path) -> JsonlLog[str, list[int]]:
    return JsonlLog(path, lambda row: (row["prompt"], row["answer"]), "answer")


def _digest(prompt: TokenIds) -> str:
    return hashlib.blake2b(np.ascontiguousarray(prompt, dtype=np.int32).tobytes(), digest_size=16).hexdigest()


def judgement_state(judgement: Judgement) -> dict[str, Any]:
    """The judgement as plain values, for a checkpoint or a file."""
    return {**asdict(judgement), "raw": list(judgement.raw)}


def judgement_from_state(state: dict[str, Any]) -> Judgement:
    """The judgement that :func:`judgement_state` was made of."""
    fields = {name: value for name, value in state.items() if name != "key"}
    return Judgement(**{**fields, "raw": tuple(state["raw"]), "usage": Usage(**state["usage"])})


def judge_items(
    judge: PairJudge, items: Sequence[JudgeItem], path: Path, progress: Callable[[int, int], None] | None = None
) -> list[Judgement]:
    """One judgement for each item; those that the file holds are not asked for.

    Args:
        judge: Asked for what is missing, some dozens of items at a time.
        items: What to compare.
        path: File of judgements, of this judge and of others.
        progress: Called with (items judged, items to judge) after every write.
    """
    keys = [hashlib.sha256(json.dumps([judge.version, *item]).encode()).hexdigest() for item in items]
    log = JsonlLog(path, lambda row: (str(row["key"]), judgement_from_state(row)), "judgement")
    missing = list({k: i for k, i in zip(keys, items, strict=True) if k not in log.entries}.items())
    for start in range(0, len(missing), _JUDGEMENTS_AT_ONCE):
        part = missing[start : start + _JUDGEMENTS_AT_ONCE]
        found = judge.judge([item for _, item in part])
        log.append([{"key": key, **judgement_state(j)} for (key, _), j in zip(part, found, strict=True)])
        if progress is not None:
            progress(start + len(part), len(missing))
    return [log.entries[key] for key in keys]


def judge_rows(
    roles: Roles, store: ExampleStore, indices: IntArray, answers: Sequence[str], path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgement]:  # fmt: skip
    """The judge's scores of the student's answers to the examples ``indices`` [K] beside those in the data.

    Args:
        roles: The judge is asked; its costs are counted, those of judgements that were made before a kill too.
        store: The data.
        indices: Examples.
        answers: The student's, one for each.
        path: See :func:`judge_items`.
        progress: Likewise.
    """
    examples = [store[int(i)] for i in indices]
    items = [JudgeItem(e.instruction, e.response, a) for e, a in zip(examples, answers, strict=True)]
    found = judge_items(roles.judge, items, path, progress)
    for judgement in dict(zip(items, found, strict=True)).values():  # equal items were asked once
        roles.costs.add("judge", judgement.usage, int(not judgement.valid))
    return found
