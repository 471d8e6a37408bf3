"""Records of a growth study: one for each cell, checkpoint, ability and split."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from lit_curriculum.utils.files import write_atomic

ALONE, WITHOUT, BASE = "alone:", "without:", "base"
"""Arms that train on one ability alone, on all but one (each followed by its name), and on nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthRecord:
    """One ability at one checkpoint of one cell, in the long format."""

    cell: str
    arm: str
    size: str
    params: float
    """Parameters of the model."""
    seed: int
    rung: int
    """Rows of each ability that the cell's rung names: the axis of the curves."""
    ability: str
    group: str
    """``in_domain`` or ``ood``."""
    split: str
    """``valid`` or ``test``."""
    epoch: int
    """Passes of training behind the checkpoint, from 1: stages of the run."""
    step: int
    n_unique: int
    """Different rows of this ability that the cell trains on."""
    n_seen: int
    """Rows of this ability trained on so far, repeats counted."""
    tokens_seen: int
    """Scored tokens of this ability trained on so far."""
    correct: int
    total: int
    chance_sum: float
    """Summed chance of the items; NaN where an item has none."""
    nll: float
    """Mean loss of the right answers in nats per token."""
    outcomes: str = ""
    """One digit an item, in the order of the data: 1 where it was answered exactly."""
    item_nll: tuple[float, ...] = ()
    """Mean token loss of every item in nats, in the same order."""
    selected: bool = False

    @property
    def on_curve(self) -> bool:
        """Whether it is a point of an ability's curve: read at, a test of a rung, and of an arm with all abilities."""
        arms = self.arm.startswith((ALONE, WITHOUT)) or self.arm == BASE
        return self.selected and self.split == "test" and self.rung > 0 and self.group == "in_domain" and not arms

    @property
    def score(self) -> float:
        """Share of items answered exactly, p."""
        return self.correct / self.total

    @property
    def chance(self) -> float:
        """Mean chance c of the items."""
        return self.chance_sum / self.total

    @property
    def kappa(self) -> float:
        """Chance-corrected score (p - c) / (1 - c)."""
        return (self.score - self.chance) / (1 - self.chance)


def write_records(path: Path, records: Iterable[GrowthRecord]) -> None:
    """One JSON line a record; the file is whole or absent."""
    # Item by item only where the cell is read from: the files stay small.
    lines = (json.dumps(asdict(r if r.selected else replace(r, outcomes="", item_nll=()))) for r in records)
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def read_records(path: Path) -> list[GrowthRecord]:
    """The records of a file.

    Raises:
        ValueError: a line is not a record.
    """
    known = {f.name for f in fields(GrowthRecord)}
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        if set(row) != known:
            raise ValueError(f"{path.name}:{number} is no growth record; write the file again with growth run.")
        records.append(GrowthRecord(**{**row, "item_nll": tuple(row["item_nll"])}))
    return records


def select_checkpoints(
    records: Sequence[GrowthRecord], min_epoch: int = 5, measure: str = "score"
) -> list[GrowthRecord]:
    """Mark the selected checkpoint of each cell.

    It is the one whose mean validation score over the in-domain abilities is highest among those late enough; the
    earliest of equals.

    Args:
        records: Of any number of cells.
        min_epoch: First epoch that is late enough.
        measure: ``score``, or ``nll``, of which less is better.

    Returns:
        The records in the same order, ``selected`` set.

    Raises:
        ValueError: no checkpoint of a cell is late enough.
    """
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in records:
        if r.split == "valid" and r.group == "in_domain":
            values[r.cell][r.epoch].append(r.score if measure == "score" else -r.nll)
    chosen: dict[str, int] = {}
    for cell, by_epoch in values.items():
        late = {e: math.fsum(v) / len(v) for e, v in by_epoch.items() if e >= min_epoch}
        if not late:
            raise ValueError(
                f"cell {cell} has no checkpoint late enough for min_epoch={min_epoch} (its last is epoch "
                f"{max(by_epoch)}); lower min_epoch."
            )
        chosen[cell] = min(late, key=lambda e: (-late[e], e))
    return [replace(r, selected=chosen.get(r.cell) == r.epoch) for r in records]


def overall(records: Sequence[GrowthRecord], group: str | None = None) -> float:
    """Plain mean of the abilities' scores: of one group, or of all; never halved by counting anything else."""
    scores = [r.score for r in records if group is None or r.group == group]
    return math.fsum(scores) / len(scores) if scores else math.nan
