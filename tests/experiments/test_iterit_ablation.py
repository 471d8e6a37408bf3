"""IterIT's ablation: what counts as turnover, and that every row is a run that can be made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments.iterit_ablation.rows import FEW, MAIN, ROWS, UNTRAINED, Budget
from experiments.iterit_ablation.run import QUICK
from experiments.iterit_ablation.turnover import Turnover
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.types import Plan


def _report(stage: int, chosen: list[int], scores: list[float], candidates: int) -> Any:
    table = SimpleNamespace(scores={"ifd": np.array(scores)})
    plan = Plan(indices=np.array(chosen))
    return SimpleNamespace(stage=stage, plan=plan, table=table, candidates=np.arange(candidates))


def test_turnover_counts_what_is_newly_hard_and_leaves_out_scores_of_one_and_above() -> None:
    turnover = Turnover(skip=1)
    turnover.on_stage_planned(Any, _report(0, [0, 1, 2, 3], [0.9] * 4, 4))  # a first pass: not counted
    turnover.on_stage_planned(Any, _report(1, [0, 1], [0.9, 0.8, 0.1, 1.2], 4))  # hard: 0, 1
    turnover.on_stage_planned(Any, _report(2, [0, 2], [0.9, 0.1, 0.8, 1.0], 4))  # hard: 0, 2
    turnover.on_stage_planned(Any, _report(3, [1, 3], [0.1, 0.9, 0.2, 0.8], 4))  # hard: 1, 3
    found = turnover.measures()
    assert found["newly hard after the first stage"] == 0.5
    assert found["newly hard"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["newly chosen"] == pytest.approx((0.5 + 1.0) / 2)


def test_turnover_of_hard_examples_is_unknown_where_not_all_were_scored() -> None:
    turnover = Turnover(skip=0)
    for stage in range(2):
        turnover.on_stage_planned(Any, _report(stage, [0, 1], [0.9, 0.8, 0.1, 0.5], 3))
    assert set(turnover.measures()) == {"newly chosen"}


@pytest.mark.parametrize("row", [row for row in ROWS if row != UNTRAINED])
def test_every_row_is_a_run_that_can_be_made(row: str, tmp_path: Any) -> None:
    profile = QUICK["abilities"]
    args = [*profile.setting.arguments(0, tmp_path, None), *ROWS[row](profile.budget)]
    cli = CurriculumCLI([*args, "--trainer.logger=false", "--trainer.callbacks=[]"], run=False)
    assert cli.trainer.max_epochs >= 2
    first, policy = ROWS[row](Budget(0.2, 6, 4)), ROWS["IterIT"](Budget(0.2, 6, 4))
    assert (first == policy) == (row == "IterIT")


def test_main_rows_exist() -> None:
    assert {*FEW, *MAIN} <= set(ROWS)


def test_the_row_without_training_moves_no_weight() -> None:
    args = ROWS[UNTRAINED](Budget(0.2, 6, 4))
    assert "--model.optimizer.init_args.lr=0.0" in args
    assert "--trainer.max_epochs=1" in args
