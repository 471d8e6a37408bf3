"""Small files of records, and data modules opened without a trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lit_curriculum.data.datamodule import InstructionDataModule


def write_records(path: Path, count: int, word: str = "Ask") -> str:
    """Write ``count`` records and return the path as the option takes it."""
    rows = [{"instruction": f"{word} {n}", "output": "yes " * (n % 4 + 1), "id": f"{word}{n}"} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def opened(**arguments: Any) -> InstructionDataModule:
    """A data module, prepared and set up."""
    module = InstructionDataModule(**arguments)
    module.prepare_data()
    module.setup("fit")
    return module
