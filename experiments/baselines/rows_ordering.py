"""Rows of methods that order, pace, weigh or mix all data; all train on four passes' worth of examples."""

from __future__ import annotations

import json
from typing import Any

from experiments.baselines.method import RANDOM, Method


def _row(name: str, config: str, stages: int | None = None, **options: Any) -> Method:
    """A row that changes options of the policy, each by its own name."""
    dotted = {f"policy.init_args.{option}": value for option, value in options.items()}
    return Method(name=name, config=config, family="ordering", stages=stages, options=dotted)


_WARMUP = {
    "class_path": "lit_curriculum.SequenceLengthWarmup",
    "init_args": {"initial_length": 24, "final_length": 64, "duration": 0.3},
}

ROWS: tuple[Method, ...] = (
    Method(name=RANDOM["ordering"], config="uniform", family="ordering"),
    _row("easy to hard by length (sorting)", "easy_to_hard"),
    _row("hard to easy by length", "easy_to_hard", direction="hard_to_easy"),
    _row("easy to hard by loss, re-scored", "easy_to_hard", metric="loss", rescore="each_stage"),
    _row("folding", "folding"),
    _row("zigzag", "zigzag"),
    _row("segments", "segment"),
    _row("stair", "stair"),
    _row("saw", "saw"),
    _row("interleaved abilities", "interleaved"),
    _row("abilities in blocks", "interleaved", grouping="blocked"),
    _row("one pass", "one_pass", 12, budget_passes=4.0),
    _row("baby steps", "baby_steps", 6, budget_passes=4.0),
    _row("phases", "phases", 12, stages_per_band=4),
    _row("sigmoid window", "sigmoid_window", 20),
    _row("competence", "competence"),
    _row("self-paced", "self_paced"),
    _row("InfoBatch", "infobatch", 9, budget_passes=4.0),
    _row("selective backpropagation", "selective_backprop", 9, budget_passes=4.0),
    _row("SuperLoss", "super_loss"),
    _row("weights by loss, linupper", "loss_weights"),
    _row("RHO-LOSS", "rho_loss", 16, fraction=0.25),
    Method(name="length warm-up", config="length_warmup", family="ordering",
           arguments=(f"--trainer.callbacks={json.dumps([_WARMUP])}",)),
    _row("sources at temperature 2", "temperature_mixture"),
    _row("DoReMi", "doremi", 16, fraction=0.25),
    _row("Skill-It", "skill_it", 16, fraction=0.25),
)  # fmt: skip
