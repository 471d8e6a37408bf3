"""Why an example was chosen, in words; and why the others were not, in words that many share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import BoolArray, Plan

PREFERRED = "others were preferred"
NOT_DRAWN = "not drawn"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """Why each of all examples is in a plan, or is not."""

    codes: NDArray[np.int32]
    """[N] which of :attr:`texts` holds."""
    texts: list[str]


def verdicts(
    policy: str, reads: Sequence[str], table: DifficultyTable, plan: Plan, how: str, grounds: Mapping[str, BoolArray]
) -> Verdicts:
    """One reason for each of all examples: chosen, the first of ``grounds``, no score, or others were better.

    Args:
        policy: Name of the policy.
        reads: Names of the metrics that it reads.
        table: Scores of N examples.
        plan: What was chosen.
        how: What the policy adds about those that it chose.
        grounds: Reason -> [N] the examples that it keeps out.
    """
    chosen = np.zeros(table.num_examples, dtype=np.bool_)
    chosen[plan.indices] = True
    found = {f"chosen by {policy}{how and ': '}{how}": chosen, **grounds}
    found |= {f"no score by {metric}": table.unscorable(metric) for metric in reads}
    found[PREFERRED if reads else NOT_DRAWN] = np.ones_like(chosen)
    return Verdicts(codes=np.argmax(np.stack(list(found.values())), axis=0).astype(np.int32), texts=list(found))


def places_and_scores(policy: str, reads: Sequence[str], table: DifficultyTable, plan: Plan) -> list[str]:
    """For each entry of ``plan``: its place, and score and rank by hardness of every metric that the policy reads.

    Args:
        policy: Name of the policy.
        reads: Names of the metrics.
        table: Scores of N examples.
        plan: M entries.

    Returns:
        M sentences.
    """
    size = len(plan)
    reasons = [f"{policy}: place {place + 1} of {size}" for place in range(size)]
    for metric in reads:
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
