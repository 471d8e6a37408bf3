"""Rules of diversity against slow references from their definitions, by hand, and their refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_curriculum import (
    ClusterDraw,
    Diversity,
    ExampleVectors,
    FacilityLocation,
    KCenterGreedy,
    MinHashFilter,
    NeighbourFilter,
    NgramCoverage,
    NgramVectors,
    TfidfVectors,
)
from lit_curriculum.methods.baselines.diversity.base import Pool
from lit_curriculum.methods.baselines.diversity.vector_rules import draw, far_apart, furthest_first, lazy_greedy
from lit_curriculum.types import ExampleStore, IntArray
from tests.conftest import ListStore, make_example

Matrix = NDArray[np.float32]


def unit_rows(n: int, d: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    found: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


class Given(ExampleVectors):
    """Vectors that a test makes."""

    name = "given"

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows)

    def raw(self, store: ExampleStore, indices: IntArray) -> Matrix:
        return self.rows[indices]


def pool_of(texts: list[str], priority: list[float] | None = None) -> Pool:
    store = ListStore([make_example(i, f"r{i}", text) for i, text in enumerate(texts)])
    return Pool(store=store, indices=np.arange(len(texts)), priority=None if priority is None else np.array(priority))


def choose(rule: Diversity, pool: Pool, size: int, seed: int = 0) -> list[int]:
    found = rule.choose(pool, size, np.random.default_rng(seed)).tolist()
    assert len(set(found)) == len(found) <= size
    return found


# -- facility location -----------------------------------------------------------------------------------------


def _facility(vectors: Matrix, chosen: list[int]) -> float:
    """f(S) from its definition."""
    return sum(
        max((max(0.0, float(np.dot(v.astype(float), vectors[j].astype(float)))) for j in chosen), default=0.0)
        for v in vectors
    )


def _reference_facility(vectors: Matrix, size: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(size):
        rest = [j for j in range(len(vectors)) if j not in chosen]
        chosen.append(max(rest, key=lambda j: (_facility(vectors, [*chosen, j]), -j)))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_lazy_facility_location_is_the_plain_greedy(seed: int) -> None:
    vectors = unit_rows(36, 4, seed)
    assert lazy_greedy(vectors, 10).tolist() == _reference_facility(vectors, 10)


def test_greedy_facility_location_keeps_its_bound_to_the_best_subset() -> None:
    for seed in range(5):
        vectors = unit_rows(9, 3, seed)
        best = max(_facility(vectors, list(s)) for s in itertools.combinations(range(9), 3))
        assert _facility(vectors, lazy_greedy(vectors, 3).tolist()) >= (1 - 1 / np.e) * best


def test_facility_location_is_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_rows(300, 8)
    whole = lazy_greedy(vectors, 40).tolist()
    for name, value in (("_BLOCK", 7), ("_AT_ONCE", 3)):
        monkeypatch.setattr(f"lit_curriculum.methods.baselines.diversity.vector_rules.{name}", value)
    assert lazy_greedy(vectors, 40).tolist() == whole


def test_facility_location_takes_the_middle_first_and_copies_last() -> None:
    # Two groups of copies along two axes, and one example between them.
    axes = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1], [0, 1]], dtype=np.float32)
    assert lazy_greedy(axes, 5).tolist() == [2, 0, 3, 1, 4]
    assert choose(FacilityLocation(Given(axes.tolist())), pool_of(list("abcde")), 9) == [2, 0, 3, 1, 4]


# -- k-center --------------------------------------------------------------------------------------------------


def _reference_k_center(vectors: Matrix, first: int, size: int) -> list[int]:
    chosen = [first]
    while len(chosen) < size:
        rest = [i for i in range(len(vectors)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: (min(1.0 - float(vectors[i] @ vectors[j]) for j in chosen), -i)))
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_k_center_is_furthest_first(seed: int) -> None:
    vectors = unit_rows(40, 5, seed)
    assert furthest_first(vectors, 3, 12).tolist() == _reference_k_center(vectors, 3, 12)


def test_k_center_begins_in_the_middle_or_at_the_highest_priority() -> None:
    axes = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=np.float32)
    texts = list("abcd")
    assert choose(KCenterGreedy(Given(axes.tolist())), pool_of(texts), 2) == [1, 3]
    assert choose(KCenterGreedy(Given(axes.tolist())), pool_of(texts, [0, 0, 2, 1]), 2)[0] == 2
    same = np.ones((4, 1), dtype=np.float32)
    assert choose(KCenterGreedy(Given(same.tolist())), pool_of(texts), 9) == [0, 1, 2, 3]


# -- clusters --------------------------------------------------------------------------------------------------


def test_shares_of_clusters_by_hand() -> None:
    # Clusters of 6, 3 and 1.
    cluster = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    order = np.arange(10)
    assert draw(cluster, order, "equal").tolist() == [0, 6, 9, 1, 7, 2, 8, 3, 4, 5]
    proportional = draw(cluster, order, "proportional")
    # Turns: 1/12, 3/12, ..., 11/12 of the first, 1/6, 3/6, 5/6 of the second, 1/2 of the third.
    assert proportional.tolist() == [0, 6, 1, 2, 7, 9, 3, 4, 8, 5]


def _sainte_lague(sizes: list[int], seats: int) -> list[int]:
    """Highest averages: the next seat goes where size / (2 seats + 1) is largest."""
    got = [0] * len(sizes)
    for _ in range(seats):
        got[max(range(len(sizes)), key=lambda c: sizes[c] / (2 * got[c] + 1))] += 1
    return got


def test_proportional_shares_are_an_apportionment() -> None:
    sizes = [41, 23, 17, 11, 5]
    cluster = np.repeat(np.arange(5), sizes)
    order = draw(cluster, np.arange(97), "proportional")
    for seats in range(1, 98, 6):
        assert np.bincount(cluster[order[:seats]], minlength=5).tolist() == _sainte_lague(sizes, seats)


def test_clusters_are_found_and_drawn_from_alike() -> None:
    centres = np.eye(3, dtype=np.float32)
    rows = np.repeat(centres, [20, 5, 2], axis=0) + 0.01 * unit_rows(27, 3)
    pool = pool_of([f"t{i}" for i in range(27)])
    group = np.repeat([0, 1, 2], [20, 5, 2])
    equal = choose(ClusterDraw(3, vectors=Given(rows.tolist())), pool, 6)
    assert np.bincount(group[equal]).tolist() == [2, 2, 2]
    shares = choose(ClusterDraw(3, "proportional", vectors=Given(rows.tolist())), pool, 14)
    assert np.bincount(group[shares]).tolist() == [10, 3, 1]
    assert equal == choose(ClusterDraw(3, vectors=Given(rows.tolist())), pool, 6)


# -- nearest neighbours ----------------------------------------------------------------------------------------


def _reference_filter(vectors: Matrix, order: list[int], threshold: float, size: int) -> list[int]:
    taken: list[int] = []
    for i in order:
        if len(taken) < size and all(round(float(vectors[i] @ vectors[j]), 5) < threshold for j in taken):
            taken.append(i)
    return taken


@pytest.mark.parametrize("threshold", [0.3, 0.8, 1.0])
def test_the_filter_in_blocks_is_the_filter_one_by_one(monkeypatch: pytest.MonkeyPatch, threshold: float) -> None:
    monkeypatch.setattr("lit_curriculum.methods.baselines.diversity.vector_rules._BLOCK", 7)
    vectors = np.concatenate([unit_rows(40, 4), unit_rows(20, 4)])
    order = np.random.default_rng(1).permutation(60)
    for size in (5, 60):
        found = far_apart(vectors, order, threshold, size).tolist()
        assert found == _reference_filter(vectors, order.tolist(), threshold, size)
    assert len(far_apart(vectors, order, 1.0, 60)) == 40


def test_deita_goes_down_the_scores() -> None:
    axes = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], dtype=np.float32)
    rule = NeighbourFilter(0.9, Given(axes.tolist()))
    assert choose(rule, pool_of(list("abcd"), [5, 6, 1, 2]), 4) == [1, 3]
    assert choose(rule, pool_of(list("abcd"), [5, 6, 1, 2]), 1) == [1]


# -- n-grams ---------------------------------------------------------------------------------------------------


def _reference_graph_filter(texts: list[str], priority: list[float], size: int, max_ngram: int) -> list[int]:
    """The bipartite graph as sets: take the best text, take its n-grams off the graph, count again."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, max_ngram))
    weights = vectorizer.fit_transform(texts).toarray()
    edges = {i: set(np.flatnonzero(row)) for i, row in enumerate(weights)}
    chosen: list[int] = []
    while len(chosen) < size:
        rest = [i for i in edges if i not in chosen]
        score = {i: priority[i] * sum(weights[i, g] for g in edges[i]) for i in rest}
        best = max(rest, key=lambda i: (round(score[i], 9), -i))
        if score[best] == 0:
            chosen += sorted(rest, key=lambda i: (-priority[i], i))[: size - len(chosen)]
            break
        chosen.append(best)
        covered = set(edges[best])
        for held in edges.values():
            held -= covered
    return chosen


