"""The scoring engine: all views that all wanted metrics need, in one length-sorted stream.

Exactness comes first: each score equals the one of the example alone, within rounding. What makes it fast:
one forward serves every metric that reads the view; both views of IFD share batches; rows of a batch have nearly
equal length, and batches hold a budget of tokens rather than a number of rows; equal sequences run once; the
model is asked for losses at scored positions only; nothing waits for the device before the end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.types import Batch, EncodedView, ExampleStore, FloatArray, IntArray, LanguageModel

Progress = Callable[[int, int], None]
"""Called after every batch with (tokens done, tokens in all) of this rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What one scoring pass found and what it cost."""

    values: dict[str, FloatArray]
    """[K] per metric; NaN marks an unscorable example."""
    seconds: float
    tokens: int
    """Tokens of all ranks that were run through the model, padding not counted."""
    padded_tokens: int
    """The same with padding."""


class ScoringEngine:
    """Runs a language model over examples and hands every metric its token losses.

    Args:
        metrics: The metrics to compute, by name.
        token_budget: Padded tokens in one batch. It bounds memory; scores do not depend on it beyond rounding.
        device: Where batches are sent; by default the processor.
    """

    def __init__(
        self, metrics: Mapping[str, ModelMetric], token_budget: int = 8192, device: torch.device | str = "cpu"
    ) -> None:
        if token_budget < 1:
            raise ValueError(f"curriculum.token_budget must be at least 1 token, got {token_budget}.")
        self.metrics = dict(metrics)
        self.token_budget = token_budget
        self.device = torch.device(device)

    @property
    def views(self) -> list[str]:
        """Names of the views that the metrics need."""
        return sorted({view for metric in self.metrics.values() for view in metric.views})

    @torch.no_grad()
    def score(
        self, model: LanguageModel, store: ExampleStore, indices: IntArray, progress: Progress | None = None
    ) -> Scores:
        """Score the examples ``indices`` [K] of ``store``; every rank calls it and every rank gets all scores.

        Batches are made up the same way whatever the number of ranks and then dealt out, so the scores are too.

        Raises:
            ValueError: the model's losses of an example are NaN or infinite.
        """
        started = time.perf_counter()
        work = _Work.build(store, indices, self.views)
        batches = pack_by_tokens(work.lengths, self.token_budget)
        rank, world_size = _rank_and_world()
        # Longest first and dealt out in turn, so every rank gets nearly the same number of tokens.
        mine = range(rank, -(-len(batches) // world_size) * world_size, world_size)
        total = int(sum(work.lengths[batches[b]].sum() for b in mine if b < len(batches)))
        done = 0
        found: list[tuple[IntArray, dict[str, Tensor]]] = []
        for b in mine:
            # Sharded models synchronise inside the forward, so every rank makes the same number of them: one
            # that has run out repeats a batch and keeps none of its results.
            kept = slice(None) if b < len(batches) else slice(0)
            for part, summaries in self._run(model, store, work, batches[b % len(batches)]):
                found.append((part[kept], {name: s[kept] for name, s in summaries.items()}))
                done += int(work.lengths[part[kept]].sum())
            if progress is not None:
                progress(done, total)
        values = self._combine(work, found, store, indices)
        return Scores(
            values=values,
            seconds=time.perf_counter() - started,
            tokens=int(work.lengths.sum()),
            padded_tokens=int(sum(len(b) * work.lengths[b].max() for b in batches)),
        )

    def _run(
        self, model: LanguageModel, store: ExampleStore, work: _Work, items: IntArray
    ) -> list[tuple[IntArray, dict[str, Tensor]]]:
        """Summaries of one batch, halved and tried again where the device runs out of memory."""
        try:
            return [(items, self._forward(model, store, work, items))]
        except torch.OutOfMemoryError:
            if len(items) == 1:
                raise
        # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
        torch.cuda.empty_cache()
        self.token_budget = max(1, self.token_budget // 2)
        half = len(items) // 2
        return self._run(model, store, work, items[:half]) + self._run(model, store, work, items[half:])

    def _forward(self, model: LanguageModel, store: ExampleStore, work: _Work, items: IntArray) -> dict[str, Tensor]:
        views = [(int(work.examples[i]), 1.0, work.view(store, int(i))) for i in items]
        batch = Batch.from_views(views).to(self.device, non_blocking=True)
        tokens = model.token_nll(batch)
        return {name: metric.summarise(tokens, len(items)) for name, metric in self.metrics.items()}

    def _combine(
        self, work: _Work, found: list[tuple[IntArray, dict[str, Tensor]]], store: ExampleStore, indices: IntArray
    ) -> dict[str, FloatArray]:
        values: dict[str, FloatArray] = {}
        for name, metric in self.metrics.items():
            table = _gather(found, name, len(work.lengths))
            broken = ~torch.isfinite(table).all(dim=1)
            if broken.any():
                example = store[int(work.examples[int(broken.nonzero()[0])])]
                raise ValueError(
                    f"the model's loss is NaN or infinite on {int(broken.sum())} of {len(broken)} sequences, first on "
                    f"example {example.id} ({example.source}); its weights are broken or overflow: nothing was scored."
                )
            summaries = {view: table[torch.from_numpy(work.slots[view])] for view in metric.views}
            score = metric.combine(summaries).numpy()
            score[work.unscorable(metric.views)] = np.nan
            if np.isinf(score).any():
                example = store[int(indices[np.isinf(score)][0])]
                raise ValueError(
                    f"metric {name!r} ({metric.formula}) overflows on example {example.id} ({example.source}); "
                    f"the model's losses there are far too high to be compared."
                )
            values[name] = score
        return values


@dataclass(frozen=True, slots=True)
class _Work:
    """The distinct sequences to run, and where each example finds its own."""

    examples: IntArray  # [U] example index of each distinct sequence
    views: list[str]  # names, indexed by view_of
    view_of: IntArray  # [U]
    lengths: IntArray  # [U] tokens up to the last scored one
    slots: dict[str, IntArray]  # view -> [K] place in [U]; 0 where there is nothing to score
    scorable: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]  # view -> [K]

    @classmethod
    def build(cls, store: ExampleStore, indices: IntArray, views: list[str]) -> _Work:
        seen: dict[bytes, int] = {}
        examples: list[int] = []
        view_of: list[int] = []
        lengths: list[int] = []
        slots: dict[str, IntArray] = {}
        scorable = {}
        for v, view in enumerate(views):
            scorable[view] = store.num_scored(view)[indices] > 0
            slots[view] = np.zeros(len(indices), dtype=np.int64)
            for k in np.flatnonzero(scorable[view]):
                index = int(indices[k])
                encoded = _trim(store.encoded(index, view))
                digest = hashlib.blake2b(encoded.input_ids.tobytes(), digest_size=16)
                digest.update(encoded.scored.tobytes())
                slot = seen.setdefault(digest.digest(), len(examples))
                if slot == len(examples):
                    examples.append(index)
                    view_of.append(v)
                    lengths.append(len(encoded.input_ids))
                slots[view][k] = slot
        return cls(np.array(examples, np.int64), views, np.array(view_of, np.int64), np.array(lengths, np.int64),
                   slots, scorable)  # fmt: skip

    def view(self, store: ExampleStore, item: int) -> EncodedView:
        return _trim(store.encoded(int(self.examples[item]), self.views[int(self.view_of[item])]))

    def unscorable(self, views: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        missing = np.zeros(len(self.scorable[views[0]]), dtype=np.bool_)
        for view in views:
            missing |= ~self.scorable[view]
        return missing


def _trim(view: EncodedView) -> EncodedView:
    """Leave out what follows the last scored token: it cannot change an earlier loss."""
    end = int(np.flatnonzero(view.scored)[-1]) + 1
    return EncodedView(view.input_ids[:end], view.scored[:end])


def pack_by_tokens(lengths: IntArray, token_budget: int) -> list[IntArray]:
    """Batches of items of nearly equal length, longest first, each at most ``token_budget`` padded tokens.

    An item longer than the budget makes a batch of its own.

    Args:
        lengths: [U] tokens of each item.
        token_budget: Rows times longest row.

    Returns:
        Item numbers of each batch; every item is in exactly one.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    low = 0
    while low < len(order):
        rows = max(1, token_budget // int(lengths[order[low]]))
        batches.append(order[low : low + rows])
        low += rows
    return batches


def _gather(found: list[tuple[IntArray, dict[str, Tensor]]], name: str, num_items: int) -> Tensor:
    """All items' summaries of one metric [U, K] on the processor, from all ranks."""
    if not found:
        return torch.zeros(max(num_items, 1), 2, dtype=torch.float64)
    width = found[0][1][name].shape[1]
    device = found[0][1][name].device
    table = torch.zeros(num_items, width, dtype=torch.float64, device=device)
    for items, summaries in found:
        table[torch.from_numpy(items).to(device)] = summaries[name]
    if _rank_and_world()[1] > 1:
        dist.all_reduce(table)  # each row is zero on all ranks but its owner, so the sum is exact
    return table.cpu()


def _rank_and_world() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
