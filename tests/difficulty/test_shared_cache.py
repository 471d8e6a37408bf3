"""What a model says before training is asked once by all runs that would compute the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_curriculum import CurriculumCallback, NegativeLogLikelihood, OrderedPolicy, ScoringEngine
from lit_curriculum.difficulty import summary_cache
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.types import Batch, Example, Message, TokenNLL
from tests.conftest import ListStore
from tests.toy import ToyData, ToyModule, toy_trainer


class Counting(ToyModule):
    """Counts the batches that are scored without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def token_nll(self, batch: Batch) -> TokenNLL:
        self.calls += not torch.is_grad_enabled()
        return super().token_nll(batch)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "summaries"


def fit(
    folder: Path, examples: list[Example], module: Counting | None = None, reuse: bool = True, budget: int = 60
) -> tuple[int, Any, list[float]]:
    """Scoring batches, scores and training losses of one run of one stage."""
    module = module or Counting()
    callback = CurriculumCallback(
        OrderedPolicy("nll", fraction=0.5), {"nll": NegativeLogLikelihood()}, token_budget=budget, reuse_scores=reuse
    )
    toy_trainer(folder, 1, callbacks=[callback]).fit(module, ToyData(examples))
    return module.calls, callback.table.scores["nll"].tolist(), module.losses


def test_a_second_run_asks_nothing_and_trains_on_the_same_bits(
    tmp_path: Path, toy_examples: list[Example], root: Path
) -> None:
    plain = fit(tmp_path / "plain", toy_examples, reuse=False)
    assert not root.exists(), "off by default"
    first = fit(tmp_path / "first", toy_examples)
    second = fit(tmp_path / "second", toy_examples)
    assert plain == first
    assert (first[0] > 3, second[0]) == (True, 0)
    assert second[1:] == first[1:]
    assert len(list(root.rglob("*.journal"))) == 1, "a run that computes nothing writes nothing"


def test_another_model_is_asked_and_other_data_find_what_they_share(
    tmp_path: Path, toy_examples: list[Example], root: Path
) -> None:
    calls, scores, _ = fit(tmp_path / "first", toy_examples)
    assert calls > 0
    other = Counting()
    with torch.no_grad():
        other.table[3, 3] += 1e-6
    assert fit(tmp_path / "model", toy_examples, other)[0] > 0
    assert len(list(root.iterdir())) == 2
    part = [replace(e, index=i) for i, e in enumerate(reversed(toy_examples[5:30]))]
    again = fit(tmp_path / "part", part, budget=80)
    assert again[0] == 0, "a run on a part of the data runs no token"
    np.testing.assert_allclose(again[1], scores[5:30][::-1], rtol=1e-6)
    more = [*part, replace(part[0], index=len(part), messages=toy_examples[-1].messages, content_hash="0" * 32)]
    assert fit(tmp_path / "known", more)[0] == 0, "the tokens are known, whatever the example is called"
    unseen = tuple(Message(role=m.role, content=f"{m.content} zz") for m in part[0].messages)
    more[-1] = replace(more[-1], messages=unseen)
    assert fit(tmp_path / "more", more)[0] == 1, "only the example that is new"
    assert len(list(root.rglob("*.journal"))) == 3


def test_those_who_scored_the_same_data_are_believed_first(toy_examples: list[Example], root: Path) -> None:
    store, engine = ListStore(toy_examples), ScoringEngine({"nll": NegativeLogLikelihood()}, 60)
    digests = np.arange(8, dtype=np.uint64).reshape(4, 2)

    def cache_of(size: int, rank: int) -> SummaryCache:
        return engine.shared_cache("m0", store, np.arange(size), rank)

    # All start before anyone has written, so each has its own answer.
    for writer, size in enumerate((10, 20, 30)):
        cache_of(size, writer).append(digests, {"sum-count/1": np.full((4, 2), float(size))})
    for size in (10, 20, 30):
        assert (cache_of(size, 9).known(["sum-count/1"], digests)[1]["sum-count/1"] == size).all()


def test_runs_at_the_same_time_write_files_of_their_own(toy_examples: list[Example], root: Path) -> None:
    store = ListStore(toy_examples)
    engine = ScoringEngine({"nll": NegativeLogLikelihood()}, 60)
    digests = np.arange(80, dtype=np.uint64).reshape(40, 2)
    caches = [engine.shared_cache("m0", store, np.arange(40), rank) for rank in (0, 1)]
    for cache, part in zip(caches, (slice(0, 30), slice(20, 40)), strict=True):  # neither knows of the other
        cache.append(digests[part], {"sum-count/1": digests[part].astype(float)})
        cache.close()
    found = engine.shared_cache("m0", store, np.arange(40), 2)
    known, values = found.known(["sum-count/1"], digests)
    assert known.all()
    np.testing.assert_array_equal(values["sum-count/1"], digests.astype(float))
    assert len(list(root.rglob("*.journal"))) == 2


def test_what_was_not_used_for_longest_goes_first(
    toy_examples: list[Example], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ListStore(toy_examples)
    engine = ScoringEngine({"nll": NegativeLogLikelihood()}, 60)
    for age, name in enumerate(("new", "middle", "old")):
        (root / name).mkdir(parents=True)
        (root / name / "x.0.journal").write_bytes(b"x" * 100)
        os.utime(root / name / "x.0.journal", (1e9 - age, 1e9 - age))
    monkeypatch.setattr(summary_cache, "LIMIT_BYTES", 250)
    engine.shared_cache("m0", store, np.arange(40), 1)
    assert len(list(root.rglob("*.journal"))) == 3, "rank 0 alone removes"
    engine.shared_cache("m0", store, np.arange(40), 0)
    assert sorted(f.parent.name for f in root.rglob("*.journal")) == ["middle", "new"]
