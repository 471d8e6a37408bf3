"""Features from a frozen encoder of sentences, which is handed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.difficulty.learned.answers import Answer
from lit_curriculum.difficulty.learned.features import ScorerFeatures
from lit_curriculum.types import LanguageModel


class TextEncoder(ABC):
    """A frozen function from texts to vectors."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of encoder and weights, as it stands in formulas."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors [K, D] in float32 on the processor, of ``texts`` [K]."""


class TextFeatures(ScorerFeatures):
    """Instruction and reference response through a sentence encoder, one after the other.

    It sees texts of the data alone: an answer of the model is tokens, so it serves the reweighting objective.
    What was encoded once is kept for the length of the run.

    Args:
        encoder: Such as ``lit_curriculum.evaluation.sentence_encoder.SentenceEncoder``.
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
