"""How the batches of one model are run: chosen once, when the model is there, and then by device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lit_curriculum.models.execution.attention import check_compiled
from lit_curriculum.models.execution.rows import rows_are_exact
from lit_curriculum.models.execution.token_nll import (
    Layout,
    causal_lm,
    check_headless,
    check_packing,
    full_logits_nll,
    token_nll,
)
from lit_curriculum.types import Batch, TokenNLL

LOSS_CHUNK = 4096
"""Positions that the output head is applied to at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """What the options ask for; each is explained where the module takes it."""

    packing: bool = False
    torch_compile: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.packing and self.torch_compile:
            raise ValueError(
                "model.packing and model.torch_compile exclude each other: packed rows take their lengths from the "
                "data, which a compiled graph does not know; set one of them to false."
            )


@dataclass(frozen=True, slots=True)
class Execution:
    """The ways that are right for a model, of which each batch takes the fastest."""

    options: ExecutionOptions
    headless: bool
    """Whether the output head may be applied to scored positions only."""
    rows_exact: bool
    """Whether rows may be run one behind the other on a CPU."""

    @classmethod
    def choose(cls, model: nn.Module, options: ExecutionOptions, sharded: bool) -> Execution:
        """Try out on random rows what is right for ``model``, a Hugging Face model or one wrapped for LoRA.

        Args:
            model: The model, with its weights.
            options: The options.
            sharded: Whether its weights will be split over ranks.

        Raises:
            ValueError: an option asks for what this model cannot do.
        """
        lm = causal_lm(model)
        # Applied to chunks, a sharded head would be gathered a different number of times on each rank.
        headless = check_headless(model) and not sharded
        if options.packing:
            check_packing(lm, headless)
        if options.torch_compile:
            check_compiled(lm, headless)
        return cls(options, headless, headless and rows_are_exact(lm))

    def runs_padding(self, device: torch.device) -> bool:
        """Whether padding costs time on ``device``."""
        return not self.headless or self.layout(device) in ("padded", "compiled")

    def layout(self, device: torch.device) -> Layout:
        """How batches on ``device`` are run, with gradients if they are enabled."""
        if self.options.torch_compile:
            return "compiled"
        # What is run again in the backward pass would no longer know of the rows.
        by_rows = self.rows_exact and device.type == "cpu" and not self.options.gradient_checkpointing
        if by_rows and (self.options.packing or not torch.is_grad_enabled()):
            return "by rows"
        return "packed" if self.options.packing else "padded"

    def token_nll(self, model: nn.Module, batch: Batch, layout: Layout | None = None) -> TokenNLL:
        """Losses at the scored positions of ``batch``.

        Args:
            model: The model that this was chosen for.
            batch: Its rows.
            layout: How they are run; by default by device.
        """
        if not self.headless:
            return full_logits_nll(model, batch)
        return token_nll(model, batch, LOSS_CHUNK, layout or self.layout(batch.input_ids.device))
