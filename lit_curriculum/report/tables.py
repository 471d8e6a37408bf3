"""Tables as HTML, CSV and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text; numbers are formatted by the caller."""

    name: str
    """Name of its files."""
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """What has to be known to read it; one or two sentences."""

    def write(self, folder: Path, prefix: str = "") -> None:
        """``<prefix><name>.csv`` and ``<prefix><name>.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{prefix}{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.columns, *self.rows])
        (folder / f"{prefix}{self.name}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """As a Markdown table under its title; bars inside cells are escaped."""
        lines = [f"### {self.title}", ""] + ([self.note, ""] if self.note else [])
        table = [list(self.columns), ["---"] * len(self.columns), *[list(r) for r in self.rows]]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
        return "\n".join(lines) + "\n"
