"""The fingerprint of a model changes with every bit of its weights, and with nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from lit_curriculum.difficulty import fingerprint
from lit_curriculum.difficulty.fingerprint import model_fingerprint


def tiny_llama(**options: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, **options,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def test_it_is_the_same_for_the_same_weights_in_any_mode_and_place() -> None:
    model = tiny_llama()
    first = model_fingerprint(model)
    assert first is not None
    assert len(first) == 32
    assert model_fingerprint(copy.deepcopy(model).train()) == first
    model.config._name_or_path = "elsewhere"
    assert model_fingerprint(model.eval()) == first


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_one_unit_in_the_last_place_of_any_tensor_changes_it(dtype: torch.dtype) -> None:
    model = tiny_llama().to(dtype)
    first = model_fingerprint(model)
    for _, tensor in [*model.named_parameters(), *model.named_buffers()]:
        flat = tensor.detach().view(-1)
        place = len(flat) // 2
        before = flat[place].clone()
        bits = flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
        bits[place] += 1
        assert model_fingerprint(model) != first
        flat[place] = before
    assert model_fingerprint(model) == first


def test_exchanged_weights_signs_names_types_and_options_change_it() -> None:
    layer = nn.Linear(4, 4)
    prints = {model_fingerprint(layer)}
    with torch.no_grad():
        layer.weight[[0, 1]] = layer.weight[[1, 0]]
    prints.add(model_fingerprint(layer))
    with torch.no_grad():
        layer.weight.zero_()
    prints.add(model_fingerprint(layer))
    with torch.no_grad():
        layer.weight.neg_()  # minus zero
    prints.add(model_fingerprint(layer))
    prints |= {model_fingerprint(nn.Sequential(layer)), model_fingerprint(layer.to(torch.bfloat16))}
    prints |= {model_fingerprint(nn.Dropout(0.1)), model_fingerprint(nn.Dropout(0.2))}
    prints |= {model_fingerprint(tiny_llama()), model_fingerprint(tiny_llama(rms_norm_eps=1e-3))}
    assert len(prints) == 10


def _reference_checksums(values: np.ndarray) -> list[int]:
    """The two sums by Python's integers."""
    mask, first, second = (1 << 64) - 1, 0, 0
    for place, bits in enumerate(values.view(np.int32).tolist()):
        mixed = ((bits ^ (place * 0x1E3779B97F4A7C15)) & mask) * 0x6A09E667F3BCC909 & mask
        mixed ^= mixed >> 32
        mixed = mixed * 0x1E3779B97F4A7C15 & mask
        first, second = (first + mixed) & mask, (second + mixed * (2 * place + 1)) & mask
    return [first, second]


def test_checksums_equal_integer_arithmetic_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    expected = _reference_checksums(values.numpy())
    for chunk in (1 << 22, 7):
        monkeypatch.setattr(fingerprint, "_CHUNK", chunk)
        found = fingerprint._checksums(values)
        assert [int(v) % (1 << 64) for v in found] == expected


def test_a_model_without_weights_at_hand_has_none() -> None:
    assert model_fingerprint(nn.Linear(3, 3, device="meta")) is None
    assert model_fingerprint(nn.Identity()) is not None


def test_a_scale_of_an_adapter_counts() -> None:
    layer = nn.Linear(2, 2)
    layer.scaling = {"default": 1.0}
    first = model_fingerprint(layer)
    layer.scaling = {"default": 2.0}
    assert model_fingerprint(layer) != first
