"""IterIT: re-select a small subset by difficulty and n-gram novelty at every stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse

from lit_curriculum.curriculum.base import OWNER, CurriculumPolicy, check_same_data, check_size, resolve_count
from lit_curriculum.curriculum.ordering import content_ranks, highest_first
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.difficulty.words import CJKWords, TextField, field_text
from lit_curriculum.methods.iterit.novelty import greedy_select, ngram_counts, tfidf
from lit_curriculum.types import BoolArray, ExampleStore, FloatArray, IntArray, Plan
from lit_curriculum.utils.options import check_range

Score = Literal["both", "complexity", "novelty"]
Strategy = Literal["iterative", "static"]
Shortlist = Literal["reference", "refreshed"]
ScoreDtype = Literal["float32", "bfloat16"]
Ties = Literal["hash", "row"]
Shuffle = Literal["stage", "fixed", "none"]

_VERSION = 1


class IterITPolicy(CurriculumPolicy):
    """Select greedily by complexity times novelty from a short list that is re-scored at every stage.

    Stage 0 scores all examples; later stages score the first m * K of the order that the last choice left behind. Of
    those, the ones with a complexity below ``max_complexity`` are eligible, and K are chosen by
    :func:`~lit_curriculum.methods.iterit.novelty.greedy_select`. Where all novelty is used up the choice is filled by
    complexity; where fewer than K are eligible the stage is shorter. An example without a score is never chosen and
    never lost. The reference code's behaviour is ``score_dtype: bfloat16``, ``ties: row``, ``shuffle: fixed``,
    ``cjk_words: run`` and the tokenizer's end-of-text string as ``text_suffix``, the other options as they are.

    Args:
        complexity: Name of the difficulty metric (COM; IFD in the paper).
        fraction: Share of the data that a stage trains on (rho); null where ``count`` is given.
        count: Number of examples that a stage trains on (K).
        refresh_factor: Length of the short list over K (m); null or, as in the reference, 1 re-scores everything.
        max_ngram: Longest n-gram, in words.
        novelty_decay: Factor on an n-gram's weight for each chosen example that holds it (lambda), in [0, 1].
        text: What n-grams are taken from: ``response``, ``instruction`` or ``both``.
        score: Complexity times novelty (``both``), or one of them alone.
        strategy: ``iterative``, or ``static``: choose before stage 0 and train on the same examples ever after.
        shortlist: ``reference`` orders what was re-scored as chosen, too hard, others by complexity, and never looks
            past the short list again; ``refreshed`` lists the chosen and then the hardest eligible of all the data.
        score_dtype: Complexity is rounded to ``float32`` or ``bfloat16`` before use.
        text_suffix: Appended to every text before counting, such as the tokenizer's end-of-text string.
        ties: Equal scores go by content ``hash``, or by ``row``: place on the short list if greedy, else index.
        max_complexity: Eligible are complexities strictly below; null makes all eligible.
        shuffle: Order within the chosen: a new permutation each ``stage``, the same one of the ranks in all stages
            (``fixed``), or the order of choice (``none``).
        cjk_words: What n-grams take for a word in scripts without blanks, such as Chinese: each ``character``, or the
            whole ``run``, as the reference does.

    Raises:
        ValueError: an option is out of range.

    References:
        Jia et al. 2024, "Boosting LLM via Learning from Data Iteratively and Selectively", arXiv 2412.17365.
    """

    def __init__(
        self,
        complexity: str = "ifd",
        fraction: float | None = 0.05,
        count: int | None = None,
        refresh_factor: float | None = 3.0,
        max_ngram: int = 3,
        novelty_decay: float = 0.1,
        text: TextField = "response",
        score: Score = "both",
        strategy: Strategy = "iterative",
        shortlist: Shortlist = "reference",
        score_dtype: ScoreDtype = "float32",
        text_suffix: str = "",
        ties: Ties = "hash",
        max_complexity: float | None = 1.0,
        shuffle: Shuffle = "stage",
        cjk_words: CJKWords = "character",
    ) -> None:
        check_size(fraction=fraction, count=count)
        check_range(self, "[1, inf)", refresh_factor=refresh_factor, max_ngram=max_ngram)
        check_range(self, "[0, 1]", novelty_decay=novelty_decay)
        self.complexity, self.max_complexity = complexity, math.inf if max_complexity is None else max_complexity
        self.fraction, self.count, self.refresh_factor = fraction, count, refresh_factor
        self.max_ngram, self.novelty_decay = max_ngram, novelty_decay
        self.text, self.text_suffix, self.score, self.ties = text, text_suffix, score, ties
        self.strategy, self.shortlist, self.shuffle, self.cjk_words = strategy, shortlist, shuffle, cjk_words
        self.score_dtype = torch.float32 if score_dtype == "float32" else torch.bfloat16
        self._reset(0)

    def _reset(self, num_examples: int) -> None:
        self._order: IntArray = np.arange(num_examples)
        self._selection: IntArray = np.empty(0, dtype=np.int64)
        self._selected_before = np.zeros(num_examples, dtype=np.bool_)
        self._stage = self._shuffle_seed = -1

    @property
    def required_metrics(self) -> tuple[str, ...]:
        return (self.complexity,)

    def setup(self, examples: ExampleStore, num_stages: int) -> None:
        n, known = len(examples), len(self._order)
        self._size = resolve_count(n, fraction=self.fraction, count=self.count)
        self._examples = examples
        self._tie_rank = content_ranks(examples.content_hashes) if self.ties == "hash" else np.arange(n)
        self._counts: sparse.csr_array | None = None
        if 0 < known < n:
            # The new ones have no scores yet, so they are placed where the short list takes them first.
            self._order = np.insert(self._order, len(self._selection), np.arange(known, n))
            self._selected_before = np.append(self._selected_before, np.zeros(n - known, dtype=np.bool_))
        else:
            self._reset(n)

    def stage_sizes(self, num_examples: int, num_stages: int) -> Sequence[int]:
        return [resolve_count(num_examples, fraction=self.fraction, count=self.count)] * num_stages

    def candidates(self, table: DifficultyTable, stage: int) -> IntArray:
        if stage == 0:
            return np.flatnonzero(table.never_scored(self.complexity))
        if self.strategy == "static":
            return np.empty(0, dtype=np.int64)
        pool = self._order[: self._pool_size(stage)]
        return pool[~table.unscorable(self.complexity)[pool]]

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        scalars: dict[str, float] = {}
        last = chosen = self._selection
        if stage == 0 or self.strategy == "iterative":
            chosen = self._selection = self._select(table, stage, scalars)
        scalars |= {
            "selected": len(chosen),
            "overlap": float(np.isin(chosen, last).mean()),
            "newly_hard": float((~self._selected_before[chosen]).mean()),
        }
        self._selected_before[chosen] = True
        self._stage = stage
        return Plan(indices=self._shuffled(chosen, generator), scalars=scalars)

    def _pool_size(self, stage: int) -> int:
        if stage == 0 or self.refresh_factor is None or self.refresh_factor == 1.0:
            return len(self._order)
        return min(int(self.refresh_factor * self._size + 1e-9), len(self._order))

    def _select(self, table: DifficultyTable, stage: int, scalars: dict[str, float]) -> IntArray:
        """Select the stage's examples, in order of choice, and update the order of the next short list."""
        pool = self._order[: self._pool_size(stage)]
        assert not table.never_scored(self.complexity)[pool].any(), "step was called before candidates were scored"
        complexity = self._complexity(table)
        eligible = pool[complexity[pool] < self.max_complexity]
        num_too_hard = int((complexity[pool] >= self.max_complexity).sum())
        if len(eligible) == 0:
            raise ValueError(
                f"no example is eligible at stage {stage}: of {len(pool)} candidates {num_too_hard} have "
                f"{self.complexity!r} at or above {OWNER}.max_complexity={self.max_complexity:g}, the others have no "
                f"scored token; raise {OWNER}.max_complexity or set it to null, or raise data.max_length."
            )
        size = min(self._size, len(eligible))
        picks = self._picks(eligible, complexity, size)
        others = np.setdiff1d(eligible, picks)
        others = others[highest_first(complexity[others], self._tie_rank[others])]
        chosen = np.concatenate([picks, others[: size - len(picks)]])
        limit, ranks = self.max_complexity, self._tie_rank
        if self.shortlist == "reference":
            self._order = reference_order(self._order, len(pool), chosen, complexity, limit, ranks)
        else:
            new = table.never_scored(self.complexity)
            self._order = refreshed_order(self._order, chosen, complexity, limit, ranks, new)
        scalars |= {
            "candidates": len(pool),
            "eligible": len(eligible),
            "at_or_above_one": num_too_hard,
            "unscorable": float(table.unscorable(self.complexity).sum()),
            "picks_by_greedy": len(picks),
            "filled": size - len(picks),
        }
        return chosen

    def _complexity(self, table: DifficultyTable) -> FloatArray:
        """Hardness [N], rounded to the score's dtype."""
        hardness = torch.from_numpy(table.hardness(self.complexity))
        # By way of float32, in which a model's scores are made.
        rounded: FloatArray = hardness.to(torch.float32).to(self.score_dtype).to(torch.float64).numpy()
        return rounded

    def _picks(self, eligible: IntArray, complexity: FloatArray, size: int) -> IntArray:
        values = complexity[eligible]
        if self.score == "complexity":
            return eligible[highest_first(values, self._tie_rank[eligible])[:size]]
        if self.score == "both" and (values < 0).any():
            worst = self._examples[int(eligible[values.argmin()])].id
            raise ValueError(
                f"{OWNER}.score=both multiplies by complexity, but the hardness by {self.complexity!r} is negative "
                f"({values.min():g} at example {worst!r}); set {OWNER}.score to complexity."
            )
        if self._counts is None:
            texts = (field_text(self._examples[i], self.text) + self.text_suffix for i in range(len(self._examples)))
            self._counts = ngram_counts(list(texts), self.max_ngram, self.cjk_words)
        ranks = self._tie_rank[eligible] if self.ties == "hash" else None
        factors = values if self.score == "both" else np.ones(len(values))
        return eligible[greedy_select(factors, tfidf(self._counts[eligible]), size, self.novelty_decay, ranks)]

    def _shuffled(self, chosen: IntArray, generator: np.random.Generator) -> IntArray:
        if self.shuffle == "none":
            return chosen.copy()
        if self.shuffle == "stage":
            return generator.permutation(chosen)
        if self._shuffle_seed < 0:
            self._shuffle_seed = int(generator.integers(2**62))
        return np.random.default_rng(self._shuffle_seed).permutation(chosen)

    def exclusion_reasons(self, table: DifficultyTable) -> Mapping[str, BoolArray]:
        too_hard: BoolArray = self._complexity(table) >= self.max_complexity
        return {f"{self.complexity} at or above max_complexity {self.max_complexity:g}": too_hard}

    def state_dict(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "order": torch.from_numpy(self._order.copy()),
            "selection": torch.from_numpy(self._selection.copy()),
            "selected_before": torch.from_numpy(self._selected_before.copy()),
            "stage": self._stage,
            "shuffle_seed": self._shuffle_seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["version"] != _VERSION:
            raise ValueError(f"policy state of version {state['version']} cannot be read; expected {_VERSION}.")
        check_same_data("order", f"{len(state['order'])} examples", f"{len(self._order)} examples")
        self._order = state["order"].numpy().copy()
        self._selection = state["selection"].numpy().copy()
        self._selected_before = state["selected_before"].numpy().copy()
        self._stage = state["stage"]
        self._shuffle_seed = state["shuffle_seed"]


def reference_order(
    order: IntArray, num_scored: int, chosen: IntArray, complexity: FloatArray, limit: float, tie_rank: IntArray
) -> IntArray:
    """IterIT's order after a choice: chosen, too hard, rest of the eligible by complexity, unscorable, untouched.

    Since only the first ``num_scored`` places ever change, the same examples are on every later short list.

    Args:
        order: [N] the order so far; its first ``num_scored`` examples are the ones just scored.
        num_scored: Length of the short list that the choice was made from.
        chosen: The examples chosen, in order of choice.
        complexity: [N] complexity; NaN where there is none.
        limit: Complexities from here on are too hard to be eligible; these keep their previous order.
        tie_rank: [N] ranks that break ties.
    """
    others = order[:num_scored][~np.isin(order[:num_scored], chosen)]
    values = complexity[others]
    rest = others[values < limit]
    rest = rest[highest_first(complexity[rest], tie_rank[rest])]
    parts = (chosen, others[values >= limit], rest, others[np.isnan(values)], order[num_scored:])
    return np.concatenate(parts)


def refreshed_order(
    order: IntArray,
    chosen: IntArray,
    complexity: FloatArray,
    limit: float,
    tie_rank: IntArray,
    new: BoolArray,
) -> IntArray:
    """An order over all data: chosen, never scored, eligible by latest complexity, too hard, unscorable.

    Args:
        order: [N] the order so far.
        chosen: The examples chosen, in order of choice.
        complexity: [N] latest complexity, however old; NaN where there is none.
        limit: Complexities from here on are too hard to be eligible.
        tie_rank: [N] ranks that break ties.
        new: [N] true where an example has not been scored yet.
    """
    others = order[~np.isin(order, chosen)]
    others = others[highest_first(complexity[others], tie_rank[others])]
    values = complexity[others]
    group = np.select([new[others], values < limit, values >= limit], [0, 1, 2], 3)
    return np.concatenate([chosen, others[np.argsort(group, kind="stable")]])
