"""Expected digits against one prompt at a time."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from lit_curriculum.methods.baselines.scorers import digits
from lit_curriculum.methods.baselines.scorers.digits import DigitExpectation
from lit_curriculum.methods.baselines.scorers.reflection import TokenReflection
from lit_curriculum.models.execution.token_nll import next_token_logits
from lit_curriculum.types import Batch, FloatArray, Message
from tests.conftest import ListStore, make_example
from tests.methods.baselines.tiny_scorer import save_scorer
from tests.models.tiny_lms import CONFIGS, make_batch, tiny_model


def _reference_rating(source: str, text: str, digits: range) -> float:
    """Bytes are tokens here: the digit's id is its character's code."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64)
    logits = model(torch.tensor([list(text.encode())])).logits[0, -1].detach()
    weights = [float(logits[ord(str(d))].exp()) for d in digits]
    return sum(d * w for d, w in zip(digits, weights, strict=True)) / sum(weights)


@pytest.fixture
def prompt(tmp_path: Path) -> str:
    path = tmp_path / "rate.txt"
    path.write_text("{instruction}|{response}|{lowest}-{highest}:\n", encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digits, "_TOKEN_BUDGET", 200)
    return tmp_path / "cache" / "summaries"


@pytest.mark.slow
def test_ratings_equal_one_prompt_at_a_time(tmp_path: Path, prompt: str, toy_store: ListStore) -> None:
    source = save_scorer(tmp_path / "scorer")
    chat = DigitExpectation(source, prompt).score(toy_store)
    bare = DigitExpectation(source, prompt, template=None).score(toy_store)
    for i, example in enumerate(toy_store.examples):
        middle = f"{example.instruction}|{example.response}|"
        expected = _reference_rating(source, f"<u>{middle}1-6:<a>", range(1, 7))
        assert chat[i] == pytest.approx(expected, rel=1e-5)
        assert bare[i] == pytest.approx(_reference_rating(source, f"{middle}1-6:", range(1, 7)), rel=1e-5)
    assert np.ptp(chat) > 0.01


