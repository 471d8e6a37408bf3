"""Similarity to a target set (LESS, RDS+), as a metric that any policy can select by."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from lit_curriculum.difficulty.fingerprint import is_sharded, model_fingerprint
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateContext, UpdateCost
from lit_curriculum.methods.baselines.target.vectors import TargetVectors, Vectors, extract
from lit_curriculum.types import CONDITIONED, ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.options import Configured, check_range

Aggregate = Literal["group_max", "round_robin"]
_VERSION = 1


class TargetRows(Configured):
    """The target set as rows of the data itself, so that it has their template, tokens and checks.

    Add the file of target examples to ``data.path`` and name it here. Target rows get no score, so no policy chooses
    them by it. Groups (LESS's subtasks) are abilities; rows without one are a group too.

    Args:
        file: Rows whose source is this file, as ``data.path`` names it; null for any.
        per_group: Rows of each group at most, the first by content hash; null for all.

    Raises:
        ValueError: nothing is named, or (in :meth:`groups`) there is no such row.
    """

    option_path: ClassVar[str] = "targets"

    def __init__(self, file: str | None = None, per_group: int | None = None) -> None:
        if file is None and per_group is None:
            raise ValueError("option targets: name the file of the target rows, or set per_group to take some of each.")
        check_range(self, "[1, inf)", per_group=per_group)
        self.file, self.per_group = file, per_group

    @property
    def name(self) -> str:
        """All options."""
        return f"{self.file or '*'},*,{self.per_group or 'all'}"

    def groups(self, store: ExampleStore) -> list[IntArray]:
        """Indices of the target rows of each group, in the order of the groups' names."""
        found: dict[str, list[int]] = {}
        for i, ability in enumerate(store.abilities):
            if self.file is None or store[i].source.rsplit(":", 1)[0] == self.file:
                found.setdefault(ability or "", []).append(i)
        if not found:
            raise ValueError(f"option targets: no row of the data has file={self.file}; add the file to data.path.")
        hashes = store.content_hashes
        groups = [np.array(found[name], dtype=np.int64) for name in sorted(found)]
        return [g[np.argsort(hashes[g], kind="stable")][: self.per_group] for g in groups]


class TargetSimilarity(LearnedMetric):
    """Cosine similarity to a target set under the model in training; the highest are the ones to select.

    With ``group_max`` the score is the largest cosine to the mean vector of a group of targets (LESS, the largest
    influence on a subtask). With ``round_robin`` the targets take turns, each takes the example most like it that is
    not taken, and the score is minus the place in that order (RDS+), so that the n highest are what n turns take.
    Target rows, and rows without a scored token, get no score. Vectors of the targets and of a batch are in memory
    with those of all examples in D float32; a round robin also sorts T x N similarities.

    Args:
        vectors: By which examples are compared.
        targets: The target set.
        aggregate: ``group_max`` or ``round_robin``.
        first_stage: Stage before which it scores, once: behind a warm-up, the number of its stages.
        token_budget: Padded tokens of a batch.
        cache_dir: Folder in which vectors are kept, batch by batch, for runs and restarts with the same weights; null
            keeps none. Not used for a sharded model.

    Raises:
        ValueError: an option is out of range, or (when it scores) there are no targets, or gradients are asked of a
            sharded model.

    References:
        LESS, arXiv 2402.04333, equation 5 and section 4.2; RDS+, arXiv 2503.01807, section 3.
    """

    needs_run = False
    runtime_options = frozenset({"token_budget", "cache_dir"})

    def __init__(
        self,
        vectors: TargetVectors,
        targets: TargetRows,
        aggregate: Aggregate = "group_max",
        first_stage: int = 0,
        token_budget: int = 2048,
        cache_dir: str | None = None,
    ) -> None:
        check_range(self, "[0, inf)", first_stage=first_stage)
        check_range(self, "[1, inf)", token_budget=token_budget)
        self.vectors, self.targets, self.aggregate = vectors, targets, aggregate
        self.first_stage, self.token_budget = first_stage, token_budget
        self.cache_dir = cache_dir
        self.unit = "cosine" if aggregate == "group_max" else "place"
        self._scores: FloatArray = np.empty(0)

    @property
    @override
    def formula(self) -> str:
        return f"target/1({self.vectors.name},{self.targets.name},{self.aggregate},{self.first_stage})"

    @property
    @override
    def model_methods(self) -> tuple[str, ...]:
        return self.vectors.model_methods

    @override
    def is_due(self, stage: int) -> bool:
        return stage == self.first_stage

    @override
    def update(self, context: UpdateContext) -> UpdateCost:
        started = time.perf_counter()
        store = context.store
        groups = self.targets.groups(store)
        target_rows = np.concatenate(groups)
        of_target = self._extract(context, target_rows, of_targets=True)
        others = np.setdiff1d(np.flatnonzero(store.num_scored(CONDITIONED) > 0), target_rows)
        of_others = self._extract(context, others, of_targets=False)
        self._scores = np.full(len(store), np.nan)
        if self.aggregate == "group_max":
            ends = np.cumsum([len(g) for g in groups])[:-1]
            self._scores[others] = group_max(of_others, np.split(of_target, ends))
        else:
            tie_rank = np.argsort(np.argsort(store.content_hashes[others], kind="stable"))
            places = round_robin(unit(of_target) @ unit(of_others).T, tie_rank)
            self._scores[others] = -places
        tokens = int(store.lengths(CONDITIONED)[np.concatenate([target_rows, others])].sum())
        scalars = {"targets": float(len(target_rows)), "groups": float(len(groups))}
        return UpdateCost(seconds=time.perf_counter() - started, forward_tokens=tokens, scalars=scalars)

    @override
    def score(self, context: UpdateContext, indices: IntArray) -> FloatArray:
        return self._scores[indices]

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"version": _VERSION, "scores": torch.from_numpy(self._scores.copy())}

    @override
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"target scores of version {state['version']} cannot be read; expected {_VERSION}.")
        self._scores = state["scores"].numpy().copy()

    def _extract(self, context: UpdateContext, indices: IntArray, of_targets: bool) -> Vectors:
        model = context.model
        assert isinstance(model, nn.Module)
        if "gradient_sketch" in self.model_methods and is_sharded(model):
            raise ValueError(
                f"{self.vectors.name} needs whole weights, but this model's are split over processes; use "
                "HiddenStateVectors, LoRA, or a strategy that does not shard."
            )
        vectors_of, extra = self.vectors.extractor(model, of_targets)
        folder = self._folder(model, extra, of_targets)
        return extract(context.store, indices, vectors_of, context.device, self.token_budget, folder, context.progress)

    def _folder(self, model: nn.Module, extra: str, of_targets: bool) -> Path | None:
        fingerprint = None if self.cache_dir is None else model_fingerprint(model)
        if fingerprint is None or self.cache_dir is None:
            return None
        key = f"{fingerprint} {self.vectors.name} {extra} {of_targets}"
        return Path(self.cache_dir) / "vectors" / hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def unit(vectors: Vectors) -> Vectors:
    """[K, D] of length one; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return found


def group_max(vectors: Vectors, groups: Sequence[Vectors]) -> FloatArray:
    """[K] largest cosine of each of ``vectors`` [K, D] to the mean of one of ``groups``, each [t, D]."""
    means = unit(np.stack([group.mean(axis=0) for group in groups]))
    best: FloatArray = (unit(vectors) @ means.T).max(axis=1).astype(np.float64)
    return best


def round_robin(similarities: Vectors, tie_rank: IntArray) -> IntArray:
    """[K] place at which each example is taken, from 0, by targets that take turns.

    Args:
        similarities: [T, K] of each target to each example.
        tie_rank: [K] distinct ranks; of equally similar examples the lowest is taken.
    """
    preferred = [iter(np.lexsort((tie_rank, -row)).tolist()) for row in similarities]
    places = np.full(similarities.shape[1], -1, dtype=np.int64)
    for place in range(len(places)):
        turn = preferred[place % len(preferred)]
        places[next(k for k in turn if places[k] < 0)] = place
    return places
