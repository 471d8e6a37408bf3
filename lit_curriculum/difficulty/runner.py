"""Runs the batches of a scoring pass: what this rank has to do, and what to do when memory runs out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.difficulty.batching import UniqueSequences
from lit_curriculum.difficulty.fingerprint import is_sharded
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.types import Batch, ExampleStore, IntArray, LanguageModel
from lit_curriculum.utils.distributed import all_reduce_max, all_reduce_sum, rank_and_world

Progress = Callable[[int, int], None]
"""Called after every batch with (tokens done, tokens in all) of this rank."""
Autocast = Literal["none", "bfloat16"]
Found = tuple[IntArray, dict[str, Tensor]]
"""Items, and their summaries [items, K] by name."""


@dataclass(slots=True)
class BatchRunner:
    """One scoring pass over ``work`` with ``model``."""

    model: LanguageModel
    store: ExampleStore
    work: UniqueSequences
    summaries: Mapping[str, ModelMetric]
    """A metric that makes it for each kind of summary."""
    device: torch.device
    autocast: Autocast
    token_budget: int
    """Halved whenever memory runs out; each rank for itself, since the weights are whole on each."""
    padded: bool = True
    """Whether the model runs the padding of its rows."""

    def run(self, batches: list[IntArray], progress: Progress | None, cache: SummaryCache | None) -> list[Found]:
        """This rank's part of ``batches`` (indices [B]); on a device that runs ahead, results come a batch later.

        Args:
            batches: Item numbers of each batch, the same on all ranks.
            progress: Called with every batch.
            cache: Where to write.
        """
        rank, world_size = rank_and_world()
        # Longest first and dealt out in turn, so every rank gets nearly the same number of tokens.
        mine = range(rank, -(-len(batches) // world_size) * world_size, world_size)
        total = int(sum(self.work.lengths[batches[b]].sum() for b in mine if b < len(batches)))
        lag = 0 if self.device.type == "cpu" else 1
        done = 0
        found: list[Found] = []
        written = 0
        for b in mine:
            # Sharded models synchronise inside the forward, so every rank makes the same number of them: one
            # that has run out repeats a batch and keeps none of its results.
            kept = slice(None) if b < len(batches) else slice(0)
            for items, summaries in self._run(batches[b % len(batches)]):
                found.append((items[kept], {name: s[kept] for name, s in summaries.items()}))
                done += int(self.work.lengths[items[kept]].sum())
            if cache is not None:
                written = self._write(cache, found, written, len(found) - lag)
            if progress is not None:
                progress(done, total)
        if cache is not None:
            self._write(cache, found, written, len(found))
        return found

    def seconds(self, items: IntArray) -> float:
        """Seconds that a batch of ``items`` [B] takes on the slowest rank; infinite where memory does not suffice."""
        started = time.perf_counter()
        try:
            self._forward(items)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            spent = time.perf_counter() - started
        except torch.OutOfMemoryError:
            self._refuse_if_sharded(items)
            spent = math.inf
        return all_reduce_max(spent, self.device)

    def gather(self, found: list[Found]) -> dict[str, Tensor]:
        """Summaries [U, K] of all items on the CPU, from all ranks; zero where nothing was run."""
        tables = {}
        for name, first in found[0][1].items():
            table = torch.zeros(len(self.work), first.shape[1], dtype=torch.float64, device=first.device)
            for items, summaries in found:
                table[torch.from_numpy(items).to(first.device)] = summaries[name]
            tables[name] = all_reduce_sum(table).cpu()
        return tables

    def _run(self, items: IntArray) -> list[Found]:
        """Summaries of one batch, halved and tried again where the device runs out of memory."""
        if len(items) == 1 or self.work.size(items, self.padded) <= self.token_budget:
            try:
                return [(items, self._forward(items))]
            except torch.OutOfMemoryError:
                self._refuse_if_sharded(items)
                if len(items) == 1:
                    raise
            # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
            torch.cuda.empty_cache()
            self.token_budget = max(1, self.token_budget // 2)
        half = len(items) // 2
        return self._run(items[:half]) + self._run(items[half:])

    def _refuse_if_sharded(self, items: IntArray) -> None:
        """Ranks that share the weights wait for one another inside the forward: one that left it cannot agree."""
        if isinstance(self.model, nn.Module) and is_sharded(self.model):
            tokens = self.work.size(items, self.padded)
            raise ValueError(
                f"memory ran out on rank {rank_and_world()[0]} in a scoring batch of {tokens} tokens, and ranks that "
                f"share the weights cannot back off apart; set curriculum.token_budget below {tokens}."
            )

    def _forward(self, items: IntArray) -> dict[str, Tensor]:
        rows = [(int(self.work.examples[i]), 1.0, self.work.view(self.store, int(i))) for i in items]
        cpu_copy = Batch.from_views(rows)
        if self.device.type == "cuda":
            cpu_copy = cpu_copy.pin_memory()
        batch = cpu_copy.to(self.device, non_blocking=True)
        batch.cpu_copy = None if self.device.type == "cpu" else cpu_copy
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast == "bfloat16"):
            tokens = self.model.token_nll(batch)
        return {name: metric.summarise(tokens, len(items)) for name, metric in self.summaries.items()}

    def _write(self, cache: SummaryCache, found: list[Found], start: int, stop: int) -> int:
        for items, summaries in found[start:stop]:
            values = {name: s.cpu().numpy() for name, s in summaries.items()}
            # What shows that the model is broken is not kept.
            if len(items) and all(np.isfinite(v).all() for v in values.values()):
                cache.append(self.work.digests[items], values)
        return max(start, stop)


_PART = 256
TokenIds = NDArray[np.int32]


def answers_in_parts(
    prompts: Sequence[TokenIds], answer: Callable[[list[TokenIds]], list[TokenIds]], progress: Progress | None
) -> list[TokenIds]:
    """What ``answer`` makes of each prompt; parts hold prompts of like length, the longest come first.

    Args:
        prompts: Token ids; an answer may not depend on what else is in its part.
        answer: Makes an answer for each prompt of a part.
        progress: Called with (prompts answered, prompts in all) after each part.
    """
    order = np.argsort([-len(p) for p in prompts], kind="stable")
    found: list[TokenIds] = [np.empty(0, np.int32)] * len(prompts)
    for start in range(0, len(prompts), _PART):
        rows = order[start : start + _PART]
        for row, tokens in zip(rows, answer([prompts[r] for r in rows]), strict=True):
            found[row] = tokens
        if progress is not None:
            progress(start + len(rows), len(prompts))
    return found
