"""Difficulty under another model than the one in training, such as a smaller proxy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from lit_curriculum.data.cache import build_store
from lit_curriculum.data.encode import EncodeOptions, Encoder, TurnEnd, Unconditioned, choose_max_length
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.data.template import resolve_template
from lit_curriculum.data.tokenize import Boundary
from lit_curriculum.difficulty.base import ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.methods.baselines.scorers.scorer import Scorer, ScorerDtype
from lit_curriculum.types import Example, ExampleStore, FloatArray
from lit_curriculum.utils import hub
from lit_curriculum.utils.distributed import rank_and_world
from lit_curriculum.utils.progress import display

log = logging.getLogger(__name__)

TooLong = Literal["truncate", "skip"]
_POSITION = "position"  # under which name an example keeps its index while it is in the proxy's store


class ProxyMetric(TextMetric):
    """A metric of model losses, computed once by another model than the one in training.

    With IFD as the metric and a small model as the scorer it is the complexity of Superfiltering. The scorer reads the
    examples with its own tokenizer and chat template. How the records' instruction and input are joined is the data's
    own option (``data.input_join``). Examples that do not fit are logged; what cannot be scored is NaN. The scorer's
    answers are kept on disk as they come: scoring that was killed resumes, and the same data are scored only once.

    Args:
        metric: Any metric of model losses, such as :class:`~lit_curriculum.InstructionFollowingDifficulty`.
        source: Folder, hub id or GGUF file of the scorer's weights and tokenizer.
        template: Chat template for the scorer (see :func:`~lit_curriculum.data.template.resolve_template`).
        turn_end: See :class:`~lit_curriculum.data.encode.EncodeOptions`, as for the next two.
        boundary: Whether a view is tokenised whole or split at the borders of the responses.
        unconditioned: What precedes the responses in the view without the user's turns.
        max_length: Largest number of tokens of an example; by default the scorer's context.
        too_long: What to do about a response that does not fit: ``truncate`` scores the part that does, ``skip``
            leaves the example without a score.
        token_budget: Padded tokens in one batch.
        dtype: Of the scorer's weights: ``float32`` or ``bfloat16``.
        cache_dir: Where the examples in the scorer's tokens and its answers are kept; by default the package's cache.

    Raises:
        ValueError: an option is none of the names above, or out of range.

    References:
        Li et al. 2024, "Superfiltering", arXiv 2402.00530.
    """

    runtime_options = frozenset({"token_budget", "cache_dir"})
    loads_model = True

    def __init__(
        self,
        metric: ModelMetric,
        source: str,
        template: str = "auto",
        turn_end: TurnEnd = "scored",
        boundary: Boundary = "whole",
        unconditioned: Unconditioned = "template",
        max_length: int | None = None,
        too_long: TooLong = "truncate",
        token_budget: int = 2048,
        dtype: ScorerDtype = "float32",
        cache_dir: str | None = None,
    ) -> None:
        self.metric = metric
        self.scorer = Scorer(source, dtype)
        self.template = template
        self.turn_end: TurnEnd = turn_end
        self.boundary: Boundary = boundary
        self.unconditioned: Unconditioned = unconditioned
        self.max_length = max_length
        self.too_long: TooLong = too_long
        self.cache_dir = cache_dir
        self._engine = ScoringEngine({"proxy": metric}, token_budget)
        self.unit = metric.unit
        self.higher_is_harder = metric.higher_is_harder  # type: ignore[misc]

    @property
    def formula(self) -> str:
        options = (
            self.scorer.source, self.scorer.dtype, self.template, self.turn_end, self.boundary, self.unconditioned,
            "context" if self.max_length is None else str(self.max_length), self.too_long,
        )  # fmt: skip
        return f"proxy/1({self.metric.formula};{','.join(options)})"

    def score(self, examples: ExampleStore) -> FloatArray:
        limit = choose_max_length(self.max_length, self.scorer.context_length, self.scorer.tokenizer)
        store = self._store(examples, limit)
        module = self.scorer.load()
        self._engine.device = self.scorer.device
        everything, rank = np.arange(len(store)), rank_and_world()[0]
        fingerprint = model_fingerprint(module)
        assert fingerprint is not None, "a scorer is whole on every process"
        home = None if self.cache_dir is None else Path(self.cache_dir)
        answers = self._engine.shared_cache(fingerprint, store, everything, rank, home, same_data_only=True)
        try:
            with display(f"Scoring with {self.scorer.name}", " tok") as progress:
                found = self._engine.score(module, store, everything, progress, answers).values["proxy"]
        finally:
            answers.close()
        if len(store) == len(examples):
            scores = found
        else:
            scores = np.full(len(examples), np.nan)
            scores[[store[i].meta[_POSITION] for i in range(len(store))]] = found
        unscorable = np.flatnonzero(np.isnan(scores))
        if len(unscorable):
            first = examples[int(unscorable[0])]
            log.warning(
                "%s cannot score %d of %d examples, first %s (%s): no scored token is left of them, or the formula "
                "divides by zero there.", self.scorer.source, len(unscorable), len(examples), first.id, first.source,
            )  # fmt: skip
        return scores

    def _store(self, examples: ExampleStore, limit: int) -> EncodedStore:
        """The examples in the scorer's tokens; those of which nothing is left to score are missing."""
        options = EncodeOptions(
            max_length=limit, turn_end=self.turn_end, boundary=self.boundary, unconditioned=self.unconditioned
        )
        encoder = Encoder(resolve_template(self.scorer.tokenizer, self.template), options)
        cache_dir = hub.cache_dir() if self.cache_dir is None else Path(self.cache_dir)
        report = ProblemReport()
        report.num_read = len(examples)
        policy = ProblemPolicy(too_long=self.too_long)
        store = build_store(_positioned(examples), encoder, policy, report, cache_dir, option="data")
        log.info("%s scores with at most %d tokens: %s", self.scorer.source, limit, store.problems.summary())
        return store


def _positioned(examples: ExampleStore) -> Iterator[Example]:
    for i in range(len(examples)):
        yield replace(examples[i], meta={_POSITION: i})
