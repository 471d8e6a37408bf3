"""Figures, report and event files of a study with planted truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lit_curriculum.methods.doit.command import write_events
from lit_curriculum.methods.doit.growth_report import (
    growth_curve,
    report_text,
    sensitivity_forest,
    transfer_figure,
    write_report,
)
from lit_curriculum.methods.doit.study.findings import Findings, find
from lit_curriculum.methods.doit.study.growth_records import GrowthRecord
from lit_curriculum.report.figures import BLUE, GREY, mixture_figure
from tests.methods.doit.contrast_toys import of
from tests.methods.doit.transfer_studies import study as transfer_study


def records() -> list[GrowthRecord]:
    """Ability a grows in both sizes and less in the synthetic arm; a and b were also trained on alone."""
    found = of("curated", "small", 1e6, 0.1, 0.2) + of("curated", "large", 4e6, 0.05, 0.4)
    found += of("synthetic", "small", 1e6, 0.018, 0.2)
    alone = [replace(r, params=1e6, size="small", cell=f"{r.arm}-{r.rung}-{r.seed}") for r in transfer_study()]
    return found + [r for r in alone if r.arm.startswith("alone")]


@pytest.fixture(scope="module")
def found() -> Findings:
    return find(records(), num_resamples=100)


def test_a_curve_shows_raw_means_the_fit_and_the_level_of_guessing(found: Findings) -> None:
    axes = Figure().subplots()
    fits = [{**a.to_json(), "chance": 0.25} for a in found.curves]
    growth_curve(axes, fits, smooth=0.8)
    points = {c.get_label(): c.lines[0] for c in axes.containers}
    assert set(points) == {"curated, small", "curated, large", "synthetic, small"}
    small = next(f for f in fits if (f["arm"], f["size"]) == ("curated", "small"))
    assert points["curated, small"].get_ydata() == pytest.approx([m["value"] for m in small["means"]])
    assert points["curated, small"].get_xdata() == pytest.approx(np.arange(6))  # log4 of 1, 4, ..., 1024
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "4", "16", "64", "256", "1024"]
    styles = {line.get_linestyle() for line in axes.lines if len(line.get_xdata()) == 17}
    assert styles == {"-", "--"}  # synthetic is dashed
    assert sum(list(line.get_ydata()) == [0.25, 0.25] for line in axes.lines) == 3
    assert sum("smoothed by 0.8 rungs" in str(line.get_label()) for line in axes.lines) == 3


def test_the_forest_is_sorted_and_coloured_by_class(found: Findings) -> None:
    axes = Figure().subplots()
    fits, sizes = [a.to_json() for a in found.curves], found.to_json()["sizes"]
    sensitivity_forest(axes, fits, sizes)
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names[:3] == [
        "a (synthetic, small): undetermined", "a (curated, large): responsive", "a (curated, small): responsive"
    ]  # fmt: skip
    assert names[3].startswith("a (curated), by size: ")
    dots = [line for line in axes.lines if line.get_marker() in "os" and len(np.atleast_1d(line.get_xdata())) == 1]
    assert [to_hex(d.get_color()).upper() for d in dots[:3]] == [GREY, BLUE, BLUE]
    assert [d.get_marker() for d in dots] == ["o", "o", "o", "s"]


def test_the_heat_map_writes_every_number_and_marks_the_sure_ones(found: Findings) -> None:
    transfer = found.to_json()["transfer"]
    texts = transfer_figure(transfer).axes[0].texts
    assert [t.get_text() for t in texts] == [f"{e['value']:.3f}" for row in transfer["matrix"] for e in row]
    assert [t.get_fontweight() for t in texts] == ["bold", "bold", "normal", "bold"]


def test_the_report_says_all_that_was_found(found: Findings, tmp_path: Path) -> None:
    fits, findings = [a.to_json() for a in found.curves], found.to_json()
    text = report_text(fits, findings)
    assert "| a | curated | small | responsive | 0.100 [" in text
    assert "Gain per doubling of parameters:\n\n- a (curated): " in text
    assert "Curated less synthetic, mean over shared rungs:\n\n- a (small): 0.20" in text
    assert "- a (curated, small) passes a (curated, large) at " in text
    assert "1 of 3 curves are undetermined: a" in text
    write_report(tmp_path, [], fits, findings, smooth=0.8)
    for name in ("curves.svg", "sensitivity.svg", "transfer.svg", "report.md", "classes.md"):
        assert (tmp_path / name).stat().st_size > 300
    few = report_text([{**fits[0], "num_items": 100, "num_seeds": 1}], findings)
    assert "fewer than 200 items" in few
    assert "one seed, so the intervals" in few


def test_event_files_hold_every_tag_of_the_study(found: Findings, tmp_path: Path) -> None:
    fits, findings = [a.to_json() for a in found.curves], found.to_json()
    write_events(tmp_path, records(), fits, findings)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert set(events.Tags()["images"]) == {"growth/curves/a", "growth/sensitivity", "growth/transfer"}
    assert all(events.Images(tag)[0].width > 300 for tag in events.Tags()["images"])
    text = events.Tensors("growth/report/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == report_text(fits, findings)
    num_cells = len({r.cell for r in records()})
    for fit in fits:
        run = EventAccumulator(str(tmp_path / f"{fit['arm']}-{fit['size']}")).Reload()
        for name, value in (("slope", "value"), ("slope_lo", "low"), ("slope_hi", "high")):
            (event,) = run.Scalars(f"growth/a/{name}")
            assert (event.step, event.value) == (num_cells, pytest.approx(fit["slope"][value], abs=1e-6))
        assert ("growth/a/n_sat" in run.Tags()["scalars"]) == (fit["saturation_rows"] is not None)
    cell = EventAccumulator(str(tmp_path / "cells" / "curated-large-16-1")).Reload()
    content = cell.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert (found["size"].string_value, found["seed"].number_value, found["total"].number_value) == ("large", 1.0, 16.0)
    assert cell.Scalars("growth/test/overall_all")[0].value == pytest.approx(0.5, abs=2e-3)


def test_a_saturation_point_is_written_where_there_is_one(found: Findings, tmp_path: Path) -> None:
    fits = [{**a.to_json(), "saturation_rows": 99.0} for a in found.curves]
    write_events(tmp_path, records(), fits, found.to_json())
    run = EventAccumulator(str(tmp_path / "curated-small")).Reload()
    assert run.Scalars("growth/a/n_sat")[0].value == 99.0


def test_a_mixture_is_stacked_over_stages() -> None:
    axes = mixture_figure([{"a": 1.0}, {"a": 0.25, "b": 0.75}]).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 1.0