def test_processes_share_the_batches(
    tmp_path: Path, prompt: str, toy_store: ListStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = DigitExpectation(save_scorer(tmp_path / "scorer"), prompt)
    alone = metric.score(toy_store)
    shares: list[int] = []

    def as_two_ranks(items: list[Any], run: Callable[[list[Any]], list[Any]], together: bool) -> list[Any]:
        assert not together
        parts = [run(items[rank::2]) for rank in range(2)]
        shares.extend(sum(map(len, part)) for part in parts)
        return [parts[k % 2][k // 2] for k in range(len(items))]

    monkeypatch.setattr(digits, "scatter", as_two_ranks)
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(tmp_path / "another"))
    np.testing.assert_array_equal(metric.score(toy_store), alone)
    assert sum(shares) == len(toy_store)
    assert min(shares) > len(toy_store) // 4


def test_killed_at_any_batch_it_goes_on_and_rates_the_same(
    tmp_path: Path, prompt: str, toy_store: ListStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process dies by SIGKILL while a batch is in flight; the next finds the batches before it."""
    source = save_scorer(tmp_path / "scorer")
    began, answer = tmp_path / "began", digits.digit_probabilities
    dies_at = 0

    def noted(model: nn.Module, batch: Batch, headless: bool, digit_ids: list[int]) -> torch.Tensor:
        with began.open("a") as file:
            file.write("x")
        if began.stat().st_size == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer(model, batch, headless, digit_ids)

    def rate(cache: str) -> FloatArray:
        metric = DigitExpectation(source, prompt, cache_dir=str(tmp_path / cache))
        return metric.score(toy_store)

    monkeypatch.setattr(digits, "digit_probabilities", noted)
    straight = rate("straight")
    num_batches = began.stat().st_size
    assert num_batches > 8
    began.unlink()
    for dies_at in (3, 8, 9):  # noqa: B007  # noted() reads it
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            try:
                rate("killed")
            finally:
                os._exit(1)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it was over before it was killed"
    np.testing.assert_array_equal(rate("killed"), straight)
    assert began.stat().st_size == num_batches + 3, "every death costs the batch in flight"
    np.testing.assert_array_equal(rate("killed"), straight)
    assert began.stat().st_size == num_batches + 3, "what is answered is not asked again"


def test_turns_are_rated_one_by_one(tmp_path: Path, prompt: str) -> None:
    source = save_scorer(tmp_path / "scorer")
    one, two = make_example(0, "first answer", "First?"), make_example(1, "second", "And {response}?")
    turns = (Message(role="system", content="Be brief."), *one.messages, *two.messages)
    store = ListStore([one, two, replace(one, messages=turns)])
    a, b, both = DigitExpectation(source, prompt).score(store)
    assert both == pytest.approx(a + b)
    a, b, both = TokenReflection(source, prompt).score(store)
    assert both == pytest.approx((a + b) / 2)


def test_what_does_not_fit_is_nan_and_reported(tmp_path: Path, prompt: str, caplog: pytest.LogCaptureFixture) -> None:
    source = save_scorer(tmp_path / "scorer", context=40)
    store = ListStore([make_example(0, "short"), make_example(1, "long " * 20)])
    with caplog.at_level(logging.WARNING):
        scores = DigitExpectation(source, prompt).score(store)
    assert np.isnan(scores).tolist() == [False, True]
    assert "does not rate 1 of 2 examples, first toy-1 (toy.jsonl:2)" in caplog.text


def test_packaged_prompts_name_what_they_judge() -> None:
    complexity, quality = DigitExpectation("x").prompt_text, DigitExpectation("x", "quality").prompt_text
    assert "{instruction}" in complexity
    assert "{response}" not in complexity
    assert "{response}" in quality
    assert not complexity[-1].isspace()


def test_formula_names_the_prompt_and_every_option(prompt: str) -> None:
    metric = DigitExpectation("some/model", prompt)
    assert metric.formula.startswith("digit-expectation/1(some/model,float32,rate-")
    assert metric.formula.endswith(",1-6,sum,auto,context)")
    Path(prompt).write_text("Other words: {instruction}")
    assert DigitExpectation("some/model", prompt).formula != metric.formula


def test_a_digit_must_be_one_token(tmp_path: Path, toy_store: ListStore) -> None:
    path = tmp_path / "rate.txt"
    path.write_text("{instruction}: 0", encoding="utf-8")
    source = save_scorer(tmp_path / "scorer", merges=(("0", "4"),))
    with pytest.raises(ValueError, match=r"the digit 4 is not one token for .*scorer after the prompt"):
        DigitExpectation(source, str(path), template=None).score(toy_store)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"option prompt: poetry is none of complexity"):
        DigitExpectation("x", "poetry")
    (tmp_path / "empty.txt").write_text("Rate it:")
    with pytest.raises(ValueError, match=r"has no place {instruction}, so all examples would rate the same"):
        DigitExpectation("x", str(tmp_path / "empty.txt"))


def test_broken_weights_are_refused(tmp_path: Path, toy_store: ListStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_scorer(tmp_path / "scorer")

    def broken(*_: object) -> torch.Tensor:
        return torch.full((1, 256), torch.nan)

    monkeypatch.setattr("lit_curriculum.methods.baselines.scorers.digits.next_token_logits", broken)
    with pytest.raises(ValueError, match="gives NaN or infinite logits; its weights are broken"):
        DigitExpectation(source).score(toy_store)


@pytest.mark.parametrize("name", CONFIGS)
def test_next_token_logits_equal_those_of_each_row_alone(name: str) -> None:
    model = tiny_model(name)
    batch = make_batch([9, 5, 12], [1, 1, 1])
    with torch.no_grad():
        fast, slow = next_token_logits(model, batch, headless=True), next_token_logits(model, batch, headless=False)
        for row, length in enumerate((9, 5, 12)):
            alone = model(input_ids=batch.input_ids[row : row + 1, :length], use_cache=False).logits[0, -1]
            torch.testing.assert_close(fast[row], alone, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(slow[row], alone, rtol=1e-4, atol=1e-5)
