"""One record of a growth study."""

from __future__ import annotations

from dataclasses import replace

from lit_curriculum.methods.doit.study.growth_records import (
    GrowthRecord,
)


def record(epoch: int = 1, correct: int = 5, ability: str = "a", split: str = "valid", cell: str = "c",
           group: str = "in_domain", rung: int = 4, seed: int = 0, total: int = 10,
           **kept: object) -> GrowthRecord:  # fmt: skip
    base = GrowthRecord(
        cell=cell, arm="curated", size="tiny", params=1.0, seed=seed, rung=rung, ability=ability, group=group,
        split=split, epoch=epoch, step=epoch, n_unique=rung, n_seen=rung, tokens_seen=9, correct=correct, total=total,
        chance_sum=0.25 * total, nll=1.0,
    )  # fmt: skip
    return replace(base, **kept)  # type: ignore[arg-type]
