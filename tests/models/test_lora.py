"""Low-rank adapters."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from lit_curriculum.models.loading import isolated_rng, make_config, random_model
from lit_curriculum.models.lora import LoRA, add_lora

LLAMA = {"model_type": "llama", "vocab_size": 20, "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 20, "n_embd": 16, "n_layer": 1, "n_head": 2}


def tiny(options: dict[str, Any]) -> Any:
    with isolated_rng(0):
        return random_model(make_config(options), dtype=torch.float32, attention=None)


@pytest.mark.parametrize("options", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_adapter_alone_is_trained_and_starts_out_as_nothing(options: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    ids = torch.arange(6)[None]
    expected = tiny(options).eval()(input_ids=ids).logits
    model = add_lora(tiny(options), LoRA(rank=3, alpha=6.0, dropout=0.1))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)
    assert {min(p.shape) for p in model.parameters() if p.requires_grad} == {3}
    torch.testing.assert_close(model.eval()(input_ids=ids).logits, expected)


def test_named_layers_only() -> None:
    pytest.importorskip("peft")
    model = add_lora(tiny(LLAMA), LoRA(target_modules=["q_proj", "v_proj"]))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 4
    assert all("q_proj" in name or "v_proj" in name for name in trained)
    with pytest.raises(ValueError, match=r"model.lora.target_modules: no layer is called c_attn"):
        add_lora(tiny(LLAMA), LoRA(target_modules=["q_proj", "c_attn"]))


@pytest.mark.parametrize("options", [{**LLAMA, "num_hidden_layers": 3}, {**GPT2, "n_layer": 3}], ids=["llama", "gpt2"])
def test_last_blocks_only_and_no_gradient_below(options: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    everywhere = {n for n, p in add_lora(tiny(options), LoRA(rank=3)).named_parameters() if p.requires_grad}
    model = add_lora(tiny(options), LoRA(rank=3, last_blocks=2))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in everywhere if ".0." not in name}
    with pytest.raises(ValueError, match=r"model.lora.last_blocks is 4, but the model has 3 blocks"):
        add_lora(tiny(options), LoRA(last_blocks=4))


def test_missing_peft_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"model.lora needs the package peft: pip install 'lit-curriculum\[lora\]'"):
        add_lora(tiny(LLAMA), LoRA())


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model.lora.rank must be at least 1, got 0"):
        LoRA(rank=0)
    with pytest.raises(ValueError, match=r"model.lora.alpha must be above 0, got 0"):
        LoRA(alpha=0.0)
    with pytest.raises(ValueError, match=r"model.lora.dropout must be in \[0, 1\), got 1.0"):
        LoRA(dropout=1.0)
    with pytest.raises(ValueError, match=r"model.lora.target_modules is an empty list"):
        LoRA(target_modules=[])
    with pytest.raises(ValueError, match=r"model.lora.last_blocks must be at least 1, got 0"):
        LoRA(last_blocks=0)
