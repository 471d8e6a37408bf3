"""The evaluate command, from files of tasks to a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lit_curriculum import CausalLMModule
from lit_curriculum.cli import main
from lit_curriculum.commands.evaluate import as_table, load
from lit_curriculum.evaluation.summary import Interval, TaskScore
from tests.methods.baselines.tiny_scorer import save_scorer


def test_a_model_folder_on_two_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_scorer(tmp_path / "model")
    rows = [{"id": k, "task": "sky", "prompt": "The sky is", "choices": [" blue", " red"], "gold_index": k % 2}
            for k in range(4)]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "sums.jsonl").write_text(json.dumps({"question": "2 + 2?", "answer": "#### 4", "id": "g"}) + "\n")
    out = tmp_path / "out"
    status = main([
        "evaluate", "--model", model, "--out", str(out), "--task", f"items={tmp_path / 'own.jsonl'}",
        "--task", f"gsm8k={tmp_path / 'sums.jsonl'}", "--max_new_tokens", "4",
    ])  # fmt: skip
    assert status == 0
    table = capsys.readouterr().out
    assert "| sky | 4 | 50.0 | 15.0 to 85.0 | 50.0 | 0.000 |" in table
    assert (out / "results.md").read_text() == table
    lines = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines] == ["sky"] * 4 + ["gsm8k"]
    assert lines[0]["answer"] == lines[1]["answer"]
    saved = json.loads((out / "results.json").read_text())
    assert [row["num_items"] for row in saved["rows"]] == [4, 1]
    assert saved["options"]["max_length"] == 512


def test_a_task_needs_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "x", "--task", "file.jsonl", "--out", str(tmp_path)]) == 2
    assert "--task file.jsonl must be FORMAT=FILE" in capsys.readouterr().err


def test_a_model_and_a_task_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "x", "--out", str(tmp_path)]) == 2
    assert "evaluate needs --task; only --merge does without" in capsys.readouterr().err


def test_an_empty_table_of_extras() -> None:
    row = TaskScore(task="t", num_items=2, score=0.5, interval=Interval(0.1, 0.9), chance=0.25, kappa=1 / 3,
                    nll=float("nan"), extra={"loose": 0.75})  # fmt: skip
    assert "| t | 2 | 50.0 | 10.0 to 90.0 | 25.0 | 0.333 |  | loose 75.0 % |" in as_table([row])


def test_a_checkpoint_of_a_run_is_evaluated_as_its_folder_would_be(tmp_path: Path) -> None:
    source = save_scorer(tmp_path / "model")
    module = CausalLMModule(source=source)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
                      max_steps=0)  # fmt: skip
    trainer.strategy.connect(module)
    module.configure_model()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    first, tokenizer = load(source)
    second, again = load(str(tmp_path / "last.ckpt"))
    assert again.chat_template == tokenizer.chat_template
    prompts = [np.arange(3, 20, dtype=np.int32)]
    assert first.generate(prompts, 8)[0].tolist() == second.generate(prompts, 8)[0].tolist()
    assert not second.training
    trainer.save_checkpoint(tmp_path / "bare.ckpt")
    state = torch.load(tmp_path / "bare.ckpt", weights_only=True)
    state["causal_lm"]["tokenizer"] = None
    torch.save(state, tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match="does not say where its tokenizer comes from; export it"):
        load(str(tmp_path / "bare.ckpt"))
