"""The table that one reads: a line for each method, best first, every number beside its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.common import Row

_COLUMNS = (
    "method", "loss minus equal size", "loss minus equal tokens", "accuracy minus equal size", "planted noise",
    "copies", "level", "scored per trained token", "s beside training", "verdict",
)  # fmt: skip
HEAD = f"| {' | '.join(_COLUMNS)} |\n| --- |{' ---: |' * (len(_COLUMNS) - 2)} --- |"


def ranking(table: Sequence[Row], rows: Sequence[str], control: str) -> list[str]:
    """Lines of Markdown for the methods ``rows``, by difference in held-out loss to ``control``; the control first.

    A verdict is drawn at a false discovery rate of 5 % over the rows of the family. For the planted things a ``>`` or
    ``<`` says that the 95 % interval of the difference to the control leaves zero on that side.
    """
    found = {str(row["name"]): row for row in table}
    gaps = {row: found.get(f"{row} minus {control}: held-out loss") for row in rows}
    ordered = sorted((r for r in rows if gaps[r]), key=lambda r: float(gaps[r]["value"]))  # type: ignore[index]
    return [HEAD, _line(found, control, control), *(_line(found, row, control) for row in ordered)]


def _line(found: Mapping[str, Row], row: str, control: str) -> str:
    measures = ("share of planted noise", "share of copies", "mean planted level")
    cells = [
        row,
        _interval(found.get(f"{row} minus {control}: held-out loss")),
        _interval(found.get(f"{row}: held-out loss minus random of equal tokens")),
        _interval(found.get(f"{row} minus {control}: accuracy")),
        *(_beside(found[f"{row}: {m}"], found.get(f"{row} minus {control}: {m}")) for m in measures),
        f"{float(found[f'{row}: scored tokens over trained tokens']['value']):.2f}",
        f"{float(found[f'{row}: seconds beside training']['value']):.1f}",
        _verdict(found, row, control),
    ]
    return "| " + " | ".join(cells) + " |"


def _interval(row: Row | None) -> str:
    if row is None:
        return ""
    if "low" not in row:
        return f"{float(row['value']):+.3f}"
    return f"{float(row['value']):+.3f} [{float(row['low']):+.3f}, {float(row['high']):+.3f}]"


def _beside(row: Row, difference: Row | None) -> str:
    """A mean, and on which side of the control it lies."""
    side = ""
    if difference is not None and "low" in difference:
        side = " >" if float(difference["low"]) > 0 else " <" if float(difference["high"]) < 0 else ""
    return f"{float(row['value']):.3g}{side}"


def _verdict(found: Mapping[str, Row], row: str, control: str) -> str:
    if row == control:
        return "control"
    rate = found.get(f"{row} minus {control}: held-out loss, false discovery rate")
    if rate is None or float(rate["value"]) >= 0.05:
        return "no detectable difference"
    return "better" if float(found[f"{row} minus {control}: held-out loss"]["value"]) < 0 else "worse"
