"""Vectors of examples by which they are compared: hashed n-grams, TF-IDF in few dimensions, a frozen encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from lit_curriculum.difficulty.words import TextField, field_text
from lit_curriculum.methods.campus.scorer.features import HashedNgrams, TextEncoder, reference
from lit_curriculum.methods.iterit.novelty import ngram_counts, tfidf
from lit_curriculum.types import ExampleStore, IntArray, LanguageModel, TokenNLL
from lit_curriculum.utils.options import Configured

Vectors = NDArray[np.float32]
_TFIDF_DIMENSIONS = 128


class ExampleVectors(Configured, ABC):
    """A frozen function from examples to vectors of length one, so that a product of two is their cosine."""

    option_path: ClassVar[str] = "vectors"

    @abstractmethod
    def raw(self, store: ExampleStore, indices: IntArray) -> Vectors:
        """[n, D] of the examples ``indices`` [n], of any length."""

    def unit(self, store: ExampleStore, indices: IntArray) -> Vectors:
        """[n, D] of length one; an example without anything to count keeps its zeros and is like no other."""
        vectors = self.raw(store, indices)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return unit


class NgramVectors(ExampleVectors):
    """Signed hashes of token n-grams of prompt and response apart (Weinberger et al. 2009, arXiv 0902.2206).

    Uni- and bigrams of tokens go into 256 buckets each of prompt and response. The embedded default: no network and
    no words are needed.
    """

    def __init__(self) -> None:
        self._features = HashedNgrams(256, 2)

    @override
    def raw(self, store: ExampleStore, indices: IntArray) -> Vectors:
        answers = [reference(store, int(i)) for i in indices]
        # The last two are log lengths, which are no direction in the space of n-grams.
        found: Vectors = self._features.extract(answers, _NoModel(), torch.device("cpu")).numpy()[:, :-2]
        return found


class TfidfVectors(ExampleVectors):
    """TF-IDF of words, reduced to 128 dimensions by a truncated singular value decomposition.

    Args:
        text: ``instruction``, ``response`` or ``both``.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(self, text: TextField = "both") -> None:
        self.text = text

    @override
    def raw(self, store: ExampleStore, indices: IntArray) -> Vectors:
        counts = ngram_counts([field_text(store[int(i)], self.text) for i in indices], 1)
        if min(counts.shape) < 2 or not counts.nnz:
            return np.zeros((len(indices), 1), dtype=np.float32)
        from sklearn.decomposition import TruncatedSVD  # imported here, as it takes long

        reduce = TruncatedSVD(min(_TFIDF_DIMENSIONS, min(counts.shape) - 1), random_state=0)
        found: Vectors = reduce.fit_transform(tfidf(counts)).astype(np.float32)
        return found


class EncodedTexts(ExampleVectors):
    """Instruction and response by a frozen encoder, one behind the other; what was encoded is kept for the run.

    Args:
        encoder: Such as ``lit_curriculum.SentenceEncoder``.
        text: ``instruction``, ``response``, or ``both`` side by side.

    Raises:
        ValueError: ``text`` is none of these.
    """

    def __init__(self, encoder: TextEncoder, text: TextField = "both") -> None:
        self.encoder, self.text = encoder, text
        self._known: dict[str, torch.Tensor] = {}

    @override
    def raw(self, store: ExampleStore, indices: IntArray) -> Vectors:
        examples = [store[int(i)] for i in indices]
        fields: tuple[TextField, ...] = ("instruction", "response") if self.text == "both" else (self.text,)
        new = {e.content_hash: e for e in examples if e.content_hash not in self._known}
        if new:
            parts = [self.encoder.encode([field_text(e, field) for e in new.values()]) for field in fields]
            self._known.update(zip(new, torch.cat(parts, dim=1), strict=True))
        found: Vectors = torch.stack([self._known[e.content_hash] for e in examples]).float().numpy()
        return found


class _NoModel(LanguageModel):
    """Placeholder for features that use no model."""

    def token_nll(self, batch: object, /) -> TokenNLL:
        raise AssertionError("n-grams ask no model")
