"""Batches, and the protocols of the models that the curriculum uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_curriculum.types.examples import EncodedView


@dataclass(slots=True)
class Batch:
    """Right-padded token rows and which of their tokens are scored."""

    input_ids: Tensor
    """[B, L] int64."""
    attention_mask: Tensor
    """[B, L] int64, 1 on real tokens."""
    scored: Tensor
    """[B, L] bool, true where the token is a target whose loss counts."""
    index: Tensor
    """[B] int64, the examples' indices."""
    weight: Tensor
    """[B] float32, weight of each example in the loss."""
    cpu_copy: Batch | None = None
    """The same rows on the CPU, set only where neither copy ever changes; reading it does not wait for the device."""

    @property
    def on_cpu(self) -> Batch:
        """The rows to read values from: :attr:`cpu_copy`, else the batch itself."""
        return self if self.cpu_copy is None else self.cpu_copy

    @classmethod
    def from_views(cls, items: Sequence[tuple[int, float, EncodedView]]) -> Batch:
        """Right-pad examples to a batch [B, L].

        Padding has token id 0 and is marked by the mask alone: many tokenizers pad with a token that also ends turns.

        Args:
            items: Index, weight and tokens of each of B examples.
        """
        width = max(len(view.input_ids) for _, _, view in items)
        ids = np.zeros((len(items), width), dtype=np.int64)
        mask = np.zeros((len(items), width), dtype=np.int64)
        scored = np.zeros((len(items), width), dtype=np.bool_)
        for row, (_, _, view) in enumerate(items):
            size = len(view.input_ids)
            ids[row, :size] = view.input_ids
            mask[row, :size] = 1
            scored[row, :size] = view.scored
        return cls(
            torch.from_numpy(ids),
            torch.from_numpy(mask),
            torch.from_numpy(scored),
            torch.tensor([index for index, _, _ in items], dtype=torch.int64),
            torch.tensor([weight for _, weight, _ in items], dtype=torch.float32),
        )

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy of the batch on ``device``; Lightning calls it to move the batch."""
        return Batch(
            self.input_ids.to(device, non_blocking=non_blocking),
            self.attention_mask.to(device, non_blocking=non_blocking),
            self.scored.to(device, non_blocking=non_blocking),
            self.index.to(device, non_blocking=non_blocking),
            self.weight.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        """A copy of the batch in page-locked memory; the data loader calls it."""
        return Batch(
            self.input_ids.pin_memory(),
            self.attention_mask.pin_memory(),
            self.scored.pin_memory(),
            self.index.pin_memory(),
            self.weight.pin_memory(),
        )


class TokenNLL(NamedTuple):
    """Negative log-likelihood of every scored token of a batch, row by row and left to right."""

    nll: Tensor
    """[S] float32, nats."""
    row: Tensor
    """[S] int64, the row of the batch that each token is in."""
    hit: Tensor
    """[S] bool, true where the model's most likely token is the target."""


class LanguageModel(Protocol):
    """A function from token batches to token losses, all that the curriculum needs of a model.

    A model on which padding costs nothing declares ``runs_padding = False``; batches are then built for that.
    """

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        """Losses at the scored positions of ``batch``, differentiable where gradients are enabled."""
        ...


class GenerativeModel(LanguageModel, Protocol):
    """A language model that can also generate answers."""

    def generate(
        self, prompts: Sequence[NDArray[np.int32]], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[NDArray[np.int32]]:
        """The new tokens of each prompt [L], without the prompt and without the end token.

        Args:
            prompts: Token ids of each prompt, ending where the answer starts.
            max_new_tokens: Tokens at most of one answer.
            temperature: 0 takes the most likely token each time; above 0 answers are drawn.
            seed: Seed of the draw; an answer depends on seed and prompt, not on batch, order or rank.
        """
        ...


class PooledModel(LanguageModel, Protocol):
    """A language model that also returns pooled hidden states."""

    def pooled_hidden(self, batch: Batch, /, weights: Tensor | None = None) -> Tensor:
        """[B, H] last hidden states of each row, averaged by ``weights`` [B, L], or over its scored positions."""
        ...


class GradientModel(LanguageModel, Protocol):
    """A language model that also returns projected gradients of single examples."""

    def gradient_sketch(
        self, dimensions: int, layers: str, /, adam: bool, seed: int
    ) -> tuple[Callable[[Batch], Tensor], str]:
        """Return a function from a batch to projected gradients [B, dimensions] of each row's mean token loss.

        The second value is an id of the optimizer's state, which the gradients depend on beside the weights.

        Args:
            dimensions: Numbers of the projection.
            layers: ``trainable`` or ``last_block``.
            adam: Return the step that Adam would take instead of the gradient.
            seed: Seed of the projection.
        """
        ...
