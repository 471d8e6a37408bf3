"""A tiny model, data and the commands on them, for the tests of commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lit_curriculum.cli import main
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer

CONFIGS = Path(__file__).parents[2] / "configs"
METRICS = {
    "ifd": {"class_path": "lit_curriculum.InstructionFollowingDifficulty"},
    "nll": {"class_path": "lit_curriculum.NegativeLogLikelihood"},
    "length": {"class_path": "lit_curriculum.Length"},
}
ORDERED = {"class_path": "lit_curriculum.OrderedPolicy",
           "init_args": {"metric": "nll", "direction": "hard_to_easy", "fraction": 0.25}}  # fmt: skip


def make_model(folder: Path, context_length: int) -> Path:
    """Write a tiny random model and its tokenizer."""
    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=context_length,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_place(tmp_path: Path) -> Path:
    """A folder with a tiny model, data and the layer of metrics and policy."""
    make_model(tmp_path / "model", context_length=96)
    rows = [{"instruction": f"say {i}", "output": f"{i * 7} is " + "a fish " * (1 + i % 5), "topic": i % 3}
            for i in range(60)]  # fmt: skip
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    layer(tmp_path, METRICS)
    return tmp_path


def layer(place: Path, metrics: dict[str, Any], policy: dict[str, Any] = ORDERED) -> None:
    (place / "layer.yaml").write_text(json.dumps({"curriculum": {"metrics": metrics, "policy": policy}}))


def arguments(place: Path, *extra: str) -> list[str]:
    return [
        "--config", str(CONFIGS / "base.yaml"), "--config", str(place / "layer.yaml"),
        f"--model.source={place / 'model'}",
        f"--data.path={place / 'data.jsonl'}", f"--data.cache_dir={place / 'cache'}", "--trainer.accelerator=cpu",
        f"--trainer.default_root_dir={place / 'runs'}", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", *extra,
    ]  # fmt: skip


def score(place: Path, out: str, *extra: str) -> dict[str, Any]:
    assert main(["score", "--out", str(place / out), *arguments(place, *extra)]) == 0
    return json.loads((place / out / "score.json").read_text())
