"""Similarity to a target set: slow references of both aggregates, target rows, vectors on disk, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_curriculum import GradientVectors, HiddenStateVectors, TargetRows, TargetSimilarity
from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.methods.baselines.target.metric import group_max, round_robin
from lit_curriculum.methods.baselines.target.vectors import TargetVectors, position_weights
from lit_curriculum.types import Batch, LanguageModel, TokenNLL, make_generator
from tests.conftest import ListStore, make_example


class Letters(nn.Module):
    """Pools bytes; counts the batches that it was asked for."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([scale]))
        self.calls = 0

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        raise AssertionError("hidden states are enough")

    def pooled_hidden(self, batch: Batch, /, weights: Tensor | None = None) -> Tensor:
        self.calls += 1
        assert weights is not None
        letters = nn.functional.one_hot(batch.input_ids, 128).float()
        return self.scale * (letters * weights[..., None]).sum(1)


def words_store(num: int = 30) -> ListStore:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), size=4 + i % 5)) for i in range(num)]
    return ListStore([make_example(i, t, f"Q{i}", ability=f"a{i % 3}") for i, t in enumerate(texts)])


def context(store: ListStore, model: nn.Module, stage: int = 0) -> UpdateContext:
    return UpdateContext(
        model=model, device=torch.device("cpu"), store=store, table=DifficultyTable(len(store), ["t"]), stage=stage,
        generator=make_generator(0, stage, "t"),
    )  # type: ignore[arg-type]  # fmt: skip


def scores_of(store: ListStore, model: nn.Module | None = None, **options: Any) -> np.ndarray[Any, Any]:
    metric = TargetSimilarity(HiddenStateVectors(), options.pop("targets", TargetRows(per_group=2)), **options)
    given = context(store, Letters() if model is None else model)
    with torch.no_grad():
        metric.update(given)
    found: np.ndarray[Any, Any] = metric.score(given, np.arange(len(store)))
    return found


def _vector(store: ListStore, i: int) -> list[float]:
    """The t-th of L tokens has weight t / (1 + ... + L)."""
    ids = store.encoded(i, "conditioned").input_ids.tolist()
    total, vector = sum(range(1, len(ids) + 1)), [0.0] * 128
    for place, token in enumerate(ids, start=1):
        vector[token] += place / total
    return vector


def _cosine(a: Any, b: Any) -> float:
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_group_max_is_the_best_cosine_to_a_groups_mean() -> None:
    store = words_store()
    groups = [g.tolist() for g in TargetRows(per_group=2).groups(store)]
    found = scores_of(store, token_budget=40)
    for i in range(30):
        if any(i in g for g in groups):
            assert np.isnan(found[i])
            continue
        means = [np.mean([_vector(store, t) for t in g], axis=0) for g in groups]
        assert found[i] == pytest.approx(max(_cosine(_vector(store, i), m) for m in means), abs=1e-5)


def test_round_robin_takes_turns() -> None:
    store = words_store()
    targets = np.concatenate(TargetRows(per_group=2).groups(store)).tolist()
    ranks = np.argsort(np.argsort(store.content_hashes))
    order: list[int] = []
    while len(order) < 24:  # the definition: target after target takes the most similar that is left
        t = targets[len(order) % len(targets)]
        rest = [i for i in range(30) if i not in targets and i not in order]
        order.append(min(rest, key=lambda i: (-round(_cosine(_vector(store, t), _vector(store, i)), 5), ranks[i])))
    found = scores_of(store, aggregate="round_robin")
    assert np.argsort(-found, kind="stable")[:24].tolist() == order
    assert sorted(found[~np.isnan(found)].tolist()) == [-float(k) for k in range(23, -1, -1)]


