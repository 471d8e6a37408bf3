"""The plan of a run as tables on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    if facts["made_up_scores"] and facts["simulated"]:
        names = ", ".join(facts["made_up_scores"])
        console.print(Text(f"the stages were played with made-up scores of {names}"), soft_wrap=True)


def _totals(stages: list[dict[str, Any]]) -> list[str]:
    if any("tokens" not in s for s in stages):
        return ["?", "?"]
    return [str(sum(s[k] for s in stages)) for k in ("tokens_to_score", "tokens")]


def _cost(console: Console, facts: dict[str, Any]) -> None:
    model, cost, memory = facts["model"], facts["cost"], facts["memory_bytes"]
    passes = "6ND" if model["parameters"] == model["trained_parameters"] else "4ND (adapter)"
    scoring = "scoring: not counted (--simulate yes plays the stages)"
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
