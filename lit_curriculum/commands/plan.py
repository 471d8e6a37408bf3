"""``lit-curriculum plan``: what a run would do and cost, without reading weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from lit_curriculum.commands.forecast import Forecast, StageForecast
from lit_curriculum.commands.run import CurriculumCLI, curriculum_of, training_examples
from lit_curriculum.difficulty.score_store import read_scores
from lit_curriculum.loop.checks import check_trainer, curriculum_data
from lit_curriculum.loop.hooks import StagePreparer
from lit_curriculum.loop.planner import stage_steps
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.execution.modes import LOSS_CHUNK
from lit_curriculum.models.footprint import Footprint, footprint
from lit_curriculum.models.optimization import fix_horizon
from lit_curriculum.types import CONDITIONED, ExampleStore
from lit_curriculum.utils.command_parser import CommandParser
from lit_curriculum.utils.files import write_atomic

_MANY_CUT = 0.5


def warnings_of(facts: dict[str, Any], store: ExampleStore) -> list[str]:
    """Warnings about a planned run, a sentence each.

    Args:
        facts: The plan.
        store: The data.
    """
    found: list[str] = []
    data, stages, batch = facts["data"], facts["stages"], facts["batch_size"]
    small = [s for s in stages if s.get("simulated_examples", s["examples"]) < batch]
    if small:
        found.append(
            f"{_count(len(small), 'stage')} of {len(stages)} {_are(len(small))} smaller than one batch of {batch} "
            f"(first stage {small[0]['stage']} with {small[0].get('simulated_examples', small[0]['examples'])} "
            "examples), so a step there sees fewer examples than elsewhere; raise the stage's size or lower "
            "data.batch_size."
        )
    group = facts["accumulate_grad_batches"]
    if group > 1 and any(s["examples"] < batch * group for s in stages):
        found.append(
            f"some stages hold fewer than trainer.accumulate_grad_batches={group} batches of {batch}, and a step never "
            "spans two stages, so their last steps see fewer examples."
        )
    cut = data["truncated"]
    if cut and cut >= _MANY_CUT * len(store):
        what = "every response is" if cut >= len(store) else f"{cut} of {len(store)} responses are"
        found.append(f"{what} cut at data.max_length, so the model never sees how they end; raise it.")
    if data["without_scored_token"]:
        found.append(f"{data['without_scored_token']} examples have no scored token and cannot be scored by a model.")
    if data["dropped"]:
        found.append(f"{_count(data['dropped'], 'record')} {_are(data['dropped'])} left out: {data['summary']}")
    if facts["sizes_depend_on_scores"]:
        found_sizes = [s["simulated_examples"] for s in stages if "simulated_examples" in s]
        found.append(
            f"sizes of stages depend on scores: simulated, the stages held {_brief(found_sizes)} examples; the "
            f"learning-rate horizon follows the planned {facts['examples']}."
        )
    if facts["simulation_stopped"]:
        found.append(f"with simulated scores the run stopped: {facts['simulation_stopped']}")
    if facts["data_grow"]:
        found.append("the data grow during the run; rows that are written then, and what they cost, are not planned.")
    limit = facts["max_steps"]
    if limit is not None and limit < sum(s["steps"] for s in stages):
        found.append(
            f"trainer.max_steps={limit} ends the run before its {len(stages)} stages are over "
            f"({sum(s['steps'] for s in stages)} steps)."
        )
    share = facts.get("cost", {}).get("scoring_share")
    if share is not None and share > 1.0:
        found.append(f"scoring costs {share:.1f} times what training does; score fewer candidates or less often.")
    memory, there = sum(facts.get("memory_bytes", {}).values()), facts.get("memory_available")
    if there is not None and memory > there:
        found.append(
            f"a step needs about {memory / 2**30:.1f} GiB on a device, which has {there / 2**30:.1f} GiB; lower "
            "data.batch_size or data.max_length, or set model.gradient_checkpointing, model.lora or model.dtype."
        )
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _brief(numbers: list[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:8])
    return shown if len(numbers) <= 8 else f"{shown}, ... ({len(numbers)} stages, {sum(numbers)} in all)"


_SHOWN = 12  # stages at most; the file has all


def show_plan(facts: dict[str, Any]) -> None:
    """Print data, stages, cost, memory and warnings."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    data = facts["data"]
    metrics = ", ".join(f"{name} ({formula})" for name, formula in facts["metrics"].items())
    lines = [
        f"data: {data['examples']} examples to train on, {data['validation']} to validate on; {data['tokens']:,} "
        f"tokens, {data['response_tokens']:,} of them in responses; median {data['median_tokens']:.0f}, longest "
        f"{data['longest']}",
        *([data["summary"]] if data["summary"] else []),
        f"curriculum: {facts['policy']}, metrics: {metrics or 'none'}",
        f"steps: {facts['steps']}, the horizon of the learning-rate schedule; {facts['batch_size']} examples a batch "
        f"over {facts['ranks']} rank(s), {facts['accumulate_grad_batches']} batch(es) a step",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    _stages(console, facts)
    if "cost" in facts:
        _cost(console, facts)
    else:
        console.print("model: operations and memory are known of CausalLMModule only")
    for sentence in facts["warnings"]:
        console.print(Text(f"warning: {sentence}"), soft_wrap=True)
    if not facts["warnings"]:
        console.print("no warnings")


def _stages(console: Console, facts: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "examples", "steps", "scored for it", "tokens to score", "tokens to train on"):
        table.add_column(name, justify="right")
    stages = facts["stages"]
    for s in stages[:_SHOWN]:
        known = [str(s.get(k, "?")) for k in ("candidates", "tokens_to_score", "tokens")]
        table.add_row(str(s["stage"]), str(s["examples"]), str(s["steps"]), *known)
    table.add_row("all", str(facts["examples"]), str(facts["steps"]), "", *_totals(stages))
    console.print(table)
    if len(stages) > _SHOWN:
        console.print(f"({len(stages) - _SHOWN} more stages; --out FILE.json has all)")
    if facts["simulated_scores"] and facts["simulated"]:
        names = ", ".join(facts["simulated_scores"])
        console.print(Text(f"the stages were simulated with random scores of {names}"), soft_wrap=True)


def _totals(stages: list[dict[str, Any]]) -> list[str]:
    if any("tokens" not in s for s in stages):
        return ["?", "?"]
    return [str(sum(s[k] for s in stages)) for k in ("tokens_to_score", "tokens")]


def _cost(console: Console, facts: dict[str, Any]) -> None:
    model, cost, memory = facts["model"], facts["cost"], facts["memory_bytes"]
    passes = "6ND" if model["parameters"] == model["trained_parameters"] else "4ND (adapter)"
    scoring = "scoring: not counted (--simulate yes simulates the stages)"
    if cost["scoring_tokens"] is not None:
        share = 100 * (cost["scoring_share"] or 0.0)
        scoring = (
            f"scoring: at most {cost['scoring_tokens']:,} tokens, {cost['scoring_flops']:.3g} operations (2ND), "
            f"{share:.1f} % of training"
        )
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in memory.items())
    lines = [
        f"model: {model['parameters']:,} parameters, {model['trained_parameters']:,} trained; N = {model['body']:,} "
        f"without embeddings, output head {model['head']:,}",
        f"training: {cost['training_tokens']:,} tokens, {cost['training_flops']:.3g} operations ({passes}, the head on "
        "responses)",
        scoring,
        f"memory of a training step on a device, roughly: {_bytes(sum(memory.values()))} ({parts})",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _bytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"


Facts = dict[str, Any]
_MANY = 100_000  # examples above which stages are simulated only with --simulate yes


def plan_command(args: Sequence[str]) -> None:
    """``lit-curriculum plan``: print the plan of a run and write it to ``--out``; fails for the reasons a run would.

    Raises:
        ValueError: an option does not fit the data, the model or another option.
        MisconfigurationException: a flag of the Trainer would have something else trained on than is planned.
    """
    parser = CommandParser("plan", "Show what a run would do and cost, without reading weights.", takes_run=True)
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write the plan to")
    parser.add_argument("--scores", type=Path, default=None, help="DIR/scores.parquet of lit-curriculum score")
    parser.add_argument("--simulate", choices=("auto", "yes", "no"), default="auto",
                        help=f"simulate the stages with random scores; auto does up to {_MANY} examples")  # fmt: skip
    own, rest = parser.parse_with_run(args)
    if not torch.cuda.is_available():
        rest.append("--trainer.accelerator=cpu")  # a plan for another machine: nothing is run here
    cli = CurriculumCLI(rest, run=False)
    facts = make_plan(cli.trainer, cli.model, cli.datamodule, own.scores, own.simulate)
    if own.out is not None:
        write_atomic(own.out, json.dumps(facts, indent=1) + "\n")
    show_plan(facts)


def make_plan(
    trainer: Trainer, module: LightningModule, data: Any, scores: Path | None = None, simulate: str = "auto"
) -> Facts:
    """Everything that is known of a run before it starts, as in the JSON file.

    Args:
        trainer: The configured trainer; nothing is run with it.
        module: The module; it is given no weights.
        data: The data module; it is set up.
        scores: Known scores, used instead of simulated ones.
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
        stored.check_run({n: m.formula for n, m in curriculum.metrics.items()}, store)
    planner = curriculum.planner
    planner.setup(store, trainer.max_epochs, sampler)
    sizes = list(curriculum.policy.stage_sizes(len(store), trainer.max_epochs))
    steps_of = partial(stage_steps, batch_size=sampler.batch_size, accumulate=trainer.accumulate_grad_batches)
    steps = [steps_of(size) for size in sizes]
    horizon = planner.num_steps(trainer.accumulate_grad_batches, trainer.max_steps)
    forecast = Forecast(planner, store, trainer.max_epochs, stored)
    forecasts: list[StageForecast] = []
    stopped = None
    if simulate == "yes" or (simulate == "auto" and len(store) <= _MANY):
        try:
            forecasts = forecast.run()
        except ValueError as error:
            if not forecast.simulated:
                raise
            stopped = str(error)
    facts: Facts = {
        "data": _data_facts(data, store),
        "policy": type(curriculum.policy).__name__,
        "metrics": {n: m.formula for n, m in curriculum.metrics.items()},
        "simulated_scores": forecast.simulated,
        "batch_size": sampler.batch_size,
        "ranks": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "stages": [
            {"stage": s, "examples": size, "steps": n, **simulated(forecasts, s, store, steps_of)}
            for s, (size, n) in enumerate(zip(sizes, steps, strict=True))
        ],
        "examples": sum(sizes),
        "steps": horizon,
        "simulated": bool(forecasts),
        "simulation_stopped": stopped,
        "sizes_depend_on_scores": bool(forecasts) and [len(f.plan) for f in forecasts] != sizes,
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


def simulated(
    forecasts: Sequence[StageForecast], stage: int, store: ExampleStore, steps_of: Callable[[int], int]
) -> Facts:
    """Facts of a simulated stage; none where the simulation did not reach it."""
    if stage >= len(forecasts):
        return {}
    now = forecasts[stage]
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
    """Operations and memory; a stage that was not simulated counts as average examples."""
    tokens, scored = store.lengths(CONDITIONED), store.num_scored(CONDITIONED)
    known = [s for s in stages if "tokens" in s]
    rest = sum(sizes[len(known) :])
    trained = sum(s["tokens"] for s in known) + round(rest * float(tokens.mean()))
    positions = sum(s["response_tokens"] for s in known) + round(rest * float(scored.mean()))
    to_score = sum(s["tokens_to_score"] + s["learned_tokens"] for s in known)
    scored_positions = sum(s["positions_to_score"] for s in known)
    rows = -(-curriculum_data(trainer).sampler.batch_size // trainer.world_size)
    memory = found.memory(rows, int(tokens.max()), rows * int(scored.max()), LOSS_CHUNK)
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
    """Raise what the schedule would raise for this horizon in the run."""
    if module.lr_schedule is not None:
        schedule = module.lr_schedule(module.optimizer([{"params": [nn.Parameter(torch.zeros(1))]}]))
        if hasattr(schedule, "set_horizon"):
            fix_horizon(schedule, horizon)
