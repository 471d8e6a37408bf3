"""A tiny random model with a byte tokenizer, saved as a folder that a scorer can be loaded from."""

from __future__ import annotations

from pathlib import Path

import torch

from lit_curriculum.models.loading import isolated_rng, make_config, random_model
from tests.data.toy_tokenizers import byte_level

CHAT = (
    "{% for m in messages %}{{ '<' + m['role'][0] + '>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<a>' }}{% endif %}"
)


def save_scorer(folder: Path, seed: int = 0, context: int = 512, merges: tuple[tuple[str, str], ...] = ()) -> str:
    """Save it and return the folder's name."""
    tokenizer = byte_level(merges)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    options = {
        "model_type": "llama", "vocab_size": 256 + len(merges), "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": context, "bos_token_id": None,
        "eos_token_id": None,
    }  # fmt: skip
    with isolated_rng(seed):
        model = random_model(make_config(options), dtype=torch.float32, attention=None)
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return str(folder)