def test_turns_by_hand_and_ties() -> None:
    similarities = np.array([[0.9, 0.8, 0.1, 0.1], [0.9, 0.2, 0.3, 0.3]], dtype=np.float32)
    assert round_robin(similarities, np.array([0, 1, 2, 3])).tolist() == [0, 2, 1, 3]
    assert round_robin(similarities, np.array([0, 1, 3, 2])).tolist() == [0, 2, 3, 1]
    best = group_max(np.eye(2, dtype=np.float32), [np.array([[2.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])])  # type: ignore[list-item]
    np.testing.assert_allclose(best, [1.0, np.sqrt(0.5)], rtol=1e-6)


def test_scores_do_not_depend_on_file_order_or_batches() -> None:
    store = words_store()
    moved = np.random.default_rng(2).permutation(30)
    shuffled = ListStore([store.examples[i] for i in moved])
    for aggregate in ("group_max", "round_robin"):
        here = scores_of(store, aggregate=aggregate)
        np.testing.assert_allclose(scores_of(shuffled, aggregate=aggregate), here[moved], rtol=1e-6)
        np.testing.assert_allclose(scores_of(store, aggregate=aggregate, token_budget=13), here, rtol=1e-6)


def test_target_rows_are_named_by_file_or_taken_of_each_group() -> None:
    store = words_store(9)
    taken = TargetRows(per_group=1).groups(store)
    for a, group in enumerate(taken):
        members = [i for i in range(9) if i % 3 == a]
        assert group.tolist() == [min(members, key=lambda i: store[i].content_hash)]
    everything = TargetRows("toy.jsonl").groups(store)
    assert sorted(np.concatenate(everything).tolist()) == list(range(9))
    with pytest.raises(ValueError, match=r"option targets: name the file of the target rows"):
        TargetRows()
    with pytest.raises(ValueError, match=r"targets.per_group must be at least 1, got 0"):
        TargetRows(per_group=0)
    with pytest.raises(ValueError, match=r"no row of the data has file=other.jsonl; add the file"):
        TargetRows("other.jsonl").groups(store)


def test_vectors_are_kept_on_disk_and_found_again(tmp_path: Path) -> None:
    store, model = words_store(), Letters()
    first = scores_of(store, model, cache_dir=str(tmp_path), token_budget=40)
    asked = model.calls
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == asked > 4
    np.testing.assert_array_equal(scores_of(store, model, cache_dir=str(tmp_path), token_budget=40), first)
    assert model.calls == asked
    files[1].unlink()  # as if killed before
    np.testing.assert_array_equal(scores_of(store, model, cache_dir=str(tmp_path), token_budget=40), first)
    assert model.calls == asked + 1
    scores_of(store, Letters(2.0), cache_dir=str(tmp_path), token_budget=40)
    assert len(sorted(tmp_path.rglob("*.npy"))) == 2 * asked


def test_state_and_dates() -> None:
    store = words_store()
    metric, other = (TargetSimilarity(HiddenStateVectors(), TargetRows(per_group=1), first_stage=2) for _ in range(2))
    assert [metric.is_due(s) for s in range(5)] == [False, False, True, False, False]
    cost = metric.update(context(store, Letters()))
    assert cost.forward_tokens == store.lengths("conditioned").sum()
    assert cost.scalars == {"targets": 3.0, "groups": 3.0}
    other.load_state_dict(metric.state_dict())
    given, everything = context(store, Letters()), np.arange(30)
    np.testing.assert_array_equal(other.score(given, everything), metric.score(given, everything))
    with pytest.raises(ValueError, match="target scores of version 9 cannot be read; expected 1"):
        other.load_state_dict({"version": 9})


def test_position_weights_rise_and_leave_padding_out() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    expected = torch.tensor([[1 / 6, 2 / 6, 3 / 6, 0], [1, 0, 0, 0]])
    torch.testing.assert_close(position_weights(mask), expected)


class Broken(TargetVectors):
    name = "broken"

    def extractor(self, model: LanguageModel, of_targets: bool) -> tuple[Callable[[Batch], Tensor], str]:
        return lambda batch: torch.full((len(batch), 2), torch.nan), ""


def test_what_cannot_be_done_is_refused() -> None:
    rows = TargetRows(per_group=1)
    with pytest.raises(ValueError, match=r"vector of example toy-\d+ \(toy.jsonl:\d+\) is NaN or infinite"):
        TargetSimilarity(Broken(), rows).update(context(words_store(), Letters()))
    with pytest.raises(ValueError, match=r"aggregate must be one of group_max, round_robin, got 'sum'"):
        TargetSimilarity(HiddenStateVectors(), rows, aggregate="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"vectors.dimensions must be at least 1, got 0"):
        GradientVectors(0)
    with pytest.raises(ValueError, match=r"vectors.layers must be one of trainable"):
        GradientVectors(layers="all")  # type: ignore[arg-type]


def test_gradients_of_a_sharded_model_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_curriculum.methods.baselines.target.metric.is_sharded", lambda model: True)
    metric = TargetSimilarity(GradientVectors(8), TargetRows(per_group=1))
    assert metric.model_methods == ("gradient_sketch",)
    with pytest.raises(ValueError, match=r"gradient-sketch/1\(8,trainable,adam,0\) needs whole weights"):
        metric.update(context(words_store(), Letters()))
