"""Vectors of examples by the model in training: gradients of their losses, or hidden states."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_curriculum.difficulty.batching import pack_by_tokens, sequence_digest
from lit_curriculum.difficulty.runner import Progress
from lit_curriculum.types import CONDITIONED, Batch, ExampleStore, GradientModel, IntArray, LanguageModel, PooledModel
from lit_curriculum.utils.distributed import all_reduce_max, all_reduce_sum, rank_and_world
from lit_curriculum.utils.files import atomic_path
from lit_curriculum.utils.options import Configured, check_range

Layers = Literal["trainable", "last_block"]
Vectors = NDArray[np.float32]


class TargetVectors(Configured, ABC):
    """A function from rows to vectors by the model in training."""

    option_path: ClassVar[str] = "vectors"

    model_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that the model has to offer."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and options, as in the formula."""

    @abstractmethod
    def extractor(self, model: LanguageModel, of_targets: bool) -> tuple[Callable[[Batch], Tensor], str]:
        """A function from a batch to vectors [B, D], and what beside the weights it depends on."""


class HiddenStateVectors(TargetVectors):
    """Last hidden states averaged over all tokens of a conversation, the t-th of L with weight ``t / (1 + ... + L)``.

    A later token has seen more of the text. No training and no gradient is needed: one forward pass an example.

    References:
        Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning" (RDS+), arXiv 2503.01807, section 3.
    """

    model_methods = ("pooled_hidden",)

    @property
    def name(self) -> str:
        return "hidden-position-weighted/1"

    def extractor(self, model: LanguageModel, of_targets: bool) -> tuple[Callable[[Batch], Tensor], str]:
        del of_targets
        pooled = cast("PooledModel", model).pooled_hidden
        return lambda batch: pooled(batch, position_weights(batch.attention_mask)), ""


class GradientVectors(TargetVectors):
    """Gradient of an example's mean token loss, projected at random to few dimensions.

    The gradients of all rows of a batch come from one backward pass, layer by layer as ``sum_t g_t a_t'`` of the
    inputs ``a`` and the output gradients ``g`` of linear layers, and are added up by a sparse random projection: every
    weight goes to one of D sums with a random sign. As LESS's dense signs it keeps products of gradients in
    expectation, at a cost linear in the weights. With ``adam``, an example's gradient is replaced by the step that
    Adam would take with it; a target's never is. Embeddings, norms, biases and the output head are left out.

    Args:
        dimensions: D; 8192 in the paper.
        layers: ``trainable``: all linear layers with trainable weights (under LoRA these are the adapter's);
            ``last_block``: only those of the last block.
        adam: Scale by Adam's moments, which are there after the first stage.

    Raises:
        ValueError: an option is out of range.

    References:
        Xia et al. 2024, "LESS: Selecting Influential Data for Targeted Instruction Tuning", arXiv 2402.04333,
        sections 3 and 4; Charikar et al. 2002 (count sketch).
    """

    model_methods = ("gradient_sketch",)

    def __init__(self, dimensions: int = 8192, layers: Layers = "trainable", adam: bool = True) -> None:
        check_range(self, "[1, inf)", dimensions=dimensions)
        self.dimensions, self.layers, self.adam = dimensions, layers, adam

    @property
    def name(self) -> str:
        return f"gradient-sketch/1({self.dimensions},{self.layers},{'adam' if self.adam else 'plain'},0)"

    def extractor(self, model: LanguageModel, of_targets: bool) -> tuple[Callable[[Batch], Tensor], str]:
        return cast("GradientModel", model).gradient_sketch(
            self.dimensions, self.layers, adam=self.adam and not of_targets, seed=0
        )


def position_weights(attention_mask: Tensor) -> Tensor:
    """Weights [B, L] that rise by one from token to token and sum to one in each row; 0 on padding."""
    places = attention_mask.cumsum(dim=1) * attention_mask
    return places / places.sum(dim=1, keepdim=True)


def extract(
    store: ExampleStore,
    indices: IntArray,
    vectors_of: Callable[[Batch], Tensor],
    device: torch.device,
    token_budget: int,
    folder: Path | None,
    progress: Progress | None = None,
) -> Vectors:
    """Vectors [K, D] of the examples ``indices`` [K], on every rank.

    Batches are the same whatever the number of ranks, which share them. Every batch is written to ``folder`` when it is
    done, so an extraction that was killed resumes with the missing batches.

    Args:
        store: The data.
        indices: Which of them; each with a scored token.
        vectors_of: From a batch to [B, D].
        device: Where batches go.
        token_budget: Padded tokens of a batch.
        folder: Of this model and these vectors, or none to keep nothing.
        progress: Called with (batches done, batches in all).

    Raises:
        ValueError: a vector is NaN or infinite.
    """
    rank, world_size = rank_and_world()
    lengths = store.lengths(CONDITIONED)[indices]
    batches = pack_by_tokens(lengths, token_budget)
    found: list[tuple[IntArray, Tensor]] = []
    # Ranks of a sharded model synchronise inside the forward, so every rank makes the same number of them.
    for number in range(rank, -(-len(batches) // world_size) * world_size, world_size):
        rows = batches[number % len(batches)]
        views = [store.encoded(int(indices[r]), CONDITIONED) for r in rows]
        path = None
        if folder is not None:
            digest = hashlib.blake2b(b"".join(sequence_digest(v) for v in views), digest_size=16).hexdigest()
            path = folder / f"{digest}.npy"
        if path is not None and path.exists():
            vectors = torch.from_numpy(np.load(path))
        else:
            batch = Batch.from_views([(int(indices[r]), 1.0, v) for r, v in zip(rows, views, strict=True)])
            vectors = vectors_of(batch.to(device)).detach().float().cpu()
            _check_finite(vectors, store, indices[rows])
            if path is not None:
                _write(path, vectors.numpy())
        if number < len(batches):
            found.append((rows, vectors))
        if progress is not None:
            progress(min(number + 1, len(batches)), len(batches))
    width = max((v.shape[1] for _, v in found), default=0)
    # A rank may have had no batch at all.
    width = int(all_reduce_max(width, device))
    table = torch.zeros(len(indices), width, device=device)
    for rows, vectors in found:
        table[torch.from_numpy(rows).to(device)] = vectors.to(device)
    total: Vectors = all_reduce_sum(table).cpu().numpy()
    return total


def _check_finite(vectors: Tensor, store: ExampleStore, indices: IntArray) -> None:
    broken = ~torch.isfinite(vectors).all(dim=1)
    if broken.any():
        example = store[int(indices[int(broken.nonzero()[0])])]
        raise ValueError(
            f"the model's vector of example {example.id} ({example.source}) is NaN or infinite; its weights are broken "
            "or overflow: nothing was scored."
        )


def _write(path: Path, vectors: Vectors) -> None:
    # An open file, since NumPy would end a path with .npy.
    with atomic_path(path) as draft, draft.open("wb") as file:
        np.save(file, vectors)
