"""Ablations: cells that are run once each and kept as they end, and their comparison with a control, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.common import Row, open_log
from lit_curriculum.report import figures
from lit_curriculum.utils.jsonl_log import JsonlLog

Measures = dict[str, float]
CONFIDENCE = 0.95


class CellLog:
    """Measures of finished cells, in a file that begins with the configuration that all share.

    Args:
        path: The file; the first finished cell makes it.
        config: What must be equal for cells to be compared.

    Raises:
        SystemExit: the file is of another configuration, or broken.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self._log: JsonlLog[tuple[str, int], Measures] = open_log(
            path, lambda row: ((row["row"], row["seed"]), row["measures"]), "cell", config
        )

    @property
    def found(self) -> dict[tuple[str, int], Measures]:
        """Measures by row and seed, of this process and of those that it has read."""
        return self._log.entries

    def read(self) -> None:
        """Read what other processes have written meanwhile."""
        self._log.refresh()

    def add(self, row: str, seed: int, measures: Measures) -> None:
        """Keep one finished cell."""
        self._log.append([{"row": row, "seed": seed, "measures": measures}])

    def run(
        self, rows: Sequence[str], seeds: Iterable[int], cell: Callable[[str, int], Measures], shard: int, shards: int
    ) -> None:
        """Run the cells that are not there yet, all rows of a seed before the next seed.

        Args:
            rows: Names of what is compared.
            seeds: Of every row.
            cell: Runs one.
            shard: Which share of the cells is this process's, from 0 on.
            shards: Number of processes.
        """
        cells = [(row, seed) for seed in seeds for row in rows]
        for number, (row, seed) in enumerate(cells):
            if number % shards != shard or (row, seed) in self.found:
                continue
            measures = cell(row, seed)
            self.add(row, seed, measures)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
            print(f"[{number + 1}/{len(cells)}] {row}, seed {seed}: {shown}", flush=True)


def read_cells(path: Path) -> dict[tuple[str, int], Measures]:
    """Measures of the finished cells in a file of any configuration; empty where there is no file."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return CellLog(path, json.loads(file.readline())).found


def compare(
    found: Mapping[tuple[str, int], Measures], rows: Sequence[str], control: str, units: Mapping[str, str]
) -> list[Row]:
    """Means over seeds with t intervals, and differences to the control of the same seed with theirs.

    Every difference carries the false discovery rate (Benjamini and Hochberg) over the rows compared in its measure.

    Args:
        found: Measures of every finished cell.
        rows: Names in the order of the table.
        control: The row that others are compared with.
        units: Measure -> unit; the measures to report, where a row has them.
    """
    table: list[Row] = []
    for measure, unit in units.items():
        values = {row: {s: m[measure] for (r, s), m in found.items() if r == row and measure in m} for row in rows}
        table += [_mean(f"{row}: {measure}", list(values[row].values()), unit) for row in rows if values[row]]
        differences = {}
        for row in rows:
            shared = sorted(set(values[row]) & set(values.get(control, {})))
            if row != control and len(shared) > 1:
                differences[row] = np.array([values[row][s] - values[control][s] for s in shared])
        tested = {row: float(stats.ttest_1samp(d, 0.0).pvalue) for row, d in differences.items() if np.ptp(d) > 0}
        rates = dict(zip(tested, stats.false_discovery_control(list(tested.values())), strict=True)) if tested else {}
        for row, difference in differences.items():
            table.append(_mean(f"{row} minus {control}: {measure}", difference.tolist(), unit))
            if row in rates:
                name = f"{row} minus {control}: {measure}, false discovery rate"
                table.append({"name": name, "value": float(rates[row]), "unit": "probability"})
    return table


def forest(table: Sequence[Row], path: Path, measures: list[str], control: str) -> None:
    """A figure of differences to ``control`` with their intervals, a panel for each of ``measures``."""
    found = {
        m: [r for r in table if str(r["name"]).endswith(f" minus {control}: {m}") and "low" in r] for m in measures
    }
    shown = {measure: rows for measure, rows in found.items() if rows}
    if not shown:
        return
    height = 0.28 * max(map(len, shown.values())) + 1.2
    figure, panels = figures.plt.subplots(1, len(shown), figsize=(3 + 5 * len(shown), height), squeeze=False)
    for axes, (measure, rows) in zip(panels[0], shown.items(), strict=True):
        for place, row in enumerate(reversed(rows)):
            axes.plot([row["low"], row["high"]], [place, place], color=figures.GREY)
            axes.plot(row["value"], place, "o", color="C0", markersize=4)
        axes.axvline(0.0, color="black", linewidth=0.8)
        names = [str(r["name"]).partition(f" minus {control}: ")[0] for r in reversed(rows)]
        axes.set_yticks(range(len(rows)), names if axes is panels[0][0] else [""] * len(rows))
        axes.set_xlabel(f"{measure} minus that of {control},\n{rows[0]['unit']} (95 % interval over seeds)")
    figures.save(figure, path)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's interval of the mean of two values or more at :data:`CONFIDENCE`."""
    mean, half = float(np.mean(values)), float(stats.sem(values))
    half *= float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return mean - half, mean + half


def _mean(name: str, values: Sequence[float], unit: str) -> Row:
    """Mean with its t interval over seeds, or alone where there is one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"name": name, "value": mean, "unit": unit}
    low, high = t_interval(values)
    return {"name": name, "value": mean, "unit": unit, "low": low, "high": high, "n": len(values)}
