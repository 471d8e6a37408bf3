"""Tiny random models of several architectures, and batches for them."""

from __future__ import annotations

from typing import Any

import torch

from lit_curriculum.models.loading import isolated_rng, make_config, random_model
from lit_curriculum.types import Batch

VOCABULARY = 53
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "llama-tied": {"model_type": "llama", **SMALL, "tie_word_embeddings": True},
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": VOCABULARY,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
    },
    "qwen2": {"model_type": "qwen2", **SMALL, "tie_word_embeddings": True},
    "gemma2": {"model_type": "gemma2", **SMALL, "final_logit_softcapping": 3.0, "sliding_window": 8},
    "gemma3": {"model_type": "gemma3_text", **SMALL, "final_logit_softcapping": 30.0, "sliding_window": 8},
    "granite": {"model_type": "granite", **SMALL, "logits_scaling": 0.125},
    "cohere": {"model_type": "cohere", **SMALL, "logit_scale": 4.0},
    "gptj-with-head-bias": {
        "model_type": "gptj",
        "vocab_size": VOCABULARY,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "rotary_dim": 4,
    },
}


def tiny_model(name: str, seed: int = 0, attention: str | None = None, **options: Any) -> Any:
    """A random model in evaluation mode whose weights are large enough for its logits to differ.

    Args:
        name: In :data:`CONFIGS`.
        seed: Of its weights.
        attention: Implementation of transformers.
        options: In place of those of the configuration.
    """
    with isolated_rng(seed):
        model = random_model(make_config({**CONFIGS[name], **options}), dtype=torch.float32, attention=attention)
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def row_of(batch: Batch, row: int) -> Batch:
    """One row of ``batch`` with its padding."""
    columns = (batch.input_ids, batch.attention_mask, batch.scored, batch.index, batch.weight)
    return Batch(*(c[row : row + 1] for c in columns))


def make_batch(lengths: list[int], responses: list[int], width: int | None = None, seed: int = 1) -> Batch:
    """Random rows of ``lengths`` tokens whose last ``responses`` tokens are scored, padded to ``width``."""
    generator = torch.Generator().manual_seed(seed)
    width = width or max(lengths)
    rows = len(lengths)
    ids = torch.zeros(rows, width, dtype=torch.int64)
    mask = torch.zeros(rows, width, dtype=torch.int64)
    scored = torch.zeros(rows, width, dtype=torch.bool)
    for row, (length, response) in enumerate(zip(lengths, responses, strict=True)):
        ids[row, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
        mask[row, :length] = 1
        scored[row, length - response : length] = True
    return Batch(ids, mask, scored, torch.arange(rows), torch.ones(rows))