def test_graph_filter_against_sets() -> None:
    generator = np.random.default_rng(0)
    words = [f"w{k}" for k in range(12)]
    texts = [" ".join(generator.choice(words, size=1 + i % 6)) for i in range(30)]
    priority = generator.uniform(0.5, 1.0, 30).tolist()
    for max_ngram in (1, 3):
        found = choose(NgramCoverage(max_ngram=max_ngram), pool_of(texts, priority), 25)
        assert found == _reference_graph_filter(texts, priority, 25, max_ngram)


# -- near-duplicates -------------------------------------------------------------------------------------------


def test_minhash_finds_the_planted_near_duplicates() -> None:
    generator = np.random.default_rng(3)
    words = [f"w{k}" for k in range(400)]
    originals = [list(generator.choice(words, size=40)) for _ in range(30)]
    near = [[*text[:-1], "changed"] for text in originals[:10]]
    texts = [" ".join(t) for t in originals + near] + [" ".join(originals[0]).upper()]
    rule = MinHashFilter(0.8)
    shingles = [rule.shingles(f"{t}\nr{i}") for i, t in enumerate(texts)]
    kept: list[int] = []
    for i, own in enumerate(shingles):  # brute force over all pairs
        if all(len(own & shingles[j]) / len(own | shingles[j]) < 0.8 for j in kept):
            kept.append(i)
    pool = pool_of(texts, [float(-i) for i in range(len(texts))])
    assert choose(rule, pool, 99) == kept == list(range(30))
    assert len(choose(rule, pool_of(texts), 99)) == 30
    assert len(choose(rule, pool, 12)) == 12


