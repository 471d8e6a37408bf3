"""A progress bar for scoring, shown where the trainer shows its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from tqdm.auto import tqdm

from lit_curriculum.difficulty.engine import Progress


@contextmanager
def scoring_bar(
    trainer: Trainer, stage: int | None = None, title: str = "Scoring", unit: str = "tok"
) -> Iterator[Progress | None]:
    """A bar over tokens, or over ``unit``, with rate and time left, on rank zero and only where bars are on."""
    if trainer.progress_bar_callback is None or not trainer.is_global_zero:
        yield None
        return
    title = title if stage is None else f"{title} for stage {stage}"
    with tqdm(desc=title, unit=unit, unit_scale=True, leave=False, dynamic_ncols=True) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
