"""Taxonomies, the linear classifier and the prompted one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lit_curriculum.methods.tapir.teacher.classifier import LinearTaskClassifier, PromptClassifier, load_taxonomy
from tests.chat.scripted_client import ScriptedClient

TEXTS = [f"add the numbers {i} and {i + 1}" for i in range(20)] + [f"write a poem about day {i}" for i in range(20)]
LABELS = ["Math"] * 20 + ["Writing"] * 20


def test_taxonomy_of_33_follows_the_rule() -> None:
    taxonomy = load_taxonomy("tapir_33")
    assert len(taxonomy.types) == 33
    assert sum(taxonomy.ratios.values()) == pytest.approx(1.0)
    assert taxonomy.ratios["Math"] == taxonomy.ratios["Reasoning"] == pytest.approx(1 / 6)
    assert taxonomy.ratios["Code Generation"] == taxonomy.ratios["Code Debug"] == pytest.approx(1 / 12)
    assert {round(v, 3) for t, v in taxonomy.ratios.items() if v < 0.08} == {0.017}


def test_taxonomy_of_32_has_the_public_ratios() -> None:
    taxonomy = load_taxonomy("tapir_32")
    assert len(taxonomy.types) == 32
    assert taxonomy.ratios["Math"] == pytest.approx(0.167)
    assert taxonomy.ratios["Others"] == pytest.approx(0.041)
    assert taxonomy.ratios["Paraphrase"] == pytest.approx(0.459 / 27)
    assert set(taxonomy.types) < set(load_taxonomy("tapir_33").types)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("types: [a]", "needs version, types, fallback and shares"),
        ("{version: 1, types: [a, a], fallback: a, shares: {}}", "types must be different"),
        ("{version: 1, types: [a], fallback: b, shares: {}}", "hold the fallback 'b'"),
        ("{version: 1, types: [a, b], fallback: b, shares: {a: much}}", "shares are fractions such as 1/6"),
        ("{version: 1, types: [a, b], fallback: b, shares: {c: 1/2}}", r"unlisted are \['c'\]"),
        ("{version: 1, types: [a, b], fallback: b, shares: {a: 2}}", "they sum to 2"),
        ("{version: 1, types: [a], fallback: a, shares: {a: 0}}", "the shares sum to nothing"),
    ],
)
def test_bad_taxonomy_is_refused(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        load_taxonomy(str(path))


def test_missing_taxonomy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tasks\.file: 'nowhere' is neither a taxonomy"):
        load_taxonomy("nowhere")


@pytest.mark.parametrize("num_types", [2, 3])
def test_linear_classifier_equals_scikit_learn_and_survives_saving(num_types: int, tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = TEXTS + [f"fix the bug in function f{i}" for i in range(20)] * (num_types - 2)
    labels = LABELS + ["Code Debug"] * (len(texts) - 40)
    classifier = LinearTaskClassifier()
    classifier.fit(texts, labels)
    unseen = ["add the numbers 77 and 3", "write a song about rain", "a bug in the day", "words alone"]
    found = classifier.predict(unseen)
    features = HashingVectorizer(n_features=1 << 15, ngram_range=(1, 2), alternate_sign=False)
    reference = LogisticRegression(C=10.0, max_iter=1000).fit(features.transform(texts), labels)
    assert found.labels == list(reference.predict(features.transform(unseen)))
    expected = reference.predict_proba(features.transform(unseen)).max(axis=1)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    assert found.labels[:2] == ["Math", "Writing"]
    classifier.save(tmp_path / "saved")
    again = LinearTaskClassifier(source=str(tmp_path / "saved")).predict(unseen)
    assert again.labels == found.labels
    np.testing.assert_allclose(again.probabilities, found.probabilities, rtol=1e-5)
    assert classifier.predict([]).labels == []


def test_linear_classifier_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not trained; call fit or name a saved one"):
        LinearTaskClassifier().predict(["a"])
    with pytest.raises(ValueError, match="at least two different types"):
        LinearTaskClassifier().fit(["a", "b"], ["x", "x"])
    with pytest.raises(ValueError, match="holds no saved linear classifier"):
        LinearTaskClassifier(source=str(tmp_path))


def test_prompted_classifier_takes_one_listed_name_and_falls_back_otherwise() -> None:
    replies = {
        "one": "I think <type>code debug</type>.",
        "two": "<type>Cooking</type>",
        "three": "Math",
        "four": "<type>Math</type> or <type>Law</type>",
    }
    client = ScriptedClient(lambda r: next(v for k, v in replies.items() if f"\n{k}\n" in r.messages[-1].content))
    found = PromptClassifier(client).predict(list(replies))
    assert found.labels == ["Code Debug", "Others", "Others", "Others"]
    assert found.num_failed == 3
