"""Sizes, operations and memory of a model against numbers worked by hand and against a model that was made."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from lit_curriculum import CausalLMModule
from lit_curriculum.models.footprint import footprint, optimizer_moments
from lit_curriculum.models.lora import LoRA
from lit_curriculum.types import Batch

LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False, "max_position_embeddings": 64,
}  # fmt: skip
# q and o, k and v (half as wide), three of the feed-forward net, two norms.
LAYER = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 40 + 2 * 16
BODY = 3 * LAYER + 16


def test_parameters_by_hand_and_no_weights_are_made() -> None:
    module = CausalLMModule(config=LLAMA)
    found = footprint(module)
    assert module.model is None
    assert (found.body, found.head, found.total, found.trained) == (BODY, 800, BODY + 1600, BODY + 1600)
    tied = footprint(CausalLMModule(config=LLAMA | {"tie_word_embeddings": True}))
    assert (tied.body, tied.head, tied.total) == (BODY, 800, BODY + 800)
    module.configure_model()
    assert found.total == sum(p.numel() for p in module.parameters())


def test_operations_by_hand() -> None:
    found = footprint(CausalLMModule(config=LLAMA))
    assert found.forward_flops(100, 30) == 2 * (BODY * 100 + 800 * 30)
    assert found.training_flops(100, 30) == 6 * (BODY * 100 + 800 * 30)
    again = footprint(CausalLMModule(config=LLAMA, gradient_checkpointing=True))
    assert again.training_flops(100, 30) == 6 * (BODY * 100 + 800 * 30) + 2 * BODY * 100
    adapter = footprint(CausalLMModule(config=LLAMA, lora=LoRA(rank=2, target_modules=["q_proj"])))
    assert adapter.trained == 3 * 2 * (16 + 16)
    assert adapter.total == BODY + 1600 + adapter.trained
    assert adapter.training_flops(100, 30) == 4 * (BODY * 100 + 800 * 30)


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [
        (torch.optim.AdamW, 2),
        (partial(torch.optim.SGD, lr=0.1), 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 1),
        (torch.optim.Adagrad, 1),
    ],
)
def test_what_an_optimizer_keeps(optimizer: Any, moments: float) -> None:
    assert optimizer_moments(CausalLMModule(config=LLAMA, optimizer=optimizer)) == moments


def test_weights_gradients_and_moments_by_hand_in_both_types() -> None:
    found = footprint(CausalLMModule(config=LLAMA)).memory(rows=4, longest=20, scored=10, chunk=8)
    weights = 4 * (BODY + 1600)
    assert (found["weights"], found["gradients"], found["optimizer moments"]) == (weights, weights, 2 * weights)
    assert found["logits chunk"] == 2 * 4 * 8 * 50
    halved = footprint(CausalLMModule(config=LLAMA), "bf16-true").memory(4, 20, 10, 8)
    assert halved["weights"] == weights // 2


@pytest.mark.parametrize("hidden", [32, 128])
def test_activations_are_within_a_factor_of_two_of_what_autograd_keeps(hidden: int) -> None:
    config = LLAMA | {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_attention_heads": 4}
    module = CausalLMModule(config=config, attention="sdpa")
    module.configure_model()
    weights = {p.data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    rows, length = 8, 48
    ids = torch.randint(0, 50, (rows, length))
    scored = torch.zeros(rows, length, dtype=torch.bool)
    scored[:, -4:] = True
    batch = Batch(ids, torch.ones_like(ids), scored, torch.arange(rows), torch.ones(rows))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = module.token_nll(batch).nll.mean()
    loss.backward()
    expected = footprint(module).memory(rows, length, rows * 4, 4096)["activations"]
    assert 0.5 < sum(kept.values()) / expected < 2.0
