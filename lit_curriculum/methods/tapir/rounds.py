"""Steps between two rounds of TAPIR: classify, refine, and write new instructions from hard ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lit_curriculum.chat.client import UsageByRole
from lit_curriculum.methods.tapir.policy import OTHER_TASK, Pools, TapirPolicy, allocate, draw_rows, largest_remainders
from lit_curriculum.methods.tapir.roles import (
    ChatClient,
    Expander,
    NewInstruction,
    PairJudge,
    ProvenanceRow,
    Refiner,
    TaskClassifier,
    TaskItem,
    Teacher,
    Usage,
)
from lit_curriculum.methods.tapir.teacher.prompting import Prompt
from lit_curriculum.types import Example, ExampleStore, IntArray, make_generator

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
"""Times that missing instructions are asked for, from other seeds each time."""


@dataclass(slots=True, kw_only=True)
class Roles:
    """The models or rules that play TAPIR's parts, and what they have cost."""

    judge: PairJudge
    teacher: Teacher
    expander: Expander | None = None
    refiner: Refiner | None = None
    classifier: TaskClassifier | None = None
    costs: UsageByRole = field(default_factory=UsageByRole)


class FoundTask(NamedTuple):
    """The task that the classifier found for a raw row."""

    task: str
    probability: float
    usage: Usage


def task_of(example: Example) -> str | None:
    """The task that the data or an earlier round gave to an example, if any."""
    return str(example.meta.get("task") or example.ability or "") or None


def item_of(example: Example, task: str) -> TaskItem:
    """The example as the roles are given it."""
    return TaskItem(id=example.id, instruction=example.instruction, output=example.response, task=task)


def find_tasks(roles: Roles, store: ExampleStore, indices: IntArray) -> dict[int, FoundTask]:
    """The tasks of those of the examples ``indices`` [K] for which the data name none, by index.

    The classifier is asked once for each text; here and elsewhere equal rows share what one answer has cost.
    """
    missing = [int(i) for i in indices if task_of(store[int(i)]) is None]
    if not missing or roles.classifier is None:
        return {}
    texts = list(dict.fromkeys(store[i].instruction for i in missing))
    found = roles.classifier.predict(texts)
    usages = found.usages or [Usage()] * len(texts)
    roles.costs.add("classifier", sum(usages, Usage()), found.num_failed)
    by_text = dict(zip(texts, map(FoundTask, found.labels, found.probabilities, usages), strict=True))
    return {i: by_text[store[i].instruction] for i in missing}


def refine_hard(
    roles: Roles, store: ExampleStore, indices: IntArray, round_: int, found: Mapping[int, FoundTask]
) -> dict[int, ProvenanceRow]:
    """Rows with refined answers, which replace hard examples.

    Args:
        roles: The refiner is asked; its costs are counted.
        store: All examples.
        indices: The hard ones.
        round_: The round that the rows are for.
        found: Tasks of rows for which the data name none.

    Returns:
        By the index of the example that each replaces; an example that stays as it is has no entry.
    """
    if roles.refiner is None:
        return {}
    examples = [store[int(i)] for i in indices]
    unknown = FoundTask(OTHER_TASK, float("nan"), Usage())
    items = [item_of(e, task_of(e) or found.get(int(i), unknown).task) for i, e in zip(indices, examples, strict=True)]
    different = {(item.question, item.output, item.task): item for item in items}
    answers = dict(zip(different, roles.refiner.refine(list(different.values())), strict=True))
    for answer in answers.values():
        roles.costs.add("refiner", answer.usage, int(answer.failed))
    rows: dict[int, ProvenanceRow] = {}
    for index, example, item in zip(indices.tolist(), examples, items, strict=True):
        answer = answers[item.question, item.output, item.task]
        if answer.output == example.response:
            continue
        rows[index] = ProvenanceRow(
            id=f"{example.id}/r{round_}",
            parent_id=example.id,
            origin="raw",
            round=round_,
            instruction=example.instruction,
            output=answer.output,
            output_before_refine=example.response,
            task=item.task,
            task_prob=found.get(index, unknown).probability,
            refined=True,
            prompt_version=version_of(roles.refiner),
            model=model_of(roles.refiner),
        ).paid(answer.usage)
    return rows


def write_new(
    roles: Roles, policy: TapirPolicy, pools: Pools, store: ExampleStore, pool_size: int, round_: int, seed: int
) -> list[ProvenanceRow]:
    """New examples until the hard pool has ``pool_size`` rows: expanded, answered, refined, classified.

    Fewer come back where the expander's attempts are rejected or the teacher's answers are cut; that is logged.

    Args:
        roles: Who writes, answers, refines and classifies.
        policy: Whose target ratios of tasks decide which seeds are shown.
        pools: The hard rows, from which seeds are drawn, and the easy ones.
        store: All examples; what they ask is not asked again.
        pool_size: Rows that the hard pool is to have, those already in it included.
        round_: The round that the rows are for.
        seed: Of the draws.
    """
    assert roles.expander is not None
    known = [store[i].instruction for i in range(len(store))]
    rows: list[ProvenanceRow] = []
    costs, num_written = UsageByRole(), 0
    for attempt in range(_ATTEMPTS):
        num = pool_size - len(pools.hard) - len(rows)
        if num <= 0:
            break
        rng = make_generator(seed, round_, f"tapir-seeds-{attempt}")
        seeds = choose_seeds(policy, pools, store, pool_size, num, rng)
        number = int(rng.integers(1 << 31))
        new = roles.expander.expand(seeds, num, [*known, *(r.instruction for r in rows)], number)
        costs.add("expander", new.rejected, new.num_rejected)
        rows += _answered(roles, new.written, round_, num_written, costs)
        num_written += len(new.written)
    roles.costs.merge(costs)  # not before: a round that stops here is made again, and would be counted twice
    if (missing := pool_size - len(pools.hard) - len(rows)) > 0:
        _log.warning("round %d: the hard pool is %d rows short of pool_size %d.", round_, missing, pool_size)
    return rows


