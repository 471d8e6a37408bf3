"""The figure of a schedule trace."""

from __future__ import annotations

from pathlib import Path

from lit_curriculum.methods.campus.trace import schedule_trace
from lit_curriculum.report import figures


def test_every_taught_band_has_a_dot_even_where_nothing_was_measured(tmp_path: Path) -> None:
    nan = float("nan")
    figure, axes = figures.plt.subplots()
    schedule_trace(axes, {"length": [3.0, 2.0, nan], "loss": [nan, nan, nan]}, ["length", "loss", "loss"])
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [1, 2]  # type: ignore[arg-type]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["length: 1", "loss: 2"]
    figures.save(figure, tmp_path / "trace.png")
    assert (tmp_path / "trace.png").stat().st_size > 1000
