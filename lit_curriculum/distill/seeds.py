"""Which examples the expander is shown, and for which tasks."""

from __future__ import annotations

import numpy as np

from lit_curriculum.curriculum.tapir import Pools, TapirPolicy
from lit_curriculum.curriculum.task_quotas import allocate, draw_rows, largest_remainders
from lit_curriculum.distill.roles import TaskItem
from lit_curriculum.types import Example, ExampleStore


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
        seeds += [item_of(store[int(i)], task) for i in draw_rows(rows, count, rng)]
    return [seeds[int(i)] for i in rng.permutation(len(seeds))]


def task_of(example: Example) -> str | None:
    """The task that the data or an earlier round gave to an example, if any."""
    return str(example.meta.get("task") or example.ability or "") or None


def item_of(example: Example, task: str) -> TaskItem:
    """The example as the roles are given it."""
    return TaskItem(id=example.id, instruction=example.instruction, output=example.response, task=task)
