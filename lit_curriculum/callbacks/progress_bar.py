"""Progress of training and validation, shown like that of scoring and generation."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from typing_extensions import override

from lit_curriculum.utils.progress import Display


class StageProgressBar(ProgressBar):
    """Shows the stage in training or the validation, with rate, time left and logged values."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._shown: Display | None = None

    @override
    def enable(self) -> None:
        self._enabled = True

    @override
    def disable(self) -> None:
        self._enabled = False

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        of = "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"
        self._open(trainer, f"Stage {trainer.current_epoch + 1}{of}")

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._shown is None:  # after a validation, or resumed inside a stage
            self.on_train_epoch_start(trainer, pl_module)
        self._advance(batch_idx + 1, self.total_train_batches, self._note(trainer, pl_module))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._open(trainer, "Validation")

    @override
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._advance(batch_idx + 1, trainer.num_val_batches[dataloader_idx], "")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _open(self, trainer: Trainer, title: str) -> None:
        self._close()
        if self._enabled and trainer.is_global_zero:
            self._shown = Display(title, " batches")

    def _advance(self, done: int, total: float, note: str) -> None:
        if self._shown is not None and total < float("inf"):
            self._shown.advance(done, int(total), note)
            if done >= total:  # scoring at the end of a stage has the line to itself
                self._close()

    def _close(self) -> None:
        if self._shown is not None:
            self._shown.close()
        self._shown = None

    def _note(self, trainer: Trainer, module: LightningModule) -> str:
        metrics = {k: v for k, v in self.get_metrics(trainer, module).items() if k != "v_num"}
        return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in metrics.items())


def install_progress_bar(trainer: Trainer) -> None:
    """Replace the trainer's progress bar, if it has one, by a :class:`StageProgressBar`."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for place, callback in enumerate(callbacks):
        if isinstance(callback, ProgressBar):
            callbacks[place] = StageProgressBar()
