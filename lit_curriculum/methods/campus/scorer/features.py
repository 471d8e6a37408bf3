"""Features of answers for the learned scorer: hashed n-grams, the model's hidden states, or text encodings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from lit_curriculum.difficulty.fingerprint import is_sharded
from lit_curriculum.types import (
    CONDITIONED,
    Batch,
    EncodedView,
    Example,
    ExampleStore,
    FloatArray,
    LanguageModel,
    PooledModel,
)
from lit_curriculum.utils.distributed import scatter
from lit_curriculum.utils.options import Configured, check_range

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ROWS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one prompt, as tokens."""

    example: Example
    prompt: NDArray[np.int32]
    """[P] tokens before the first scored one."""
    tokens: NDArray[np.int32]
    """[A] tokens of the answer, without the one that ends it."""


def reference(store: ExampleStore, index: int, max_tokens: int | None = None) -> Answer:
    """First answer in the data, with no tokens where nothing is scored.

    The token that ends the turn and tokens beyond ``max_tokens`` are left out: answers of the model have neither, so
    a scorer could separate the two by them alone.
    """
    ids, scored = store.encoded(index, CONDITIONED)
    places = np.flatnonzero(scored)
    first = int(places[0]) if len(places) else len(ids)
    gaps = np.flatnonzero(~scored[first:])
    stop = first + int(gaps[0]) if len(gaps) else len(ids)
    tokens = ids[first : max(first, stop - 1)]
    return Answer(store[index], ids[:first], tokens if max_tokens is None else tokens[:max_tokens])


class ScorerFeatures(Configured, ABC):
    """A frozen function from answers to vectors."""

    option_path: ClassVar[str] = "features"

    model_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that the model has to offer."""
    knows_tokens: ClassVar[bool] = True
    """Whether the features distinguish the reference from answers that are not in the data."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and options, as in the formula of the metric."""

    @abstractmethod
    def extract(self, answers: Sequence[Answer], model: LanguageModel, device: torch.device) -> Tensor:
        """Vectors [K, D] in float32 on the CPU, of ``answers`` [K]."""

    def forward_tokens(self, answers: Sequence[Answer]) -> int:
        """Tokens that :meth:`extract` runs through the model."""
        del answers
        return 0


class HashedNgrams(ScorerFeatures):
    """Signed hashes of token n-grams, prompt and answer apart, each of length one, and the two log lengths.

    Feature hashing after Weinberger et al. 2009 (arXiv 0902.2206). It needs no tokenizer, since an example's tokens are
    at hand, and no pass of the model.

    Args:
        buckets: Length of the vector of prompt or answer; D is twice that and two.
        max_ngram: Longest n-gram in tokens.

    Raises:
        ValueError: an option is below 1.
    """

    def __init__(self, buckets: int = 512, max_ngram: int = 2) -> None:
        check_range(self, "[1, inf)", buckets=buckets, max_ngram=max_ngram)
        self.buckets = buckets
        self.max_ngram = max_ngram

    @property
    @override
    def name(self) -> str:
        return f"ngrams-{self.max_ngram}-{self.buckets}"

    @override
    def extract(self, answers: Sequence[Answer], model: LanguageModel, device: torch.device) -> Tensor:
        del model, device
        found = np.zeros((len(answers), 2 * self.buckets + 2), dtype=np.float32)
        for row, answer in zip(found, answers, strict=True):
            row[: self.buckets] = self._hashed(answer.prompt)
            row[self.buckets : -2] = self._hashed(answer.tokens)
            row[-2:] = np.log1p([len(answer.prompt), len(answer.tokens)])
        return torch.from_numpy(found)

    def _hashed(self, tokens: NDArray[np.int32]) -> FloatArray:
        total = np.zeros(self.buckets)
        ids = tokens.astype(np.uint64) + np.uint64(1)
        grams = np.zeros(len(ids), dtype=np.uint64)
        for n in range(1, min(self.max_ngram, len(ids)) + 1):
            grams = (grams[: len(ids) - n + 1] * _MULTIPLIER) ^ ids[n - 1 :]
            mixed = grams * _MULTIPLIER
            mixed = (mixed ^ (mixed >> np.uint64(32))) * _MULTIPLIER
            signs = np.where(mixed >> np.uint64(63), 1.0, -1.0)
            buckets = ((mixed >> np.uint64(20)) % np.uint64(self.buckets)).astype(np.int64)
            total += np.bincount(buckets, signs, self.buckets)
        length = float(np.linalg.norm(total))
        return total / length if length else total


class HiddenStates(ScorerFeatures):
    """The model's own last hidden states, averaged over the answer; they move with the model.

    A score then costs a pass of the model over the example. The model has to offer ``pooled_hidden`` (see
    :class:`~lit_curriculum.types.PooledModel`).
    """

    model_methods = ("pooled_hidden",)

    @property
    @override
    def name(self) -> str:
        return "hidden-mean"

    @override
    def extract(self, answers: Sequence[Answer], model: LanguageModel, device: torch.device) -> Tensor:
        pooled = cast("PooledModel", model).pooled_hidden

        def run(batches: list[list[int]]) -> list[Tensor]:
            rows = ([(k, 1.0, _view(answers[k])) for k in batch] for batch in batches)
            return [pooled(Batch.from_views(r).to(device)).float().cpu() for r in rows]

        # Of equal length in a batch, so that little is padded; batches do not depend on the number of ranks.
        order = sorted(range(len(answers)), key=lambda k: len(answers[k].prompt) + len(answers[k].tokens))
        batches = [order[start : start + _ROWS] for start in range(0, len(order), _ROWS)]
        stacked = torch.cat(scatter(batches, run, together=isinstance(model, nn.Module) and is_sharded(model)))
        found = torch.empty_like(stacked)
        found[torch.tensor(order)] = stacked
        # Of comparable size whatever the model's width.
        return torch.nn.functional.normalize(found, dim=1)

    @override
    def forward_tokens(self, answers: Sequence[Answer]) -> int:
        return sum(len(a.prompt) + len(a.tokens) for a in answers)


def _view(answer: Answer) -> EncodedView:
    """Prompt and answer in one row; where one is empty, the row's last token is taken for it."""
    ids = np.concatenate([answer.prompt, answer.tokens]).astype(np.int32)
    scored = np.arange(len(ids)) >= min(len(answer.prompt), len(ids) - 1)
    return EncodedView(ids, scored)


class TextEncoder(Configured, ABC):
    """A frozen function from texts to vectors."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of encoder and weights, as in formulas."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors [K, D] in float32 on the CPU, of ``texts`` [K]."""


class TextFeatures(ScorerFeatures):
    """Encodings of instruction and reference response by a sentence encoder, concatenated.

    It reads texts of the data only, and answers of the model are tokens; so it serves the reweighting objective.
    Encodings are kept for the length of the run.

    Args:
        encoder: Such as ``lit_curriculum.SentenceEncoder``.
    """

    knows_tokens = False

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self._known: dict[str, Tensor] = {}

    @property
    @override
    def name(self) -> str:
        return f"text-{self.encoder.name}"

    @override
    def extract(self, answers: Sequence[Answer], model: LanguageModel, device: torch.device) -> Tensor:
        del model, device
        new = {a.example.content_hash: a.example for a in answers if a.example.content_hash not in self._known}
        if new:
            prompts = self.encoder.encode([e.instruction for e in new.values()])
            responses = self.encoder.encode([e.response for e in new.values()])
            self._known.update(zip(new, torch.cat([prompts, responses], dim=1), strict=True))
        return torch.stack([self._known[a.example.content_hash] for a in answers])
