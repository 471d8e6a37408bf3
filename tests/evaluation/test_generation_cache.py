"""Answers that are kept: generated once, keyed by model and options, and robust to a line that was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lit_curriculum import CausalLMModule
from lit_curriculum.cli import main
from lit_curriculum.difficulty.runner import TokenIds
from lit_curriculum.evaluation.evaluator import GenerationCache
from tests.methods.baselines.tiny_scorer import save_scorer

PROMPTS = [np.array(ids, np.int32) for ids in ([1, 2], [3], [4, 5, 6])]


def _doubled(asked: list[list[int]]) -> Callable[[list[TokenIds]], list[TokenIds]]:
    def ask(prompts: list[TokenIds]) -> list[TokenIds]:
        asked.extend(p.tolist() for p in prompts)
        return [2 * p for p in prompts]

    return ask


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "new" / "answers.jsonl", []
    GenerationCache(path, "m").answer(PROMPTS[:2], "8 0.0", _doubled(asked))
    found = GenerationCache(path, "m").answer(PROMPTS, "8 0.0", _doubled(asked))
    assert asked == [[1, 2], [3], [4, 5, 6]]
    assert [a.tolist() for a in found] == [[2, 4], [6], [8, 10, 12]]
    assert all(a.dtype == np.int32 for a in found)


def test_equal_prompts_are_asked_once(tmp_path: Path) -> None:
    asked: list[list[int]] = []
    found = GenerationCache(tmp_path / "a.jsonl", "m").answer(
        [PROMPTS[0], PROMPTS[1], PROMPTS[0]], "8", _doubled(asked)
    )
    assert asked == [[1, 2], [3]]
    assert [a.tolist() for a in found] == [[2, 4], [6], [2, 4]]


@pytest.mark.parametrize(("model", "options"), [("other", "8 0.0"), ("m", "9 0.0")])
def test_another_model_and_other_options_are_asked(tmp_path: Path, model: str, options: str) -> None:
    asked: list[list[int]] = []
    GenerationCache(tmp_path / "a.jsonl", "m").answer(PROMPTS[:1], "8 0.0", _doubled(asked))
    GenerationCache(tmp_path / "a.jsonl", model).answer(PROMPTS[:1], options, _doubled(asked))
    assert asked == [[1, 2], [1, 2]]


def test_a_line_that_was_cut_off_is_asked_again_and_spoils_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, asked = tmp_path / "a.jsonl", []
    GenerationCache(path, "m").answer(PROMPTS, "8", _doubled([]))
    path.write_bytes(path.read_bytes()[:-5])
    GenerationCache(path, "m").answer(PROMPTS, "8", _doubled(asked))
    assert asked == [[4, 5, 6]]
    assert "a.jsonl:3 is no complete answer" in caplog.text
    GenerationCache(path, "m").answer(PROMPTS, "8", _doubled(asked))
    assert asked == [[4, 5, 6]]


def test_a_killed_evaluation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = save_scorer(tmp_path / "model"), tmp_path / "out"
    rows = [{"question": f"{k} + 2?", "answer": f"#### {k + 2}", "id": str(k)} for k in range(3)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["evaluate", "--model", model, "--out", str(out), "--task", f"gsm8k={tmp_path / 'sums.jsonl'}",
               "--max_new_tokens", "4"]  # fmt: skip
    assert main(command) == 0
    before = (out / "items.jsonl").read_bytes()
    lines = (out / "answers.jsonl").read_text().splitlines()
    assert len(lines) == 3
    (out / "items.jsonl").unlink()
    (out / "answers.jsonl").write_text(lines[0] + "\n" + lines[1][:9])
    asked = 0
    generate = CausalLMModule.generate

    def counted(module: CausalLMModule, prompts: list[TokenIds], *options: object) -> list[TokenIds]:
        nonlocal asked
        asked += len(prompts)
        return generate(module, prompts, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(CausalLMModule, "generate", counted)
    assert main(command) == 0
    assert asked == 2
    assert (out / "items.jsonl").read_bytes() == before
