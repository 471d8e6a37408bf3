"""The sampler hands over exactly the plan, on any number of ranks, from any position."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import torch

from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.types import Plan


def make(size: int, ranks: int = 1, rank: int = 0, batch: int = 4, start: int = 0, n: int = 100) -> CurriculumSampler:
    sampler = CurriculumSampler(n, ranks, rank, batch)
    indices = np.random.default_rng(0).integers(0, n, size)
    sampler.set_plan(Plan(indices=indices, weights=np.arange(1, size + 1, dtype=np.float32)), 0, start)
    return sampler


def test_one_rank_yields_the_plan_in_order() -> None:
    sampler = make(10)
    assert sampler.plan is not None
    assert [i for i, _ in sampler] == sampler.plan.indices.tolist()
    assert [w for _, w in sampler] == list(range(1, 11))
    assert len(sampler) == 10


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 13])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_global_batches_do_not_depend_on_the_number_of_ranks(size: int, ranks: int) -> None:
    samplers = [make(size, ranks, rank) for rank in range(ranks)]
    per_rank = [list(s) for s in samplers]
    assert {len(p) for p in per_rank} == {len(samplers[0])}
    plan = samplers[0].plan
    assert plan is not None
    assert plan.weights is not None
    entries = list(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
    local = 4 // ranks
    for b in range(-(-size // 4)):
        found = [e for p in per_rank for e in p[b * local : (b + 1) * local] if e[1] > 0]
        assert sorted(found) == sorted(entries[b * 4 : (b + 1) * 4])


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("size", [8, 11])
def test_a_continued_stage_yields_the_rest_and_keeps_its_length(size: int, ranks: int) -> None:
    for rank in range(ranks):
        whole = list(make(size, ranks, rank))
        rest = make(size, ranks, rank, start=8)
        assert list(rest) == whole[8 // ranks :]
        assert len(rest) == len(whole)
    assert list(make(size, start=size)) == []


def test_state_round_trips_through_a_weights_only_file() -> None:
    sampler = make(11)
    buffer = io.BytesIO()
    torch.save(sampler.state_dict(), buffer)
    buffer.seek(0)
    other = CurriculumSampler(100, 1, 0, 4)
    other.load_state_dict(torch.load(buffer, weights_only=True), start=4)
    assert list(other) == list(sampler)[4:]
    fresh = CurriculumSampler(100, 1, 0, 4)
    fresh.load_state_dict(CurriculumSampler(100, 1, 0, 4).state_dict())
    assert fresh.plan is None


def test_without_a_plan_it_is_a_seeded_permutation_that_changes_with_the_epoch() -> None:
    sampler = CurriculumSampler(50, 2, 1, 4, seed=3)
    first = [i for i, _ in sampler]
    other = CurriculumSampler(50, 2, 0, 4, seed=3)
    assert sorted(first + [i for i, _ in other]) == list(range(50))
    sampler.set_epoch(1)
    assert [i for i, _ in sampler] != first
    sampler.set_epoch(0)
    assert [i for i, _ in sampler] == first


def test_reading_before_the_first_plan_is_refused_once_a_curriculum_is_expected() -> None:
    sampler = CurriculumSampler(10, 1, 0, 2)
    assert len(sampler) == 10
    sampler.expect_plan()
    with pytest.raises(RuntimeError, match="estimated_stepping_batches"):
        len(sampler)
    with pytest.raises(RuntimeError, match="horizon_steps"):
        next(iter(sampler))


def test_bad_plans_are_refused() -> None:
    sampler = CurriculumSampler(10, 1, 0, 4)
    with pytest.raises(ValueError, match="plan of stage 2 is empty"):
        sampler.set_plan(Plan(indices=np.empty(0, dtype=np.int64)), 2)
    with pytest.raises(ValueError, match="names example 10, outside"):
        sampler.set_plan(Plan(indices=np.array([3, 10])), 0)
    with pytest.raises(ValueError, match="names example -1, outside"):
        sampler.set_plan(Plan(indices=np.array([3, -1])), 0)
    with pytest.raises(ValueError, match="cannot be resumed after 3 of 8"):
        sampler.set_plan(Plan(indices=np.arange(8)), 0, start=3)
    with pytest.raises(ValueError, match=r"data.batch_size=5 is the global batch and must divide by the 2 ranks"):
        CurriculumSampler(10, 2, 0, 5)


def test_a_foreign_state_is_refused() -> None:
    state = make(8).state_dict()
    with pytest.raises(ValueError, match=r"data.batch_size=4, this run has 2"):
        CurriculumSampler(100, 1, 0, 2).load_state_dict(state)
    with pytest.raises(ValueError, match="sampler state of version 0"):
        CurriculumSampler(100, 1, 0, 4).load_state_dict({**state, "version": 0})


def test_growth_admits_new_indices_and_never_shrinks() -> None:
    sampler = CurriculumSampler(10, 1, 0, 2)
    sampler.grow(12)
    sampler.set_plan(Plan(indices=np.array([11])), 0)
    assert list(sampler) == [(11, 1.0)]
    with pytest.raises(ValueError, match="cannot shrink from 12 to 5"):
        sampler.grow(5)


@pytest.mark.slow
def test_ten_million_examples_take_under_200_megabytes() -> None:
    size = 10_000_000
    indices = np.random.default_rng(0).permutation(size)
    sampler = CurriculumSampler(size, 1, 0, 4)
    tracemalloc.start()
    sampler.set_plan(Plan(indices=indices), 0)
    first = next(iter(sampler))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first == (int(indices[0]), 1.0)
    assert peak + indices.nbytes < 200e6
