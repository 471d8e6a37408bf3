"""What is allowed and rarely meant, found in a plan before it costs anything."""

from __future__ import annotations

from typing import Any

from lit_curriculum.types import ExampleStore

_MANY_CUT = 0.5


def warnings_of(facts: dict[str, Any], store: ExampleStore) -> list[str]:
    """A sentence for each thing that a person would want to know before the run.

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
        played = [s["simulated_examples"] for s in stages if "simulated_examples" in s]
        found.append(
            f"stages need not hold what is planned: played, they held {_brief(played)} examples; the learning-rate "
            f"horizon follows the planned {facts['examples']}."
        )
    if facts["simulation_stopped"]:
        found.append(f"with made-up scores the run stopped: {facts['simulation_stopped']}")
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
