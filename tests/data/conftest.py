"""Fixtures of the data modules under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.toy_files import write_records
from tests.data.toy_tokenizers import byte_level


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    folder = tmp_path / "tokenizer"
    byte_level().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def data(tmp_path: Path, tokenizer: str) -> dict[str, Any]:
    """Arguments of a data module over twelve examples."""
    path = write_records(tmp_path / "train.jsonl", 12)
    return {"path": path, "tokenizer": tokenizer, "max_length": 100, "cache_dir": str(tmp_path / "cache")}
