"""Difficulty in the eyes of another model: a smaller proxy, or two models whose losses are compared.

The scores are computed once, with the scorer's own tokenizer and chat template, and do not change while the model
in training does.
"""

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
from lit_curriculum.difficulty.nll import NegativeLogLikelihood
from lit_curriculum.difficulty.shared_cache import shared_cache
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

    With IFD as the metric and a small model as the scorer it is the complexity of Superfiltering. How the records'
    instruction and input are joined is the data's own option (``data.input_join``). Examples that do not fit are
    logged; what cannot be scored is NaN. The scorer's answers are kept on disk as they come: scoring that is killed
    goes on where it stopped, and the same data are not asked about twice.

    Args:
        metric: Any metric of model losses, such as :class:`~lit_curriculum.InstructionFollowingDifficulty`.
        source: Folder, hub id or GGUF file of the scorer's weights and tokenizer.
        template: Chat template for the scorer (see :func:`~lit_curriculum.data.template.resolve_template`).
        turn_end: See :class:`~lit_curriculum.data.encode.EncodeOptions`, as for the next two.
        boundary: Whether a view is tokenised whole or split at the borders of the responses.
        unconditioned: What stands before the responses in the view without the user's turns.
        max_length: Largest number of tokens of an example; by default the scorer's context.
        too_long: What to do about a response that does not fit: ``truncate`` scores the part that does, ``skip``
            leaves the example without a score.
        token_budget: Padded tokens in one batch.
        dtype: Of the scorer's weights: ``float32`` or ``bfloat16``.
        attention: Attention implementation of transformers, or none for its choice.
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
        attention: str | None = None,
        cache_dir: str | None = None,
    ) -> None:
        self.metric = metric
        self.scorer = Scorer(source, dtype, attention)
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
        return self.score_within(examples, self.limit())

    def limit(self) -> int:
        """Largest number of tokens of an example: the option, else the scorer's context."""
        return choose_max_length(self.max_length, self.scorer.context_length, self.scorer.tokenizer)

    def score_within(self, examples: ExampleStore, limit: int) -> FloatArray:
        """Scores [N] with at most ``limit`` tokens an example."""
        store = self._store(examples, limit)
        module = self.scorer.load()
        self._engine.device = self.scorer.device
        everything, rank = np.arange(len(store)), rank_and_world()[0]
        fingerprint = model_fingerprint(module)
        assert fingerprint is not None, "a scorer is whole on every process"
        home = None if self.cache_dir is None else Path(self.cache_dir)
        answers = shared_cache(self._engine, fingerprint, store, everything, rank, home, same_data_only=True)
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


class DeltaLoss(TextMetric):
    """Mean token loss under one model minus that under a reference, in nats per token.

    With a model before training as ``source`` and after it as ``reference`` it is what training has gained on the
    example; with the model to be trained and one that has seen held-out data it is the reducible loss of RHO-LOSS.
    The options are those of :class:`ProxyMetric`; both models read the same conversation, each in its own tokens.

    Args:
        source: Folder, hub id or GGUF file of the model whose loss counts positive.
        reference: The same for the model whose loss is taken off.
        template: Chat template for both.
        turn_end: Whether what closes the assistant's turn is scored.
        boundary: Whether a view is tokenised whole or split at the borders of the responses.
        max_length: Largest number of tokens of an example; by default each model's context.
        too_long: ``truncate`` scores the part of a response that fits, ``skip`` leaves the example without a score.
        token_budget: Padded tokens in one batch.
        dtype: Of both models' weights.
        attention: Attention implementation of transformers, or none for its choice.
        cache_dir: Where the examples in the models' tokens and their answers are kept; by default the package's cache.

    Raises:
        ValueError: an option is out of range, or (when it scores) the two models have different vocabularies.

    References:
        Mindermann et al. 2022, "Prioritized training on points that are learnable", arXiv 2206.07137, equation 3.
    """

    runtime_options = frozenset({"token_budget", "cache_dir"})
    unit = "nats per token"
    loads_model = True

    def __init__(
        self,
        source: str,
        reference: str,
        template: str = "auto",
        turn_end: TurnEnd = "scored",
        boundary: Boundary = "whole",
        max_length: int | None = None,
        too_long: TooLong = "truncate",
        token_budget: int = 2048,
        dtype: ScorerDtype = "float32",
        attention: str | None = None,
        cache_dir: str | None = None,
    ) -> None:
        # The view without the user's turns is not read; bare, no template can refuse it.
        self._parts = [
            ProxyMetric(
                NegativeLogLikelihood(), scorer, template, turn_end, boundary, "bare", max_length, too_long,
                token_budget, dtype, attention, cache_dir,
            )
            for scorer in (source, reference)
        ]  # fmt: skip

    @property
    def formula(self) -> str:
        return f"delta-loss/1({self._parts[0].formula} - {self._parts[1].formula})"

    def score(self, examples: ExampleStore) -> FloatArray:
        source, reference = self._parts
        if source.scorer.tokenizer.get_vocab() != reference.scorer.tokenizer.get_vocab():
            raise ValueError(
                f"DeltaLoss compares losses per token, but {source.scorer.source} and {reference.scorer.source} have "
                f"different vocabularies; choose two models with the same tokenizer."
            )
        # Cut at different places, the two losses would be of different responses.
        limit = min(part.limit() for part in self._parts)
        return source.score_within(examples, limit) - reference.score_within(examples, limit)


def _positioned(examples: ExampleStore) -> Iterator[Example]:
    for i in range(len(examples)):
        yield replace(examples[i], meta={_POSITION: i})
