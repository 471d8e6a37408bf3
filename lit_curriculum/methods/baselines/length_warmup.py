"""Sequence-length warm-up: training rows are truncated to a length that grows from the start of the run."""

from __future__ import annotations

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lit_curriculum.types import Batch
from lit_curriculum.utils.options import Configured, check_range

Growth = Literal["linear", "doubling"]


class SequenceLengthWarmup(Callback, Configured):
    """Truncates the rows of training batches to L tokens, where L grows until ``duration`` of the run is over.

    With u in [0, 1) the share of the warm-up that is over, and D doublings from the initial to the final length,

        linear:    L = initial + u (final - initial), rounded down to a multiple of ``multiple_of``
        doubling:  L = min(final, initial 2^floor(u (D + 1)))

    From u = 1 on rows are whole. A row that is cut before its response has no loss. The progress counts stages and
    their batches, so a resumed run truncates as an uninterrupted one. Losses that training leaves in the table
    (``curriculum.training_loss_metric``) are over the tokens that were kept. To leave long examples out instead, use
    :class:`~lit_curriculum.BabyStepsPolicy` in mode ``baby_steps``, by length.

    Args:
        initial_length: Tokens of a row at the start.
        final_length: Tokens of a row at the end of the warm-up.
        duration: Share of the run that the warm-up takes, in (0, 1].
        growth: ``linear`` (as Composer does) or ``doubling`` (as in GrowLength).
        multiple_of: Tokens by which a linear length grows at least.

    Raises:
        ValueError: an option is out of range.

    References:
        Li et al. 2021, "The Stability-Efficiency Dilemma: Investigating Sequence Length Warmup", arXiv 2108.06084;
        Jin et al. 2023, "GrowLength", arXiv 2310.00576.
    """

    def __init__(
        self,
        initial_length: int,
        final_length: int,
        duration: float = 0.3,
        growth: Growth = "linear",
        multiple_of: int = 8,
    ) -> None:
        if not 1 <= initial_length <= final_length:
            raise ValueError(
                "SequenceLengthWarmup: 1 <= initial_length <= final_length is needed, got "
                f"{initial_length} and {final_length} tokens."
            )
        check_range(self, "(0, 1]", duration=duration)
        check_range(self, "[1, inf)", multiple_of=multiple_of)
        self.initial_length, self.final_length, self.duration = initial_length, final_length, duration
        self.growth: Growth = growth
        self.multiple_of = multiple_of

    def length(self, progress: float) -> int | None:
        """Tokens that a row keeps at the share ``progress`` of the run; none to keep all."""
        done = progress / self.duration
        if done >= 1.0:
            return None
        if self.growth == "doubling":
            doublings = math.ceil(math.log2(self.final_length / self.initial_length))
            return min(self.final_length, self.initial_length << math.floor(done * (doublings + 1)))
        grown = self.initial_length + done * (self.final_length - self.initial_length)
        return max(self.initial_length, int(grown) // self.multiple_of * self.multiple_of)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert trainer.max_epochs is not None
        if not isinstance(batch, Batch):
            raise ValueError(
                f"SequenceLengthWarmup cuts batches of class Batch, but the training loader gives "
                f"{type(batch).__name__}; collate with Batch.from_views, or leave this callback out."
            )
        stage = trainer.current_epoch + batch_idx / trainer.num_training_batches
        length = self.length(stage / trainer.max_epochs)
        if length is not None and length < batch.input_ids.shape[1]:
            batch.input_ids = batch.input_ids[:, :length]
            batch.attention_mask = batch.attention_mask[:, :length]
            batch.scored = batch.scored[:, :length]
        pl_module.log("length_warmup/tokens", float(batch.input_ids.shape[1]), batch_size=len(batch))
        cut = 1.0 - batch.scored.any(dim=1).float().mean()
        pl_module.log("length_warmup/rows_without_target", cut, batch_size=len(batch))
