"""What two examples are compared by: gradients of their losses, or hidden states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, cast

from torch import Tensor

from lit_curriculum.types import Batch, GradientModel, LanguageModel, PooledModel
from lit_curriculum.utils.options import Configured

Layers = Literal["trainable", "last_block"]


class TargetVectors(Configured, ABC):
    """A function from rows to vectors by the model in training."""

    option_path: ClassVar[str] = "vectors"

    model_methods: ClassVar[tuple[str, ...]] = ()
    """Methods that the model has to offer."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and options, as they stand in the formula."""

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
        seed: Of the projection.

    Raises:
        ValueError: an option is out of range.

    References:
        Xia et al. 2024, "LESS: Selecting Influential Data for Targeted Instruction Tuning", arXiv 2402.04333,
        sections 3 and 4; Charikar et al. 2002 (count sketch).
    """

    model_methods = ("gradient_sketch",)

    def __init__(self, dimensions: int = 8192, layers: Layers = "trainable", adam: bool = True, seed: int = 0) -> None:
        if dimensions < 1:
            raise ValueError(f"option vectors.dimensions must be at least 1, got {dimensions}.")
        self.dimensions, self.layers, self.adam, self.seed = dimensions, layers, adam, seed

    @property
    def name(self) -> str:
        return f"gradient-sketch/1({self.dimensions},{self.layers},{'adam' if self.adam else 'plain'},{self.seed})"

    def extractor(self, model: LanguageModel, of_targets: bool) -> tuple[Callable[[Batch], Tensor], str]:
        return cast("GradientModel", model).gradient_sketch(
            self.dimensions, self.layers, adam=self.adam and not of_targets, seed=self.seed
        )


def position_weights(attention_mask: Tensor) -> Tensor:
    """Weights [B, L] that rise by one from token to token and sum to one in each row; 0 on padding."""
    places = attention_mask.cumsum(dim=1) * attention_mask
    return places / places.sum(dim=1, keepdim=True)
