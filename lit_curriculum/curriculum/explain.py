"""Why an example was chosen, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import Plan


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