def test_shingles_by_hand() -> None:
    rule = MinHashFilter(ngram=2)
    assert rule.shingles("The cat, the CAT sat.") == {"the cat", "cat the", "cat sat"}
    assert rule.shingles("Cat") == {"cat"}
    assert rule.shingles("") == {""}


# -- vectors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [NgramVectors(), TfidfVectors()], ids=lambda v: type(v).__name__)
def test_vectors_have_length_one_and_copies_are_alike(toy_store: ListStore, vectors: ExampleVectors) -> None:
    examples = [*toy_store.examples, toy_store.examples[3]]
    found = vectors.unit(ListStore(examples), np.arange(41))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    assert float(found[3] @ found[40]) == pytest.approx(1.0, abs=1e-5)
    assert float(found[3] @ found[4]) < 0.999
    assert found.dtype == np.float32


def test_tfidf_of_nothing_is_zero() -> None:
    store = ListStore([make_example(i, "", "") for i in range(3)])
    assert not TfidfVectors().unit(store, np.arange(3)).any()


def test_options_out_of_range_are_refused() -> None:
    pool = pool_of(["a b", "c d"], [1.0, -1.0])
    with pytest.raises(ValueError, match=r"diversity.num_clusters must be at least 1, got 0"):
        ClusterDraw(0)
    with pytest.raises(ValueError, match=r"diversity.share must be one of equal, proportional"):
        ClusterDraw(share="fair")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num_clusters=3 is more than the 2 examples to choose from"):
        choose(ClusterDraw(3), pool, 1)
    with pytest.raises(ValueError, match=r"diversity.threshold must be in \(0, 1\], got 0"):
        NeighbourFilter(0.0)
    with pytest.raises(ValueError, match=r"diversity.threshold must be in \(0, 1\], got 1.5"):
        MinHashFilter(1.5)
    with pytest.raises(ValueError, match=r"diversity.ngram must be at least 1, got 0"):
        MinHashFilter(ngram=0)
    with pytest.raises(ValueError, match=r"diversity.max_ngram must be at least 1, got 0"):
        NgramCoverage(max_ngram=0)
    with pytest.raises(ValueError, match=r"that of example toy-1 \(toy.jsonl:2\) is -1; name a metric"):
        choose(NgramCoverage(), pool, 1)
    with pytest.raises(ValueError, match=r"vectors.text must be one of instruction, response, both"):
        TfidfVectors(text="all")  # type: ignore[arg-type]


def test_minhash_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package datasketch: pip install 'lit-curriculum\[dedup\]'"):
        MinHashFilter()
