"""Reasons for and against examples, for selection files and the ledger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Plan

PREFERRED = "others were preferred"
NOT_DRAWN = "not drawn"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageReasons:
    """One reason for each example, chosen or not."""

    codes: NDArray[np.int32]
    """[N] position of the example's reason in :attr:`texts`."""
    texts: list[str]


def stage_reasons(policy: CurriculumPolicy, table: DifficultyTable, plan: Plan) -> StageReasons:
    """Explain for all examples why they are in the plan that ``policy`` has just made, or why they are not.

    The first that holds counts: chosen, one of the policy's exclusion reasons, no score, others were preferred.

    Args:
        policy: The policy, right after its :meth:`~lit_curriculum.CurriculumPolicy.step`.
        table: Scores of N examples.
        plan: What it returned.
    """
    metrics = policy.required_metrics
    chosen = np.zeros(table.num_examples, dtype=np.bool_)
    chosen[plan.indices] = True
    found = {f"chosen by {policy.selection_note()}": chosen, **policy.exclusion_reasons(table)}
    found |= {f"no score by {metric}": table.unscorable(metric) for metric in metrics}
    found[PREFERRED if metrics else NOT_DRAWN] = np.ones_like(chosen)
    return StageReasons(codes=np.argmax(np.stack(list(found.values())), axis=0).astype(np.int32), texts=list(found))


def entry_reasons(policy: CurriculumPolicy, table: DifficultyTable, plan: Plan) -> list[str]:
    """Explain each entry of ``plan``: its place, and its score and rank by hardness for every required metric.

    Args:
        policy: The policy, right after its :meth:`~lit_curriculum.CurriculumPolicy.step`.
        table: Scores of N examples.
        plan: What it returned, M entries.

    Returns:
        M sentences.
    """
    note = policy.selection_note()
    reasons = [f"{note}: place {place} of {len(plan)}" for place in range(1, len(plan) + 1)]
    for metric in policy.required_metrics:
        hardness = table.hardness(metric)
        order = np.argsort(-hardness, kind="stable")  # NaN last
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(1, len(order) + 1)
        num_scored = int(np.isfinite(hardness).sum())
        for place, index in enumerate(plan.indices.tolist()):
            score = table.scores[metric][index]
            text = f"{score:.6g}, hardest {rank[index]} of {num_scored}" if np.isfinite(score) else "no score"
            reasons[place] += f"; {metric} {text}"
    return reasons
