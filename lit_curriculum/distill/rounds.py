"""What happens between two rounds of TAPIR: judge, classify, refine, and write new instructions from hard ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from lit_curriculum.curriculum.tapir import OTHER_TASK, Pools, TapirPolicy
from lit_curriculum.curriculum.task_quotas import allocate, draw_rows, largest_remainders
from lit_curriculum.distill.roles import (
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
from lit_curriculum.types import Example, ExampleStore, IntArray, make_generator

log = logging.getLogger(__name__)
_ATTEMPTS = 3
"""Times that missing instructions are asked for once more, from other seeds."""


@dataclass(slots=True)
class Costs:
    """Calls, tokens and retries by role, and what failed."""

    by_role: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, role: str, usage: Usage, failures: int = 0) -> None:
        """Count one answer of a role."""
        spent = {**asdict(usage), "failures": failures}
        entry = self.by_role.setdefault(role, dict.fromkeys(spent, 0))
        for name, value in spent.items():
            entry[name] += value


@dataclass(slots=True, kw_only=True)
class Roles:
    """Who plays which part."""

    judge: PairJudge
    teacher: Teacher
    expander: Expander | None = None
    refiner: Refiner | None = None
    classifier: TaskClassifier | None = None
    costs: Costs = field(default_factory=Costs)


def refine_hard(roles: Roles, store: ExampleStore, indices: IntArray, round_: int) -> dict[int, ProvenanceRow]:
    """Rows that replace hard examples: classified where they have no task, with refined answers.

    Returns:
        By the index of the example that each replaces; an example that stays as it is has no entry.
    """
    examples = [store[int(i)] for i in indices]
    tasks, probabilities = _tasks(roles, examples)
    items = [_item(e, t) for e, t in zip(examples, tasks, strict=True)]
    refined = roles.refiner.refine(items) if roles.refiner is not None else [None] * len(items)
    rows: dict[int, ProvenanceRow] = {}
    for index, example, item, probability, answer in zip(
        indices.tolist(), examples, items, probabilities, refined, strict=True
    ):
        usage = answer.usage if answer is not None else Usage()
        if answer is not None:
            roles.costs.add("refiner", usage)
        changed = answer is not None and answer.output != example.response
        if not changed and task_of(example) is not None:
            continue
        rows[index] = ProvenanceRow(
            id=f"{example.id}/r{round_}",
            parent_id=example.id,
            origin="raw",
            round=round_,
            instruction=example.instruction,
            output=answer.output if answer is not None else example.response,
            output_before_refine=example.response if changed else "",
            task=item.task,
            task_prob=probability,
            refined=changed,
            prompt_version=roles.refiner.version if roles.refiner is not None else "",
            model=model_of(roles.refiner),
            cost_calls=usage.calls,
            cost_prompt_tokens=usage.prompt_tokens,
            cost_completion_tokens=usage.completion_tokens,
        )
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
        return [_item(store[int(i)], policy.tasks_of(np.array([i]))[0]) for i in rng.permutation(chosen)]
    hard_tasks, easy_tasks = (np.array(policy.tasks_of(rows)) for rows in (pools.hard, pools.easy))
    wanted = allocate(policy.targets, pool_size, dict.fromkeys(policy.targets, pool_size)).counts
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
        seeds += [_item(store[int(i)], task) for i in draw_rows(rows, count, rng)]
    return [seeds[int(i)] for i in rng.permutation(len(seeds))]


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
    for attempt in range(_ATTEMPTS):
        num = pool_size - len(pools.hard) - len(rows)
        if num <= 0:
            break
        rng = make_generator(seed, round_, f"tapir-seeds-{attempt}")
        seeds = choose_seeds(policy, pools, store, pool_size, num, rng)
        number = int(rng.integers(1 << 31))
        new = roles.expander.expand(seeds, num, [*known, *(r.instruction for r in rows)], number)
        rows += _answered(roles, new, round_, len(rows))
    if (missing := pool_size - len(pools.hard) - len(rows)) > 0:
        log.warning("round %d: the hard pool is %d rows short of pool_size %d.", round_, missing, pool_size)
    return rows


def _answered(roles: Roles, new: Sequence[NewInstruction], round_: int, start: int) -> list[ProvenanceRow]:
    """Rows from new instructions; those whose answer was cut off or refused are left out."""
    questions = [
        TaskItem(id=f"tapir-{round_}-{start + i}", instruction=n.instruction, input=n.input, task=n.task)
        for i, n in enumerate(new)
    ]
    answers = roles.teacher.answer(questions)
    for written, answer in zip(new, answers, strict=True):
        roles.costs.add("expander", written.usage)
        roles.costs.add("teacher", answer.usage, int(not answer.complete))
    kept = [(n, replace(q, output=a.text), a) for n, q, a in zip(new, questions, answers, strict=True) if a.complete]
    items = [q for _, q, _ in kept]
    predicted = roles.classifier.predict([q.question for q in items]) if roles.classifier and items else None
    if predicted is not None:
        items = [replace(q, task=label) for q, label in zip(items, predicted.labels, strict=True)]
    refined = roles.refiner.refine(items) if roles.refiner is not None else [None] * len(items)
    rows = []
    for place, ((written, _, answer), item, polished) in enumerate(zip(kept, items, refined, strict=True)):
        usage = written.usage + answer.usage
        output = item.output
        if polished is not None:
            roles.costs.add("refiner", polished.usage)
            usage, output = usage + polished.usage, polished.output
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
                task_prob=predicted.probabilities[place] if predicted is not None else float("nan"),
                refined=output != item.output,
                prompt_version=written.prompt_version,
                model=written.model,
                cost_calls=usage.calls,
                cost_prompt_tokens=usage.prompt_tokens,
                cost_completion_tokens=usage.completion_tokens,
            )
        )
    return rows


def _tasks(roles: Roles, examples: Sequence[Example]) -> tuple[list[str], list[float]]:
    known = [task_of(e) for e in examples]
    missing = [i for i, t in enumerate(known) if t is None]
    tasks, probabilities = [t or OTHER_TASK for t in known], [float("nan")] * len(known)
    if missing and roles.classifier is not None:
        predicted = roles.classifier.predict([examples[i].instruction for i in missing])
        for place, label, probability in zip(missing, predicted.labels, predicted.probabilities, strict=True):
            tasks[place], probabilities[place] = label, probability
    return tasks, probabilities


def model_of(role: object) -> str:
    """Name of the chat model behind a role; empty where there is none."""
    client = getattr(role, "client", None)
    return client.model if isinstance(client, ChatClient) else ""


def task_of(example: Example) -> str | None:
    """The task that the data or an earlier round gave to an example, if any."""
    return str(example.meta.get("task") or example.ability or "") or None


def _item(example: Example, task: str) -> TaskItem:
    return TaskItem(id=example.id, instruction=example.instruction, output=example.response, task=task)
