"""The layers of yaml files under which each configuration is run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from lit_curriculum.report.ledger import Ledger

CONFIGS = Path(__file__).parents[2] / "configs"


def layers(model: str, data: str, curriculum: str, *last: str) -> list[str]:
    names = ["base", f"model/{model}", f"data/{data}", f"curriculum/{curriculum}", *last]
    return [f"--config={CONFIGS / name}.yaml" for name in names]


def check_plan(plan: dict[str, Any], ledger: Ledger) -> None:
    """The stages and steps that were planned are those that the run had, or the plan says that scores decide."""
    there = [ledger.planned_info(s)["selected"] for s in ledger.stages]
    ends = [ledger.trained_info(s)["last_step"] for s in ledger.stages]
    steps = [b - a for a, b in itertools.pairwise([0, *ends])]
    if not plan["sizes_depend_on_scores"]:
        assert [s["examples"] for s in plan["stages"]] == there
        assert [s["steps"] for s in plan["stages"]] == steps
        assert plan["steps"] == ends[-1]
    elif not plan["simulated_scores"]:
        assert [s["simulated_examples"] for s in plan["stages"]] == there
        assert [s["simulated_steps"] for s in plan["stages"]] == steps
    first = plan["stages"][0]
    assert first["tokens_to_score"] == ledger.planned_info(0)["scored_tokens"]
    assert first["candidates"] == ledger.planned_info(0)["candidates"]
    if not plan["simulated_scores"]:
        assert [s["tokens"] for s in plan["stages"]] == [ledger.trained_info(s)["tokens"] for s in ledger.stages]
