"""The event file of CAMPUS's demo holds every tag that a reader of the run needs, and the trace as an image."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.demo import run as demo
from lit_curriculum import DifficultyTable, ScheduleTrace, StageReport, UniformPolicy
from lit_curriculum.types import Plan
from tests.conftest import ListStore

VIEWS = ("length", "mtld", "loss", "scorer")


@pytest.mark.slow
def test_the_demo_writes_every_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo", "--method", "campus", "--quick", "--out", str(tmp_path)])
    demo.main()
    (folder,) = tmp_path.glob("version_*")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    wanted = {f"{name}/{view}" for name in ("clock", "scope", "band_size", "staleness", "perplexity") for view in VIEWS}
    wanted |= {f"rank_correlation/{a}~{b}" for a, b in combinations(VIEWS, 2)}
    wanted |= {"chosen", "band_size", "trained_examples", "budget_examples", "scorer/agreement", "learning_seconds"}
    wanted |= {"selected", "overlap", "candidates", "scored_tokens", "refresh_seconds"}
    assert {f"curriculum/{name}" for name in wanted} <= set(tags["scalars"])
    assert {"train/loss", "val/loss", "val/accuracy", "lr-AdamW"} <= {t.split("/pg")[0] for t in tags["scalars"]}
    assert {f"difficulty/{v}" for v in VIEWS} | {f"difficulty_selected/{v}" for v in VIEWS} <= set(tags["histograms"])
    trace = json.loads((tmp_path / "schedule_trace.json").read_text())
    chosen = [VIEWS[int(e.value)] for e in events.Scalars("curriculum/chosen")]
    assert trace["chosen"] == chosen
    assert len(chosen) > 2
    for view in VIEWS:
        logged = [e.value for e in events.Scalars(f"curriculum/perplexity/{view}")]
        drawn = [v for v in trace["perplexities"][view] if v == v]
        assert logged == pytest.approx(drawn, rel=1e-6)
    image = events.Images("curriculum/schedule_trace")[-1]
    assert image.step == len(chosen) - 1
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > 400
    assert (tmp_path / "schedule_trace.png").stat().st_size > 1000


def test_a_restored_trace_goes_on_and_other_policies_leave_none() -> None:
    trace = ScheduleTrace()
    trace.chosen, trace.perplexities = ["a", "b"], {"a": [1.0, 2.0], "b": [3.0, float("nan")]}
    again = ScheduleTrace()
    again.load_state_dict(trace.state_dict())
    trace.chosen.append("b")
    assert again.chosen == ["a", "b"]
    assert list(again.perplexities) == ["a", "b"]


def test_a_plan_without_schedules_is_not_kept() -> None:
    trace = ScheduleTrace()
    table = DifficultyTable(2, ["loss"])
    plan = Plan(indices=np.arange(2), scalars={"threshold": 1.0})
    report = StageReport(
        stage=0, plan=plan, previous=None, store=ListStore([]), table=table, candidates=np.arange(0),
        scoring_seconds=0.0, selecting_seconds=0.0, scored_tokens=0, policy=UniformPolicy(), metrics={}, formulas={},
    )  # fmt: skip
    trace.on_stage_planned(Trainer(logger=False, enable_checkpointing=False), report)
    assert trace.chosen == []
    assert trace.perplexities == {}