def choose_seeds(
    policy: TapirPolicy, pools: Pools, store: ExampleStore, pool_size: int, num: int, rng: np.random.Generator
) -> list[TaskItem]:
    """Seeds [num] for new instructions, in random order: each task as often as the pool lacks rows of it.

    The seed is a hard row of the task; an easy one where there is none; any hard row where there is neither.

    Args:
        policy: Its targets are the pool's; without any, seeds are hard rows drawn uniformly.
        pools: Hard and easy rows.
        store: The data.
        pool_size: Hard rows wanted in all.
        num: New instructions wanted.
        rng: Of the draws.
    """
    if policy.targets is None or num == 0:
        chosen = draw_rows(pools.hard, num, rng)
        return [item_of(store[int(i)], policy.tasks_of(np.array([i]))[0]) for i in rng.permutation(chosen)]
    hard_tasks, easy_tasks = (np.array(policy.tasks_of(rows)) for rows in (pools.hard, pools.easy))
    wanted = allocate(policy.targets, pool_size, dict.fromkeys(policy.targets, pool_size))
    have = {t: int((hard_tasks == t).sum()) for t in wanted}
    lacking = np.array([max(0, n - have[t]) for t, n in wanted.items()], dtype=np.float64)
    if not lacking.any():
        lacking = np.array(list(policy.targets.values()))
    seeds: list[TaskItem] = []
    for task, count in zip(wanted, largest_remainders(lacking, num).tolist(), strict=True):
        rows = pools.hard[hard_tasks == task]
        if not len(rows):
            rows = pools.easy[easy_tasks == task] if len(pools.easy) else rows
        if not len(rows):
            rows = pools.hard
        seeds += [item_of(store[int(i)], task) for i in draw_rows(rows, count, rng)]
    return [seeds[int(i)] for i in rng.permutation(len(seeds))]


def _answered(
    roles: Roles, new: Sequence[NewInstruction], round_: int, start: int, costs: UsageByRole
) -> list[ProvenanceRow]:
    """Rows from new instructions; those whose answer was cut off or refused are left out."""
    questions = [
        TaskItem(id=f"tapir-{round_}-{start + i}", instruction=n.instruction, input=n.input, task=n.task)
        for i, n in enumerate(new)
    ]
    answers = roles.teacher.answer(questions)
    for written, answer in zip(new, answers, strict=True):
        costs.add("expander", written.usage)
        costs.add("teacher", answer.usage, int(not answer.complete))
    kept = [(n, replace(q, output=a.text), a) for n, q, a in zip(new, questions, answers, strict=True) if a.complete]
    items = [q for _, q, _ in kept]
    probabilities, usages = [float("nan")] * len(kept), [n.usage + a.usage for n, _, a in kept]
    if roles.classifier is not None and items:
        found = roles.classifier.predict([q.question for q in items])
        items = [replace(q, task=t) for q, t in zip(items, found.labels, strict=True)]
        probabilities = found.probabilities
        costs.add("classifier", sum(found.usages, Usage()), found.num_failed)
        usages = [a + b for a, b in zip(usages, found.usages or [Usage()] * len(kept), strict=True)]
    refined = roles.refiner.refine(items) if roles.refiner is not None else [None] * len(items)
    rows = []
    for (written, _, _), item, polished, probability, usage in zip(
        kept, items, refined, probabilities, usages, strict=True
    ):
        output, wrote = item.output, [written.prompt_version, version_of(roles.teacher)]
        models = [written.model, model_of(roles.teacher)]
        if polished is not None:
            costs.add("refiner", polished.usage, int(polished.failed))
            usage, output = usage + polished.usage, polished.output
        if output != item.output:
            wrote, models = [*wrote, version_of(roles.refiner)], [*models, model_of(roles.refiner)]
        rows.append(
            ProvenanceRow(
                id=item.id,
                parent_id=written.parent_id,
                origin="expanded",
                round=round_,
                instruction=item.instruction,
                input=item.input,
                output=output,
                output_before_refine=item.output if output != item.output else "",
                task=item.task,
                task_prob=probability,
                refined=output != item.output,
                prompt_version=" + ".join(filter(None, wrote)),
                model=" + ".join(dict.fromkeys(filter(None, models))),
            ).paid(usage)
        )
    return rows


def version_of(role: object) -> str:
    """Id of the prompt or rule that a role works by; empty where it names none."""
    prompt = getattr(role, "prompt", None)
    return str(getattr(role, "version", "")) or (prompt.version if isinstance(prompt, Prompt) else "")


def model_of(role: object) -> str:
    """Name of the chat model behind a role; empty where there is none."""
    client = getattr(role, "client", None)
    return client.model if isinstance(client, ChatClient) else ""
