"""A progress bar for scoring, shown where the trainer shows its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from tqdm.auto import tqdm

from lit_curriculum.difficulty.engine import Progress


@contextmanager
def scoring_bar(trainer: Trainer, stage: int | None = None) -> Iterator[Progress | None]:
    """A bar over scored tokens with rate and time left, on rank zero and only where progress bars are on."""
    if trainer.progress_bar_callback is None or not trainer.is_global_zero:
        yield None
        return
    title = "Scoring" if stage is None else f"Scoring for stage {stage}"
    with tqdm(desc=title, unit="tok", unit_scale=True, leave=False, dynamic_ncols=True) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
