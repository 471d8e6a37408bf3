"""The figures of a comparison of baselines are made of its file of results alone."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.baselines import figure


def test_each_kind_of_method_with_rows_gets_a_figure(tmp_path: Path) -> None:
    rows = [
        {"name": "b minus random order: held-out loss", "value": 0.4, "low": 0.3, "high": 0.5, "unit": "nats", "n": 2},
        {"name": "a minus random order: held-out loss", "value": 0.1, "low": -0.1, "high": 0.3, "unit": "nats", "n": 2},
    ]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    assert figure.draw(tmp_path) == [tmp_path / "ordering.png"]
    assert (tmp_path / "ordering.png").stat().st_size > 1000
