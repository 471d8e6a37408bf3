"""Nothing that the model has been asked is asked again, also after the process was killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_curriculum.difficulty.batching import (
    UniqueSequences,
    find_token_budget,
    pack_by_tokens,
    pack_rows,
    pack_unknown,
)
from lit_curriculum.difficulty.engine import Scores, ScoringEngine
from lit_curriculum.difficulty.summary_cache import SummaryCache
from lit_curriculum.types import Batch, IntArray, TokenNLL
from tests.conftest import ListStore, make_example
from tests.difficulty.bigram import METRICS, BigramModel


def score(store: ListStore, indices: np.ndarray, folder: Path | None, model: BigramModel | None = None) -> Scores:
    cache = None if folder is None else SummaryCache(folder, "m0")
    found = ScoringEngine(METRICS, 120).score(model or BigramModel(), store, indices, cache=cache)
    if cache is not None:
        cache.close()
    return found


def same(left: Scores, right: Scores) -> None:
    for name in METRICS:
        np.testing.assert_array_equal(left.values[name], right.values[name])


def test_the_second_pass_runs_nothing(toy_store: ListStore, tmp_path: Path) -> None:
    plain = score(toy_store, np.arange(40), None)
    first = score(toy_store, np.arange(40), tmp_path)
    model = BigramModel()
    second = score(toy_store, np.arange(40)[::-1].copy(), tmp_path, model)
    same(plain, first)
    for name in METRICS:
        np.testing.assert_array_equal(first.values[name], second.values[name][::-1])
    assert model.num_forwards == 0
    assert (second.tokens, second.reused_tokens) == (0, first.tokens)
    assert (first.reused_tokens, plain.reused_tokens) == (0, 0)


def test_only_what_is_new_runs(toy_store: ListStore, tmp_path: Path) -> None:
    score(toy_store, np.arange(10), tmp_path)
    model = BigramModel()
    found = score(toy_store, np.arange(40), tmp_path, model)
    whole = score(toy_store, np.arange(40), None)
    ten = score(toy_store, np.arange(10), None)
    assert model.num_sequences < 80
    assert found.reused_tokens >= ten.tokens
    assert found.tokens + found.reused_tokens == whole.tokens
    for name in METRICS:
        np.testing.assert_allclose(found.values[name], whole.values[name], rtol=1e-5)


def test_a_broken_model_leaves_nothing_in_the_cache(toy_store: ListStore, tmp_path: Path) -> None:
    model = BigramModel()
    with torch.no_grad():
        model.table[ord("e")] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(toy_store, np.arange(40), tmp_path, model)
    same(score(toy_store, np.arange(40), tmp_path), score(toy_store, np.arange(40), None))


def test_killed_at_random_moments_it_ends_with_the_same_bits(toy_store: ListStore, tmp_path: Path) -> None:
    """Each process is killed by SIGKILL at a random time after its start; the next resumes from its files."""

    class Slow(BigramModel):
        def token_nll(self, batch: Batch) -> TokenNLL:
            time.sleep(0.01)
            return super().token_nll(batch)

    expected = score(toy_store, np.arange(40), None)
    assert (
        len(
            pack_by_tokens(
                UniqueSequences.build(toy_store, np.arange(40), ["conditioned", "unconditioned"]).lengths, 120
            )
        )
        > 9
    )
    generator = np.random.default_rng(0)

    def start(folder: Path) -> int:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            try:
                score(toy_store, np.arange(40), folder, Slow())
            finally:
                os._exit(0)
        return child

    began = time.perf_counter()
    os.waitpid(start(tmp_path / "whole"), 0)
    whole = time.perf_counter() - began  # what a busy machine makes of it
    kills, sizes = 0, [0]
    while kills < 12:
        child = start(tmp_path)
        time.sleep(float(generator.uniform(0.0, 0.5 * whole)))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        kills += os.WIFSIGNALED(status)
        sizes.append(sum(p.stat().st_size for p in tmp_path.glob("*.journal")))
        if not os.WIFSIGNALED(status):
            for path in tmp_path.glob("*.journal"):
                path.unlink()
    model = BigramModel()
    found = score(toy_store, np.arange(40), tmp_path, model)
    same(found, expected)
    assert len(set(sizes)) > 3, "no process got anywhere"


@pytest.mark.slow
def test_ten_kills_lose_no_more_than_the_batch_in_flight_each(tmp_path: Path) -> None:
    """Every batch that any process began leaves a byte behind, so batches that were run again can be counted."""
    store = ListStore([make_example(i, f"answer {i * i} and {i}", f"question {i}") for i in range(240)])
    began = tmp_path / "began"

    class Counted(BigramModel):
        def token_nll(self, batch: Batch) -> TokenNLL:
            with began.open("ab") as file:
                file.write(b".")
            time.sleep(0.01)
            return super().token_nll(batch)

    expected = score(store, np.arange(240), None)
    lengths = UniqueSequences.build(store, np.arange(240), ["conditioned", "unconditioned"]).lengths
    num_batches = len(pack_by_tokens(lengths, 120))
    generator = np.random.default_rng(1)
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            try:
                found = score(store, np.arange(240), tmp_path / "journals", Counted())
                np.save(tmp_path / "ifd.npy", found.values["ifd"])
            finally:
                os._exit(0)
        if kills == 10:
            os.waitpid(child, 0)
            break
        time.sleep(float(generator.uniform(0.02, 0.12)))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the pass was over before it was killed"
        kills += 1
    np.testing.assert_array_equal(np.load(tmp_path / "ifd.npy"), expected.values["ifd"])
    assert num_batches <= began.stat().st_size <= num_batches + kills


def test_a_cut_journal_goes_on_with_the_same_batches(toy_store: ListStore, tmp_path: Path) -> None:
    expected = score(toy_store, np.arange(40), tmp_path)
    (path,) = tmp_path.glob("*.journal")
    data = path.read_bytes()
    for share in np.linspace(0.05, 0.95, 13):
        path.write_bytes(data[: int(share * len(data))])
        found = score(toy_store, np.arange(40), tmp_path)
        same(found, expected)
        assert found.reused_tokens + found.tokens == expected.tokens
        assert path.read_bytes() == data


@pytest.mark.parametrize("padded", [True, False])
def test_packing_keeps_the_batches_where_whole_ones_are_known(padded: bool) -> None:
    generator = np.random.default_rng(0)
    lengths, kinds = generator.integers(1, 30, 50), generator.integers(0, 2, 50)

    def pack(items: IntArray) -> list[IntArray]:
        return pack_by_tokens(lengths[items], 60) if padded else pack_rows(lengths[items], kinds[items], 60)

    batches = pack(np.arange(50))
    known = np.zeros(50, dtype=bool)
    known[np.concatenate(batches[1:4])] = True
    left = pack_unknown(known, pack)
    assert [b.tolist() for b in left] == [b.tolist() for i, b in enumerate(batches) if not 1 <= i < 4]
    known[batches[5][:1]] = True
    assert len(batches[5]) > 1
    again = np.concatenate(pack_unknown(known, pack))
    assert sorted(again.tolist()) == np.flatnonzero(~known).tolist()
    assert pack_unknown(np.ones(50, dtype=bool), pack) == []


def test_work_does_not_depend_on_the_order_of_the_request(toy_store: ListStore) -> None:
    order = np.random.default_rng(2).permutation(40)
    views = ["conditioned", "unconditioned"]
    one, two = UniqueSequences.build(toy_store, np.arange(40), views), UniqueSequences.build(toy_store, order, views)
    np.testing.assert_array_equal(one.digests, two.digests)
    np.testing.assert_array_equal(one.lengths, two.lengths)
    for view in views:
        np.testing.assert_array_equal(one.slots[view][order], two.slots[view])
        for k in range(40):
            slot = one.slots[view][k]
            np.testing.assert_array_equal(one.view(toy_store, slot).input_ids, toy_store.encoded(k, view).input_ids)
    assert len(one) == len({toy_store.encoded(i, v).input_ids.tobytes() for i in range(40) for v in views})


def test_reasons_say_why_there_is_no_score() -> None:
    store = ListStore([make_example(0, "fine"), make_example(1, ""), make_example(2, "also")])
    found = ScoringEngine(METRICS).score(BigramModel(), store, np.array([2, 1, 0]))
    assert found.reasons == {name: {1: "no scored token"} for name in METRICS}


def test_a_value_that_the_formula_lacks_has_a_reason() -> None:
    class Sure:
        def token_nll(self, batch: Batch) -> TokenNLL:
            row = batch.scored[:, 1:].nonzero()[:, 0]
            return TokenNLL(torch.zeros(len(row)), row, torch.ones(len(row), dtype=torch.bool))

    store = ListStore([make_example(0, "fine")])
    found = ScoringEngine(METRICS).score(Sure(), store, np.array([0]))
    assert found.reasons["loss_ratio"] == {0: "ifd-loss-ratio/1 has no value"}
    assert found.reasons["ifd"] == {}


def test_the_budget_is_doubled_while_that_pays() -> None:
    lengths = np.full(100_000, 10)
    asked: list[int] = []

    def seconds(items: np.ndarray) -> float:
        asked.append(len(items) * 10)
        return 1.0 + len(items) * 10 / 4000  # the fixed part of 1 s pays off up to some size

    found = find_token_budget(lengths, seconds, 77)
    rates = {b: b / (1.0 + b / 4000) for b in (2**k for k in range(10, 19))}
    rising = [b for b in rates if b == 1024 or rates[b] > 1.03 * rates[b // 2]]
    assert found == max(b for b in rising if 2 * (2 * b - 1024) <= 0.03 * lengths.sum())
    assert sum(asked) <= 0.03 * lengths.sum()
    assert find_token_budget(lengths, lambda items: len(items) * 1.0, 77) == 1024
    assert find_token_budget(lengths, lambda items: 1.0 if len(items) < 300 else float("inf"), 77) == 2048
    assert find_token_budget(lengths, lambda items: float("inf"), 77) == 77
    assert find_token_budget(lengths[:50], seconds, 77) == 77
    assert find_token_budget(lengths[:0], seconds, 77) == 77


def test_a_budget_that_is_tried_out_changes_no_score() -> None:
    examples = [make_example(i, f"answer {i * i} and {i}", f"question {i}") for i in range(3000)]
    store = ListStore(examples)
    engine = ScoringEngine({"nll": METRICS["nll"]}, "auto")
    found = engine.score(BigramModel(), store, np.arange(3000)).values["nll"]
    assert engine.token_budget in (1024, 2048)
    plain = ScoringEngine({"nll": METRICS["nll"]}, 500).score(BigramModel(), store, np.arange(3000)).values["nll"]
    np.testing.assert_allclose(found, plain, rtol=1e-5)


def test_bfloat16_has_a_name_of_its_own_and_stays_near(toy_store: ListStore) -> None:
    class Matrix(BigramModel):
        def token_nll(self, batch: Batch) -> TokenNLL:
            product = torch.eye(2) @ torch.full((2, 2), 1.0 + 2**-10)
            tokens = super().token_nll(batch)
            return tokens._replace(nll=tokens.nll * product[0, 0].float())

    exact = ScoringEngine(METRICS).score(BigramModel(), toy_store, np.arange(40)).values["nll"]
    engine = ScoringEngine(METRICS, autocast="bfloat16")
    assert engine.formulas["ifd"] == "ifd-ppl-ratio/1+bf16"
    assert ScoringEngine(METRICS).formulas["ifd"] == "ifd-ppl-ratio/1"
    near = engine.score(Matrix(), toy_store, np.arange(40)).values["nll"]
    np.testing.assert_allclose(near, exact, rtol=1e-6)  # the product's factor is rounded away in bfloat16
    full = ScoringEngine(METRICS).score(Matrix(), toy_store, np.arange(40)).values["nll"]
    np.testing.assert_allclose(full, exact * (1 + 2**-10), rtol=1e-6)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"curriculum.autocast"):
        ScoringEngine(METRICS, autocast="float8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"at least 1 token, auto or device, got fast"):
        ScoringEngine(METRICS, "fast")  # type: ignore[arg-type]
