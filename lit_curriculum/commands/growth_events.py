"""A growth study in TensorBoard: figures, slopes, the report and the table of cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from lit_curriculum.callbacks.growth_log import overall_scalars
from lit_curriculum.growth.records import GrowthRecord
from lit_curriculum.report.growth import curve_figure, report_text, sensitivity_figure, transfer_figure


def write_events(
    folder: Path,
    records: Sequence[GrowthRecord],
    fits: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Any],
    smooth: float | None = None,
) -> None:
    """Write event files into ``folder``; the step, and so the index of the refit, is the number of finished cells.

    ``growth/curves/{ability}``, ``growth/sensitivity``, ``growth/transfer`` (figures) and ``growth/report`` (text)
    stand in the folder itself; ``growth/{ability}/slope``, ``slope_lo``, ``slope_hi`` and ``n_sat``, where a curve
    saturates within its rungs, in a run for each arm and size; hyperparameters and plain means in one for each cell.

    Args:
        folder: Made where it does not exist.
        records: Of all finished cells.
        fits: As ``fits.json`` holds them.
        findings: As ``findings.json`` holds them.
        smooth: See :func:`~lit_curriculum.report.growth.growth_curve`.
    """
    cells: dict[str, list[GrowthRecord]] = defaultdict(list)
    for r in records:
        if r.selected:
            cells[r.cell].append(r)
    step = len(cells)
    with SummaryWriter(str(folder)) as writer:
        for ability in sorted({f["ability"] for f in fits}):
            figure = curve_figure([f for f in fits if f["ability"] == ability], smooth)
            writer.add_figure(f"growth/curves/{ability}", figure, step)
        writer.add_figure("growth/sensitivity", sensitivity_figure(fits, findings["sizes"]), step)
        if findings["transfer"] is not None:
            writer.add_figure("growth/transfer", transfer_figure(findings["transfer"]), step)
        writer.add_text("growth/report", report_text(fits, findings), step)
        for name, mine in cells.items():
            first = mine[0]
            total = sum({r.ability: r.n_unique for r in mine}.values())
            options = {"arm": first.arm, "total": total, "size": first.size, "seed": first.seed, "plan": name}
            writer.add_hparams(options, overall_scalars(mine), run_name=f"cells/{name}", global_step=first.step)
    for arm, size in sorted({(f["arm"], f["size"]) for f in fits}):
        with SummaryWriter(str(folder / f"{arm}-{size}")) as writer:
            for fit in fits:
                if (fit["arm"], fit["size"]) == (arm, size):
                    _slopes(writer, fit, step)


def _slopes(writer: SummaryWriter, fit: Mapping[str, Any], step: int) -> None:
    slope, ability = fit["slope"], fit["ability"]
    for name, value in (
        ("slope", slope["value"]),
        ("slope_lo", slope["low"]),
        ("slope_hi", slope["high"]),
        ("n_sat", fit["saturation_rows"]),
    ):
        if value is not None:
            writer.add_scalar(f"growth/{ability}/{name}", value, step)
