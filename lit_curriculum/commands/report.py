"""``lit-curriculum report`` and ``lit-curriculum explain``: show what runs did, from their files; no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lit_curriculum.report import explain
from lit_curriculum.report.explain import Answer, Cell
from lit_curriculum.report.ledger import Ledger
from lit_curriculum.utils.command_parser import CommandParser

_WIDTH = 160  # columns of what goes into a file


def report_command(args: Sequence[str]) -> None:
    """``lit-curriculum report RUN [RUN ...]``: write an HTML page about runs."""
    from lit_curriculum.report.page import write_page
    from lit_curriculum.report.runs import label_runs, read_run

    parser = CommandParser(
        "report",
        "One self-contained HTML page about one or more runs, with its figures and tables as files. Runs of one "
        "condition and several seeds are put together; the control is uniform random order where there is one.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, those that hold run.json")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write")
    parser.add_argument("--measure", default="val/loss", help="the validation scalar that decides")
    parser.add_argument("--control", default=None, help="label of the control, or the folder of a run of it")
    given = parser.parse_args(args)
    runs = [read_run(folder) for folder in given.runs]
    labels = label_runs(runs)
    control = given.control
    if control is not None:
        of_folder = {str(folder): label for folder, label in zip(given.runs, labels, strict=True)}
        control = of_folder.get(str(Path(control)), control)
    path = write_page(runs, given.out, given.measure, control)
    print(f"{path}: {len(runs)} runs, {len(set(labels))} conditions.")


def explain_command(args: Sequence[str]) -> None:
    """``lit-curriculum explain RUN``: print what the ledger of a run says; ``--out`` writes all rows as CSV.

    Raises:
        ValueError: two questions are asked at once, or the ledger has no answer.
    """
    parser = CommandParser("explain", "What a run did with its examples, from its ledger.")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--id", default=None, help="the history of the example with this id")
    parser.add_argument("--text", default=None, help="the history of the example that holds these words, or their list")
    parser.add_argument("--stage", type=int, default=None, help="what this stage chose; with --id or --text, only it")
    parser.add_argument("--never-trained", action="store_true", help="the examples that no stage has trained on")
    parser.add_argument("--dropped", action="store_true", help="the records that did not become examples")
    parser.add_argument("--limit", type=int, default=20, help="rows to print")
    parser.add_argument("--out", type=Path, default=None, help="CSV file for all rows")
    given = parser.parse_args(args)
    questions = {"--id": given.id, "--text": given.text, "--never-trained": given.never_trained or None}
    asked = [name for name, value in {**questions, "--dropped": given.dropped or None}.items() if value is not None]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} are different questions; ask them one at a time.")
    if given.stage is not None and asked and asked[0] in ("--never-trained", "--dropped"):
        raise ValueError(f"--stage says nothing about {asked[0]}; leave one of them out.")
    if given.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {given.limit}.")
    ledger = Ledger(given.run)
    for answer in _answers(ledger, given):
        show(answer, given.limit)
        if given.out is not None:
            explain.write_csv(answer, given.out)
            print(f"all {len(answer.rows)} rows: {given.out}")


def _answers(ledger: Ledger, given: argparse.Namespace) -> list[Answer]:
    if given.id is not None:
        found = explain.by_id(ledger, given.id).tolist()
        return [explain.history(ledger, index, given.stage) for index in found]
    if given.text is not None:
        rows = explain.by_text(ledger, given.text)
        if rows.num_rows > 1:
            return [explain.listing(rows)]
        return [explain.history(ledger, rows.column("index")[0].as_py(), given.stage)]
    if given.never_trained:
        return [explain.never_trained(ledger)]
    if given.dropped:
        return [explain.dropped(ledger)]
    return [explain.overview(ledger) if given.stage is None else explain.of_stage(ledger, given.stage)]


def show(answer: Answer, limit: int) -> None:
    """Print an answer: its lines and its first rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    for line in answer.lines:
        console.print(Text(line))
    if not answer.rows:
        return
    table = Table(box=None, pad_edge=False)
    numbers = [all(not isinstance(row[c], str) for row in answer.rows) for c in range(len(answer.columns))]
    for name, is_number in zip(answer.columns, numbers, strict=True):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in answer.rows[:limit]:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)
    if len(answer.rows) > limit:
        console.print(f"... and {len(answer.rows) - limit} more (--limit N, or --out FILE.csv for all)")


def _cell(value: Cell) -> str:
    """The value in few characters."""
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else " ".join(str(value).split())
