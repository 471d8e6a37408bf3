"""Records: the choice of checkpoints, plain means, and files that read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lit_curriculum.methods.doit.study.growth_records import (
    GrowthRecord,
    overall,
    read_records,
    select_checkpoints,
    write_records,
)
from tests.methods.doit.growth_records import record


def chosen(records: list[GrowthRecord], **options: object) -> list[int]:
    marked = select_checkpoints(records, **options)  # type: ignore[arg-type]
    return sorted({r.epoch for r in marked if r.selected})


def test_the_best_late_checkpoint_is_chosen_the_earliest_of_equals() -> None:
    scores = {3: 9, 5: 6, 6: 7, 7: 7}
    records = [record(e, c) for e, c in scores.items()] + [record(e, 1, split="test") for e in scores]
    assert chosen(records, min_epoch=5) == [6]
    assert chosen(records, min_epoch=7) == [7]
    assert chosen(records, min_epoch=1) == [3]
    with pytest.raises(ValueError, match="cell c has no checkpoint late enough for min_epoch=8"):
        chosen(records, min_epoch=8)


def test_one_checkpoint_serves_all_abilities() -> None:
    records = [record(1, 9), record(2, 1), record(1, 1, "b"), record(2, 8, "b"), record(1, 0, "o", group="ood")]
    records += [record(2, 10, "o", group="ood")]
    assert chosen(records, min_epoch=1) == [1]  # 10/20 to 9/20: the ability out of domain has no say


def test_less_loss_is_better() -> None:
    assert chosen([record(1, 9, nll=2.0), record(2, 1, nll=1.0)], min_epoch=1, measure="nll") == [2]


def test_the_mean_is_not_halved() -> None:
    records = [record(correct=c, ability=f"a{c}") for c in range(10)]
    records += [record(correct=10, ability=f"o{i}", group="ood") for i in range(3)]
    assert overall(records, "in_domain") == pytest.approx(0.45)
    assert overall(records, "ood") == pytest.approx(1.0)
    assert overall(records) == pytest.approx((4.5 + 3) / 13)
    assert records[5].kappa == pytest.approx((0.5 - 0.25) / 0.75)


def test_files_read_back_and_keep_items_of_the_chosen_alone(tmp_path: Path) -> None:
    first = record(outcomes="10", item_nll=(0.5, 1.5), selected=True)
    write_records(tmp_path / "r.jsonl", [first, replace(first, selected=False)])
    assert read_records(tmp_path / "r.jsonl") == [first, replace(first, selected=False, outcomes="", item_nll=())]
    (tmp_path / "r.jsonl").write_text('{"cell": 1}\n')
    with pytest.raises(ValueError, match=r"r\.jsonl:1 is no growth record"):
        read_records(tmp_path / "r.jsonl")
