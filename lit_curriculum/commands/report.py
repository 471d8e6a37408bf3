"""``lit-curriculum report RUN [RUN ...]``: what runs did and how they compare, as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from lit_curriculum.report.page import write_page
from lit_curriculum.report.runs import label_runs, read_run


def report_command(args: Sequence[str]) -> None:
    """Write the page and say where it is and what it concludes."""
    parser = ArgumentParser(
        prog="lit-curriculum report",
        description="One self-contained HTML page about one or more runs, with its figures and tables as files. Runs "
        "of one condition and several seeds are put together; the control is uniform random order where there is one.",
        exit_on_error=False,
    )
    parser.add_argument("runs", nargs="+", type=str, help="folders of runs, those that hold run.json")
    parser.add_argument("--out", type=str, default="report", help="folder to write")
    parser.add_argument("--measure", type=str, default="val/loss", help="the validation scalar that decides")
    parser.add_argument(
        "--control", type=str | None, default=None, help="label of the control, or the folder of a run of it"
    )
    given = parser.parse_args(list(args))
    runs = [read_run(Path(folder)) for folder in given.runs]
    labels = label_runs(runs)
    control = given.control
    if control is not None:
        of_folder = {str(Path(folder)): label for folder, label in zip(given.runs, labels, strict=True)}
        control = of_folder.get(str(Path(control)), control)
    path = write_page(runs, Path(given.out), given.measure, control)
    print(f"{path}: {len(runs)} runs, {len(set(labels))} conditions.")
