"""Every test of a command has a separate shared cache."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the commands take for the user's cache."""
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "common"))
    return tmp_path / "common"
