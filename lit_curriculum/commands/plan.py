"""``lit-curriculum plan``: what a run would do and cost, from its configuration, before any weight is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lit_curriculum.callbacks.checks import check_trainer, curriculum_data
from lit_curriculum.callbacks.preparer import StagePreparer
from lit_curriculum.commands.configured import (
    MakeCLI,
    check_scores,
    curriculum_of,
    own_options,
    training_examples,
)
from lit_curriculum.commands.forecast import Forecast, StageForecast
from lit_curriculum.commands.plan_text import show_plan
from lit_curriculum.commands.plan_warnings import warnings_of
from lit_curriculum.curriculum.horizon import horizon_steps, stage_steps
from lit_curriculum.difficulty.score_store import read_scores
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.footprint import Footprint, footprint
from lit_curriculum.models.optimization import fix_horizon
from lit_curriculum.types import CONDITIONED, ExampleStore

Facts = dict[str, Any]
_MANY = 100_000  # examples above which stages are played only where that is asked for


def plan_command(make_cli: MakeCLI, args: Sequence[str]) -> None:
    """Print the plan of a run and write it to ``--out``; refuse what the run would refuse.

    Raises:
        ValueError: an option does not fit the data, the model or another option.
        MisconfigurationException: a flag of the Trainer would have something else trained on than is planned.
    """
    parser = own_options("plan", "Say what a run would do and cost, before any weight is read.")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write the plan to")
    parser.add_argument("--scores", type=Path, default=None, help="DIR/scores.parquet of lit-curriculum score")
    parser.add_argument("--simulate", choices=("auto", "yes", "no"), default="auto",
                        help=f"play the stages with made-up scores; auto does up to {_MANY} examples")  # fmt: skip
    own, rest = parser.parse_known_args(list(args))
    if not torch.cuda.is_available():
        rest.append("--trainer.accelerator=cpu")  # a plan for another machine: nothing is run here
    cli = make_cli(rest, False)
    facts = make_plan(cli.trainer, cli.model, cli.datamodule, own.scores, own.simulate)
    if own.out is not None:
        own.out.parent.mkdir(parents=True, exist_ok=True)
        own.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    show_plan(facts)


def make_plan(
    trainer: Trainer, module: LightningModule, data: Any, scores: Path | None = None, simulate: str = "auto"
) -> Facts:
    """All that can be known of a run before it; the keys are those of the JSON file.

    Args:
        trainer: The configured trainer; nothing is run with it.
        module: The module; it is given no weights.
        data: The data module; it is set up.
        scores: Scores that are known, in the place of made-up ones.
        simulate: ``yes``, ``no`` or ``auto``.

    Raises:
        ValueError: an option does not fit the data, the model or another option.
        MisconfigurationException: a flag of the Trainer would have something else trained on than is planned.
    """
    check_trainer(trainer)
    assert trainer.max_epochs is not None
    stored = None if scores is None else read_scores(scores)
    store = training_examples(trainer, module, data)
    module.setup("fit")
    curriculum, sampler = curriculum_of(trainer), curriculum_data(trainer).sampler
    if stored is not None:
        check_scores(stored, {n: m.formula for n, m in curriculum.metrics.items()}, store)
    curriculum.policy.setup(store, trainer.max_epochs)
    sizes = list(curriculum.policy.stage_sizes(len(store), trainer.max_epochs))
    steps_of = partial(stage_steps, batch_size=sampler.batch_size, accumulate=trainer.accumulate_grad_batches)
    steps = [steps_of(size) for size in sizes]
    horizon = horizon_steps(sizes, sampler.batch_size, trainer.accumulate_grad_batches, trainer.max_steps)
    forecast = Forecast(curriculum, store, trainer.max_epochs, stored)
    played: list[StageForecast] = []
    stopped = None
    if simulate == "yes" or (simulate == "auto" and len(store) <= _MANY):
        try:
            played = forecast.run()
        except ValueError as error:
            if not forecast.made_up:
                raise
            stopped = str(error)
    facts: Facts = {
        "data": _data_facts(data, store),
        "policy": type(curriculum.policy).__name__,
        "metrics": {n: m.formula for n, m in curriculum.metrics.items()},
        "made_up_scores": forecast.made_up,
        "batch_size": sampler.batch_size,
        "ranks": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "stages": [
            {"stage": s, "examples": size, "steps": n, **_played(played, s, store, steps_of)}
            for s, (size, n) in enumerate(zip(sizes, steps, strict=True))
        ],
        "examples": sum(sizes),
        "steps": horizon,
        "simulated": bool(played),
        "simulation_stopped": stopped,
        "sizes_depend_on_scores": bool(played) and [len(p.plan) for p in played] != sizes,
        "data_grow": any(isinstance(c, StagePreparer) for c in trainer.callbacks),  # type: ignore[attr-defined]
        "max_steps": None if trainer.max_steps < 0 else trainer.max_steps,
    }
    if isinstance(module, CausalLMModule):
        found = footprint(module, str(trainer.precision))
        _check_schedule(module, horizon)
        facts |= _costs(found, module, trainer, store, facts["stages"], sizes)
    facts["warnings"] = warnings_of(facts, store)
    return facts


def _data_facts(data: Any, store: ExampleStore) -> Facts:
    tokens, scored = store.lengths(CONDITIONED), store.num_scored(CONDITIONED)
    problems = getattr(data, "problems", None)
    return {
        "examples": len(store),
        "validation": len(getattr(data, "val_store", None) or ()),
        "read": getattr(problems, "num_read", None),
        "problems": dict(getattr(problems, "counts", {})),
        "dropped": sum(p.action == "skip" for p in getattr(problems, "problems", ())),
        "truncated": sum(p.action == "truncate" for p in getattr(problems, "problems", ())),
        "summary": None if problems is None else problems.summary(),
        "tokens": int(tokens.sum()),
        "response_tokens": int(scored.sum()),
        "median_tokens": float(np.median(tokens)),
        "longest": int(tokens.max()),
        "without_scored_token": int((scored == 0).sum()),
    }


def _played(played: Sequence[StageForecast], stage: int, store: ExampleStore, steps_of: Callable[[int], int]) -> Facts:
    """What a made-up run had in a stage, where it came so far."""
    if stage >= len(played):
        return {}
    now = played[stage]
    indices = now.plan.indices
    return {
        "simulated_examples": len(indices),
        "simulated_steps": steps_of(len(indices)),
        "distinct": len(np.unique(indices)),
        "tokens": int(store.lengths(CONDITIONED)[indices].sum()),
        "response_tokens": int(store.num_scored(CONDITIONED)[indices].sum()),
        "candidates": len(now.candidates),
        "tokens_to_score": now.tokens_to_score,
        "positions_to_score": now.positions_to_score,
        "learned_tokens": now.learned_tokens,
    }


def _costs(
    found: Footprint, module: CausalLMModule, trainer: Trainer, store: ExampleStore, stages: Sequence[Facts],
    sizes: Sequence[int],
) -> Facts:  # fmt: skip
    """Operations and memory; a stage that was not played is taken to hold average examples."""
    tokens, scored = store.lengths(CONDITIONED), store.num_scored(CONDITIONED)
    known = [s for s in stages if "tokens" in s]
    rest = sum(sizes[len(known) :])
    trained = sum(s["tokens"] for s in known) + round(rest * float(tokens.mean()))
    positions = sum(s["response_tokens"] for s in known) + round(rest * float(scored.mean()))
    to_score = sum(s["tokens_to_score"] + s["learned_tokens"] for s in known)
    scored_positions = sum(s["positions_to_score"] for s in known)
    rows = -(-curriculum_data(trainer).sampler.batch_size // trainer.world_size)
    memory = found.memory(rows, int(tokens.max()), rows * int(scored.max()), module.execution_options.loss_chunk)
    training, scoring = found.training_flops(trained, positions), found.forward_flops(to_score, scored_positions)
    return {
        "model": {
            "parameters": found.total, "trained_parameters": found.trained, "body": found.body, "head": found.head,
            "optimizer_moments": found.moments,
        },
        "cost": {
            "training_tokens": trained, "training_response_tokens": positions, "training_flops": training,
            "scoring_tokens": to_score if known else None, "scoring_flops": scoring if known else None,
            "scoring_share": scoring / training if known and training else None,
        },
        "memory_bytes": memory,
        "memory_available": _available(),
    }  # fmt: skip


def _available() -> int | None:
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _check_schedule(module: CausalLMModule, horizon: int) -> None:
    """Have the schedule refuse a horizon that it would refuse in the run."""
    if module.lr_schedule is not None:
        schedule = module.lr_schedule(module.optimizer([{"params": [nn.Parameter(torch.zeros(1))]}]))
        if hasattr(schedule, "set_horizon"):
            fix_horizon(schedule, horizon)
