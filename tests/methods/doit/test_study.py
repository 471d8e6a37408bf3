"""The runner: cells from a yaml, resuming, array jobs, matched volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lit_curriculum.methods.doit.study.growth_records import GrowthRecord, read_records
from lit_curriculum.methods.doit.study.study import (
    GrowthCell,
    GrowthStudy,
    Size,
    cells,
    load_study,
    run_study,
    stage_size,
)
from tests.methods.doit.growth_records import record

CONFIGS = Path(__file__).parents[3] / "configs" / "growth"


def study(**options: object) -> GrowthStudy:
    base = GrowthStudy(configs=[], abilities={"b": 20, "a": 20}, rungs=(1, 4), seeds=(0, 1), epochs=2, min_epoch=1)
    return replace(base, **options)  # type: ignore[arg-type]


def train(cell: GrowthCell) -> list[GrowthRecord]:
    return [
        record(e, e + 1, "a", split=s, cell=cell.id, seed=cell.seed, rung=cell.rung, outcomes="01")
        for e in (1, 2)
        for s in ("valid", "test")
    ]


def test_cells_are_arms_by_sizes_by_rungs_by_seeds() -> None:
    sizes = {"small": Size(params=1.0), "large": Size(params=4.0)}
    found = cells(study(sizes=sizes, arms=("curated", "synthetic", "maximum"), abilities={"a": 20, "synthetic": 90}))
    assert len(found) == 2 * (2 * 2 * 2 + 2)
    assert len({c.id for c in found}) == len(found)
    pooled = next(c for c in found if c.arm == "synthetic" and c.rung == 4)
    assert dict(pooled.plan.counts) == {"synthetic": 4}
    assert [c.id for c in cells(study())] == [c.id for c in cells(study(abilities={"a": 20, "b": 20}))]


def test_arms_of_transfer_train_on_one_on_all_but_one_and_on_nothing() -> None:
    found = cells(study(arms=("alone", "without", "base"), seeds=(0,), abilities={"a": 9, "b": 9, "c": 9, "o": 9},
                        ood=("o",)))  # fmt: skip
    plans = {(c.arm, c.rung): dict(c.plan.counts) for c in found}
    assert plans == {
        **{(f"alone:{a}", n): {a: n} for a in "abc" for n in (1, 4)},
        **{(f"without:{a}", 4): dict.fromkeys(set("abc") - {a}, 4) for a in "abc"},
        ("base", 0): {},
    }
    assert len({c.id for c in found}) == len(found)
    assert not any(":" in c.id for c in found)  # ids name files


def test_the_untrained_model_has_one_checkpoint_and_is_read_there(tmp_path: Path) -> None:
    records = run_study(study(arms=("base",), epochs=9, min_epoch=5, seeds=(0,)), tmp_path, lambda c: train(c)[:2])
    assert [r.selected for r in records] == [True, True]


def test_it_is_told_how_many_cells_are_left(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    run_study(study(), tmp_path, train, only=1)
    run_study(study(), tmp_path, train, progress=lambda done, total: steps.append((done, total)))
    left = len(cells(study())) - 1
    assert steps == [(k, left) for k in range(left + 1)]


def test_a_study_goes_on_where_it_stopped_and_merges_array_jobs(tmp_path: Path) -> None:
    trained: list[str] = []

    def counted(cell: GrowthCell) -> list[GrowthRecord]:
        trained.append(cell.id)
        return train(cell)

    run_study(study(), tmp_path, counted, only=2)
    assert len(trained) == 1
    records = run_study(study(), tmp_path, counted)
    assert sorted(trained) == sorted(c.id for c in cells(study()))
    assert len(records) == 4 * 4
    assert {r.epoch for r in records if r.selected} == {2}
    assert read_records(tmp_path / "records.jsonl") == records
    run_study(study(), tmp_path, counted)
    assert len(trained) == 4
    with pytest.raises(ValueError, match="--cell 4 is outside the study's cells, 0 to 3"):
        run_study(study(), tmp_path, counted, only=4)


def test_volume_is_matched_by_epochs_updates_or_tokens() -> None:
    assert stage_size(study()) == (None, None)
    assert stage_size(study(match="updates", updates=10, batch_size=8)) == (40, None)
    assert stage_size(study(match="tokens", tokens=1000)) == (None, 500)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"study\.match=updates needs study\.updates"):
        study(match="updates")
    with pytest.raises(ValueError, match=r"study\.updates=5 is no multiple"):
        study(match="updates", updates=5)
    with pytest.raises(ValueError, match=r"study\.answers must be one of teacher_forced"):
        study(answers="guess")
    with pytest.raises(ValueError, match=r"study\.select must be one of nested"):
        study(select="best")
    path = tmp_path / "s.yaml"
    path.write_text("configs: []\nabilities: {a: 1}\nrung: [1]\n")
    with pytest.raises(ValueError, match=r"s\.yaml: option 'rung' is not accepted"):
        load_study(path)
    path.write_text("configs: []\n")
    with pytest.raises(ValueError, match=r"s\.yaml: option 'abilities' is missing"):
        load_study(path)


@pytest.mark.parametrize("path", sorted(p for p in CONFIGS.glob("*.yaml") if not p.name.startswith("optim")), ids=str)
def test_every_study_of_the_repository_has_cells(path: Path) -> None:
    found = load_study(path)
    assert all(Path(c).exists() for c in found.configs)
    assert len(cells(found)) > 2
