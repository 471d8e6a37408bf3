"""SelectIT's three levels against their definitions, one prompt and one model at a time."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lit_curriculum.methods.baselines.scorers.reflection import (
    PROMPTS,
    SelfReflection,
    TokenReflection,
    sentence_reflection,
    token_reflection,
)
from tests.conftest import ListStore, make_example
from tests.methods.baselines.tiny_scorer import save_scorer

DIGITS = range(1, 6)


def _reference_token(source: str, text: str) -> float:
    """Bytes are tokens: the digit's id is its character's code."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64)
    logits = model(torch.tensor([list(text.encode())])).logits[0, -1].detach()
    weights = [float(logits[ord(str(d))].exp()) for d in DIGITS]
    p = [w / sum(weights) for w in weights]
    base = max(range(5), key=lambda k: p[k])
    return DIGITS[base] * sum(abs(p[k] - p[base]) for k in range(5)) / 4


def prompts(folder: Path) -> list[str]:
    found = []
    texts = ("rate {instruction}/{response}:", "how is {response} to {instruction}?", "{instruction} {response} =")
    for k, words in enumerate(texts):
        path = folder / f"p{k}.txt"
        path.write_text(words, encoding="utf-8")
        found.append(str(path))
    return found


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "cache"))


def test_all_levels_equal_their_definitions(tmp_path: Path) -> None:
    sources = [save_scorer(tmp_path / "a", 0), save_scorer(tmp_path / "b", 1, merges=(("q", "q"),))]
    store = ListStore([make_example(i, f"answer {i * 7}", f"Question {i}?") for i in range(5)])
    files = prompts(tmp_path)
    found = SelfReflection(sources, files, alpha=0.3, template=None).score(store)
    for i, example in enumerate(store.examples):
        by_model, sizes = [], []
        for source in sources:
            ratings = []
            for file in files:
                text = Path(file).read_text().format(instruction=example.instruction, response=example.response)
                ratings.append(_reference_token(source, text))
            by_model.append(statistics.mean(ratings) / (1 + 0.3 * statistics.pstdev(ratings)))
            sizes.append(sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(source).parameters()))
        expected = sum(s * m for s, m in zip(by_model, sizes, strict=True)) / sum(sizes)
        assert found[i] == pytest.approx(expected, rel=1e-5)
    assert sizes[0] != sizes[1]
    assert np.ptp(found) > 0


def test_token_level_by_hand() -> None:
    p = torch.tensor([[0.1, 0.6, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0, 1.0]]).double()
    assert token_reflection(p, torch.tensor([1, 2, 3, 4, 5])).tolist() == pytest.approx([1.0, 0.0, 5.0])


def test_sentence_level_by_hand() -> None:
    ratings = np.array([[1.0, 2.0], [3.0, 2.0]])
    assert sentence_reflection(ratings, 0.5).tolist() == pytest.approx([2.0 / 1.5, 2.0])


def test_what_cannot_be_asked_has_no_score(tmp_path: Path) -> None:
    store = ListStore([make_example(0, "short"), make_example(1, "long " * 40)])
    source = save_scorer(tmp_path / "scorer", context=60)
    found = SelfReflection([source], prompts(tmp_path), template=None).score(store)
    assert np.isnan(found).tolist() == [False, True]


def test_formula_and_packaged_prompts() -> None:
    metric = SelfReflection(["some/model"])
    assert metric.formula.startswith("self-reflection/1(0.2;token-reflection/1(some/model,float32,reflection_1-")
    texts = {TokenReflection("x", name).prompt_text for name in PROMPTS}
    assert len(texts) == 5
    assert all("{instruction}" in text and "{response}" in text for text in texts)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sources and prompts of SelfReflection must name at least one each"):
        SelfReflection([])
    with pytest.raises(ValueError, match=r"alpha must be at least 0, got -1"):
        SelfReflection(["x"], alpha=-1.0)
