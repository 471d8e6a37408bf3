"""The scoring engine: computes all model metrics of all examples in one length-sorted pass.

Every score equals that of the example alone, within rounding. Speed comes from these:

- One forward pass serves every metric that reads the view.
- A batch holds a budget of tokens. Its rows have nearly equal length where the model pads them, and are of one view
  where it does not.
- Equal sequences run once, and cached ones not at all.
- The model computes losses at scored positions only.
- The device is synchronised once, at the end.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric
from lit_curriculum.difficulty.batching import (
    ACCELERATOR_TOKEN_BUDGET,
    CPU_TOKEN_BUDGET,
    UniqueSequences,
    find_token_budget,
    pack_by_tokens,
    pack_unknown,
)
from lit_curriculum.difficulty.runner import Autocast, BatchRunner, Progress
from lit_curriculum.difficulty.summary_cache import SummaryCache, open_cache
from lit_curriculum.types import BoolArray, ExampleStore, FloatArray, IntArray, LanguageModel
from lit_curriculum.utils.distributed import all_reduce_min, broadcast_object, rank_and_world
from lit_curriculum.utils.options import check_choice

__all__ = ["Autocast", "Progress", "Scores", "ScoringEngine", "TokenBudget", "pack_by_tokens"]

TokenBudget = int | Literal["auto", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of one pass and their cost."""

    values: dict[str, FloatArray]
    """[K] per metric; NaN marks an unscorable example."""
    reasons: dict[str, dict[int, str]] = field(default_factory=dict)
    """Metric -> example index -> why it has no score, for each NaN."""
    seconds: float = 0.0
    tokens: int = 0
    """Tokens of all ranks that were run through the model, padding not counted."""
    padded_tokens: int = 0
    """The same with padding, where the model runs it."""
    reused_tokens: int = 0
    """Tokens of sequences whose losses were in the cache."""


def formula_ids(metrics: Mapping[str, DifficultyMetric], autocast: Autocast) -> dict[str, str]:
    """Formula id of each metric's scores; those of model metrics end in the precision of ``autocast``."""
    suffix = "+bf16" if autocast == "bfloat16" else ""
    return {n: m.formula + (suffix if isinstance(m, ModelMetric) else "") for n, m in metrics.items()}


