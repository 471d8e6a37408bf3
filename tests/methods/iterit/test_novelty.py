"""N-gram counts and TF-IDF weights against scikit-learn and by hand."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from lit_curriculum.methods.iterit.novelty import ngram_counts, novelty, tfidf
from tests.selection_toys import END, TOY_A, TOY_B, corpus, ngram_weights

AWKWARD = ["", "a b I 5", "One TWO two_three", "x1 naïve ÉTÉ 日本 日本", "it's don't", "one two one two", "ten\ntwo"]


@pytest.mark.parametrize("max_ngram", [1, 2, 3, 5, 12])
def test_counts_equal_scikit_learn_columns_included(max_ngram: int) -> None:
    texts = AWKWARD + corpus(np.random.default_rng(max_ngram), 60, 300, 30)
    expected = CountVectorizer(ngram_range=(1, max_ngram)).fit_transform(texts)
    counts = ngram_counts(texts, max_ngram, "run")
    assert counts.shape == expected.shape
    assert counts.has_canonical_format
    np.testing.assert_array_equal(counts.toarray(), expected.toarray())


def test_keys_too_wide_for_an_integer_are_ranked_first() -> None:
    # 400 distinct words in 12-grams: 401 ** 12 is far beyond 64 bits.
    texts = [" ".join(f"word{k}" for k in range(start, start + 40)) for start in range(0, 400, 20)]
    expected = CountVectorizer(ngram_range=(1, 12)).fit_transform(texts)
    np.testing.assert_array_equal(ngram_counts(texts, 12).toarray(), expected.toarray())


def test_counts_of_texts_without_words() -> None:
    for texts in (["", "a", "! ?"], []):
        counts = ngram_counts(texts)
        assert counts.shape == (len(texts), 0)
        assert tfidf(counts).shape == counts.shape
    np.testing.assert_array_equal(novelty(tfidf(ngram_counts(["", "a"]))), [0.0, 0.0])


def test_weights_equal_scikit_learn_fitted_on_the_pool() -> None:
    generator = np.random.default_rng(3)
    texts = corpus(generator, 80, 60, 25)
    counts = ngram_counts(texts)
    for _ in range(5):
        pool = generator.permutation(80)[:30]
        vectorizer = TfidfVectorizer(ngram_range=(1, 3))
        expected = vectorizer.fit_transform([texts[i] for i in pool])
        present = np.unique(counts[pool].indices)
        weights = tfidf(counts[pool])
        assert len(present) == expected.shape[1]
        np.testing.assert_allclose(weights.toarray()[:, present], expected.toarray(), rtol=1e-14, atol=0)


def test_weights_by_hand() -> None:
    texts = [text for text, ifd in TOY_A if ifd < 1]
    weights = ngram_weights(texts)
    assert weights.shape == (4, 37)
    vectorizer = CountVectorizer(ngram_range=(1, 3)).fit(texts)
    column = vectorizer.vocabulary_
    dense = weights.toarray()
    assert dense[1, column["the"]] == pytest.approx(0.387632, abs=1e-6)
    assert dense[1, column["cat sat"]] == pytest.approx(0.239401, abs=1e-6)
    assert dense[1, column["on the rug"]] == pytest.approx(0.303650, abs=1e-6)
    np.testing.assert_allclose(dense[2][dense[2] > 0], np.full(15, 0.258199), atol=1e-6)
    assert dense[3, column["the"]] == pytest.approx(0.274487, abs=1e-6)
    assert dense[3, column["dog ran"]] == pytest.approx(0.430037, abs=1e-6)
    np.testing.assert_allclose(novelty(weights), [3.692598, 3.692598, 3.872983, 2.424669], atol=1e-6)
    with_end = ngram_weights([text + END for text in texts])
    np.testing.assert_allclose(novelty(with_end), [4.053862, 4.053862, 4.216037, 2.944585], atol=1e-6)


def test_weights_of_toy_b_by_hand() -> None:
    row = ngram_weights([text + END for text, ifd in TOY_B if ifd < 1]).toarray()[1]
    # salt (twice), fish and net, the end of text, and seven n-grams of this row alone.
    expected = [0.565033, 0.227932, 0.227932, 0.134621, *[0.282516] * 7]
    np.testing.assert_allclose(sorted(row[row > 0]), sorted(expected), atol=1e-6)
    assert row.sum() == pytest.approx(3.133133, abs=1e-6)


def test_chinese_texts_share_ngrams_of_characters_and_runs_share_none() -> None:
    texts = ["细胞的能量工厂是线粒体。", "线粒体是什么?", "GPU 很快 fast"]
    counts = ngram_counts(texts, 2)
    by_hand = [
        Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))
        for words in (list("细胞的能量工厂是线粒体"), list("线粒体是什么"), ["gpu", "很", "快", "fast"])
    ]
    columns = sorted(set().union(*by_hand))
    assert counts.toarray().tolist() == [[words[c] for c in columns] for words in by_hand]
    assert (counts[[0]].multiply(counts[[1]])).sum() == len({"线", "粒", "体", "是", "线 粒", "粒 体"})
    runs = ngram_counts(texts, 2, "run")
    assert (runs[[0]].multiply(runs[[1]])).sum() == 0
    assert (runs != CountVectorizer(ngram_range=(1, 2)).fit_transform(texts)).nnz == 0
