"""What a refresh of the learned scorer costs: one pass of the model for an example, dealt out over the ranks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lit_curriculum import HashedNgrams, HiddenStates, LearnedScorer, Pairwise, Reweighting
from lit_curriculum.methods.campus.scorer.features import reference
from lit_curriculum.methods.campus.scorer.objective import ReferenceFeatures, ScorerObjective
from lit_curriculum.types import Batch
from lit_curriculum.utils.distributed import scatter
from tests.conftest import ListStore, make_example
from tests.methods.campus.scorer_toys import Scripted, context, planted_store, table_of
from tests.processes import free_port, join


class Counting(Scripted):
    """Notes which token rows were run."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Counter[tuple[int, ...]] = Counter()
        self.tokens = 0

    def pooled_hidden(self, batch: Batch, /) -> torch.Tensor:
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            self.rows[tuple(ids[mask.bool()].tolist())] += 1
            self.tokens += int(mask.sum())
        return super().pooled_hidden(batch)


@pytest.mark.parametrize("objective", [Reweighting(), Pairwise(num_answers=20, max_new_tokens=20)])
def test_an_example_is_run_once_a_refresh_and_again_when_the_model_has_moved(objective: ScorerObjective) -> None:
    store, truth = planted_store(60)
    table = table_of(truth, 40)
    metric = LearnedScorer(objective, HiddenStates(), steps=5)
    for stage in range(2):
        model = Counting()
        given = context(store, table, stage)
        object.__setattr__(given, "model", model)
        table.enter("loss", np.arange(40), truth[:40], stage)
        cost = metric.update(given)
        assert {"agreement"} <= set(cost.scalars)
        assert ("agreement_before" in cost.scalars) == (stage == 1)
        timed = metric.timed_score(given, np.arange(60))
        answered = 20 if isinstance(objective, Pairwise) else 0
        assert sum(model.rows.values()) == 60 + answered
        assert max(model.rows.values()) == 1
        # A prompt that is answered is read once more, to write.
        drawn = metric.state_dict()["objective"]["answered"].tolist() if answered else []
        read = sum(len(reference(store, i).prompt) for i in drawn)
        assert cost.forward_tokens + timed.forward_tokens == model.tokens + read
        assert 0 < timed.forward_tokens < model.tokens


def test_kept_features_are_those_of_a_new_pass() -> None:
    store, truth = planted_store(30)
    given = context(store, table_of(truth, 30))
    kept = ReferenceFeatures(HiddenStates())
    indices = np.array([4, 9, 4, 20])
    first = kept.of(given, indices)
    again = kept.of(given, np.array([20, 11, 4]), keep=False)
    for found, wanted in ((first, indices), (again, np.array([20, 11, 4]))):
        for row, index in zip(found, wanted, strict=True):
            torch.testing.assert_close(row, ReferenceFeatures(HiddenStates()).of(given, np.array([index]))[0])
    before = kept.forward_tokens
    kept.of(given, np.array([9, 20]))
    assert kept.forward_tokens == before
    kept.of(given, np.array([11]))
    assert kept.forward_tokens > before


def test_what_an_answer_cannot_reach_does_not_count_in_a_pairwise_score() -> None:
    store = ListStore([make_example(i, "abcd" * 3 + tail, f"q{i % 3}") for i, tail in enumerate(("", "xyz", "zzz"))])
    longer = ListStore([make_example(0, "abcdabcdabcd" + "x" * 30, "q0"), *store.examples[1:]])
    table = table_of(np.array([1.0, 2.0, 3.0]), 3)
    metric = LearnedScorer(Pairwise("reference", max_new_tokens=8), HashedNgrams(32), steps=5)
    metric.update(context(store, table))
    scores = [metric.score(context(s, table), np.arange(3)) for s in (store, longer)]
    np.testing.assert_array_equal(scores[0], scores[1])


def _deal(rank: int, world_size: int, port: int, folder: str) -> None:
    join(rank, world_size, port)
    seen: list[int] = []

    def run(items: list[int]) -> list[int]:
        seen.extend(items)
        return [i * i for i in items]

    found = [scatter(list(range(size)), run, together=False) for size in (0, 1, 3, 8)]
    together = scatter([5, 6], lambda items: [len(items)] * len(items), together=True)
    Path(folder, f"{rank}.json").write_text(json.dumps([found, seen, together]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_work_is_dealt_out_and_every_rank_gets_all_of_it(tmp_path: Path) -> None:
    mp.spawn(_deal, (3, free_port(), str(tmp_path)), nprocs=3)  # type: ignore[no-untyped-call]
    written = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    for found, _, together in written:
        assert found == [[i * i for i in range(size)] for size in (0, 1, 3, 8)]
        assert together == [2, 2]
    assert Counter(i for _, seen, _ in written for i in seen) == Counter(
        i for size in (0, 1, 3, 8) for i in range(size)
    )