class ScoringEngine:
    """Runs a language model over examples and gives every metric its token losses.

    Args:
        metrics: The metrics to compute, by name.
        token_budget: Tokens in one batch, with padding where the model runs it. It bounds memory; scores do not depend
            on it beyond rounding. ``device`` is 2048 on a CPU and 16384 elsewhere; ``auto`` measures once which is
            fastest, and so may differ between runs.
        device: Device of the batches; by default the CPU.
        autocast: ``bfloat16`` computes matrix products in bfloat16: faster on suitable hardware, with other scores
            and other :attr:`formulas`.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        metrics: Mapping[str, ModelMetric],
        token_budget: TokenBudget = "device",
        device: torch.device | str = "cpu",
        autocast: Autocast = "none",
    ) -> None:
        if token_budget not in ("auto", "device") and (not isinstance(token_budget, int) or token_budget < 1):
            raise ValueError(f"curriculum.token_budget must be at least 1 token, auto or device, got {token_budget}.")
        check_choice("curriculum.autocast", autocast, get_args(Autocast))
        self.metrics = dict(metrics)
        self.token_budget: TokenBudget = token_budget
        self.device = torch.device(device)
        self.autocast: Autocast = autocast
        self._summaries = {metric.summary_id: metric for metric in self.metrics.values()}

    @property
    def views(self) -> list[str]:
        """Names of the views that the metrics need."""
        return sorted({view for metric in self.metrics.values() for view in metric.views})

    @property
    def formulas(self) -> dict[str, str]:
        """Formula id of each score, with the precision of autocast."""
        return formula_ids(self.metrics, self.autocast)

    def shared_cache(
        self,
        fingerprint: str,
        store: ExampleStore,
        indices: IntArray,
        rank: int,
        home: Path | None = None,
        same_data_only: bool = False,
    ) -> SummaryCache:
        """Open the cache that all runs share which score with one model, type of arithmetic and kind of device.

        What is known of a sequence of tokens serves every data set that has it: its name is a hash of the tokens and of
        which of them are scored. A run on the same data in batches of the same size gets what the first such run got,
        bit for bit; what comes from runs on other data, or in other batches, may differ by rounding.

        Args:
            fingerprint: Of the model.
            store: The data.
            indices: [K] which examples will be scored.
            rank: Number of this process; rank 0 removes old files.
            home: Folder that the cache is in; by default the package's.
            same_data_only: Read only what runs on the same data in batches of the same size have written.
        """
        way = [self.views, self.token_budget, dict(getattr(store, "identity", {}))]
        purpose = hashlib.blake2b(json.dumps(way, sort_keys=True, default=str).encode(), digest_size=8)
        purpose.update(store.content_hashes[indices].tobytes())
        return open_cache(purpose.hexdigest(), fingerprint, self.device, self.autocast, rank, home, same_data_only)

    @torch.no_grad()
    def score(
        self,
        model: LanguageModel,
        store: ExampleStore,
        indices: IntArray,
        progress: Progress | None = None,
        cache: SummaryCache | None = None,
    ) -> Scores:
        """Score the examples ``indices`` [K] of ``store``; called on every rank, and every rank gets all scores.

        Batches, and so scores, do not depend on the number of ranks.

        Args:
            model: Gives token losses.
            store: The examples.
            indices: [K] indices of the examples to score.
            progress: Called after every batch.
            cache: Losses of sequences under this model. Cached sequences are not run again, and finished batches stay
                in the cache when the pass is killed. Rank 0's cache decides.

        Raises:
            ValueError: the model's losses of an example are NaN or infinite.
        """
        assert cache is None or cache.autocast == self.autocast, "the cache is of another autocast"
        started = time.perf_counter()
        work = UniqueSequences.build(store, indices, self.views)
        known, kept = self._look_up(work, cache)
        unknown = np.flatnonzero(~known)
        padded = broadcast_object(bool(getattr(model, "runs_padding", True)), self.device)
        runner = BatchRunner(model, store, work, self._summaries, self.device, self.autocast, 0, padded)
        batches: list[IntArray] = []
        tables: dict[str, Tensor] = {}
        if len(unknown):
            runner.token_budget = self._budget(runner, unknown)
            batches = pack_unknown(known, lambda items: work.pack(items, runner.token_budget, padded))
            tables = runner.gather(runner.run(batches, progress, cache))
            self._check_finite(work, tables, store)
            # Memory may have run out on the way.
            self.token_budget = runner.token_budget
            if cache is not None and rank_and_world()[1] > 1:
                cache.learn(work.digests[unknown], {n: t.numpy()[unknown] for n, t in tables.items()})
        for name, rows in kept.items():
            table = tables.setdefault(name, torch.zeros(len(work), rows.shape[1], dtype=torch.float64))
            table[torch.from_numpy(known)] = torch.from_numpy(rows)
        values, reasons = self._combine(work, tables, store, indices)
        return Scores(
            values=values,
            reasons=reasons,
            seconds=time.perf_counter() - started,
            tokens=int(work.lengths[unknown].sum()),
            padded_tokens=sum(work.size(b, padded) for b in batches),
            reused_tokens=int(work.lengths[known].sum()),
        )

    def _look_up(self, work: UniqueSequences, cache: SummaryCache | None) -> tuple[BoolArray, dict[str, FloatArray]]:
        """Which sequences are known [U], and their summaries [num_known, K]; the same on all ranks."""
        found: tuple[BoolArray, dict[str, FloatArray]] = (np.zeros(len(work), dtype=np.bool_), {})
        if cache is not None:
            found = broadcast_object(cache.known(list(self._summaries), work.digests), self.device)
        return found if found[0].any() else (found[0], {})

    def _budget(self, runner: BatchRunner, unknown: IntArray) -> int:
        """The smallest budget of all ranks, or the one measured as fastest."""
        of_device = CPU_TOKEN_BUDGET if self.device.type == "cpu" else ACCELERATOR_TOKEN_BUDGET
        if self.token_budget == "auto":
            lengths = runner.work.lengths[unknown]
            return find_token_budget(lengths, lambda items: runner.seconds(unknown[items]), of_device)
        budget = of_device if self.token_budget == "device" else self.token_budget
        return int(all_reduce_min(float(budget), self.device))

    def _check_finite(self, work: UniqueSequences, tables: Mapping[str, Tensor], store: ExampleStore) -> None:
        for table in tables.values():
            broken = ~torch.isfinite(table).all(dim=1)
            if broken.any():
                example = store[int(work.examples[int(broken.nonzero()[0])])]
                raise ValueError(
                    f"the model's loss is NaN or infinite on {int(broken.sum())} of {len(broken)} sequences, first on "
                    f"example {example.id} ({example.source}); its weights are broken or overflow: nothing was scored."
                )

    def _combine(
        self, work: UniqueSequences, tables: Mapping[str, Tensor], store: ExampleStore, indices: IntArray
    ) -> tuple[dict[str, FloatArray], dict[str, dict[int, str]]]:
        values: dict[str, FloatArray] = {}
        reasons: dict[str, dict[int, str]] = {}
        for name, metric in self.metrics.items():
            missing = work.unscorable(metric.views)
            score = np.full(len(indices), np.nan)
            if not missing.all():
                table = tables[metric.summary_id]
                summaries = {view: table[torch.from_numpy(work.slots[view])] for view in metric.views}
                score = np.where(missing, np.nan, metric.combine(summaries).numpy())
            if np.isinf(score).any():
                example = store[int(indices[np.isinf(score)][0])]
                raise ValueError(
                    f"metric {name!r} ({metric.formula}) overflows on example {example.id} ({example.source}); "
                    f"the model's losses there are far too high to be compared."
                )
            values[name] = score
            reasons[name] = {
                int(indices[k]): "no scored token" if missing[k] else f"{metric.formula} has no value"
                for k in np.flatnonzero(np.isnan(score))
            }
        return values, reasons
