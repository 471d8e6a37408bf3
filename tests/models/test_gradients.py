"""Projected gradients of single examples against autograd, one example at a time and one weight at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lit_curriculum import CausalLMModule
from lit_curriculum.models.execution.modes import Execution, ExecutionOptions
from lit_curriculum.models.gradients import Moments, _projection, linear_layers
from lit_curriculum.models.lora import LoRA
from lit_curriculum.types import Batch
from tests.models.tiny_lms import make_batch as random_batch
from tests.models.tiny_lms import tiny_model
from tests.models.tiny_runs import CONFIG, Batches, make_batch, make_module


def ready(**options: Any) -> CausalLMModule:
    module = CausalLMModule(config=CONFIG, **options)
    module.configure_model()
    return module.eval()


def alone(batch: Batch, row: int) -> Batch:
    """One row without its padding."""
    length = int(batch.attention_mask[row].sum())
    part = slice(row, row + 1)
    return Batch(
        batch.input_ids[part, :length], batch.attention_mask[part, :length], batch.scored[part, :length],
        batch.index[part], batch.weight[part],
    )  # fmt: skip


def _reference_gradients(module: CausalLMModule, row: Batch, last_block: bool) -> dict[str, Tensor]:
    """Gradient of the mean token loss for every weight, by autograd on one example."""
    assert module.model is not None
    layers = linear_layers(module.model, last_block)
    weights = [layer.weight for layer in layers.values()]
    loss = module.token_nll(row).nll.mean()
    return dict(zip(layers, torch.autograd.grad(loss, weights), strict=True))  # type: ignore[arg-type]


def _reference_sketch(module: CausalLMModule, gradients: dict[str, Tensor], dimensions: int, seed: int) -> Tensor:
    """The projection weight by weight."""
    assert module.model is not None
    total = [0.0] * dimensions
    layers = linear_layers(module.model, False)
    for name, gradient in gradients.items():
        buckets, signs = _projection(name, layers[name], dimensions, seed)
        for b, s, g in zip(buckets.tolist(), signs.tolist(), gradient.flatten().tolist(), strict=True):
            total[b] += s * g
    return torch.tensor(total)


@pytest.mark.parametrize("layers", ["trainable", "last_block"])
def test_sketches_of_a_batch_are_those_of_each_row_alone(layers: str) -> None:
    module, batch = ready(), make_batch(0, [3, 7, 1, 5])
    sketch, extra = module.gradient_sketch(40, layers, adam=False, seed=3)
    with torch.no_grad():
        found = sketch(batch)
    assert extra == ""
    assert found.shape == (4, 40)
    for row in range(4):
        gradients = _reference_gradients(module, alone(batch, row), layers == "last_block")
        torch.testing.assert_close(found[row], _reference_sketch(module, gradients, 40, 3), rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in module.parameters())


def test_the_last_block_is_the_last_block() -> None:
    module = ready()
    assert module.model is not None
    assert {name.split(".")[2] for name in linear_layers(module.model, True)} == {"1"}
    assert not any("head" in name for name in linear_layers(module.model, False))
    assert len(linear_layers(module.model, False)) == 2 * len(linear_layers(module.model, True)) == 14


def test_parts_of_a_batch_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = ready(), make_batch(0, [3, 7, 1])
    whole = module.gradient_sketch(16, "trainable", adam=False, seed=0)[0](batch)
    monkeypatch.setattr("lit_curriculum.models.gradients._MOST_NUMBERS", 1)
    torch.testing.assert_close(module.gradient_sketch(16, "trainable", adam=False, seed=0)[0](batch), whole)


def test_only_the_adapter_counts_under_lora() -> None:
    pytest.importorskip("peft")
    module, batch = ready(lora=LoRA(rank=2)), make_batch(0, [3, 4])
    assert module.model is not None
    names = list(linear_layers(module.model, False))
    assert len(names) == 28
    assert all("lora_" in name for name in names)
    found = module.gradient_sketch(32, "trainable", adam=False, seed=0)[0](batch)
    expected = _reference_sketch(module, _reference_gradients(module, alone(batch, 1), False), 32, 0)
    torch.testing.assert_close(found[1], expected, rtol=1e-4, atol=1e-6)


def test_transposed_linear_layers_of_gpt2() -> None:
    module = ready()
    module.model = tiny_model("gpt2")
    module.execution = Execution(ExecutionOptions(), headless=False, rows_exact=False)
    batch = random_batch([9, 6], [4, 2])
    found = module.gradient_sketch(24, "trainable", adam=False, seed=0)[0](batch)
    for row in range(2):
        expected = _reference_sketch(module, _reference_gradients(module, alone(batch, row), False), 24, 0)
        torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-5)


def test_products_are_kept_on_average() -> None:
    module, batch = ready(), make_batch(0, [6, 6])
    gradients = [_reference_gradients(module, alone(batch, row), False) for row in (0, 1)]
    true = sum(float((gradients[0][name] * gradients[1][name]).sum()) for name in gradients[0])
    found = []
    for seed in range(60):
        pair = module.gradient_sketch(256, "trainable", adam=False, seed=seed)[0](batch)
        found.append(float(pair[0] @ pair[1]))
    mean, error = torch.tensor(found).mean(), torch.tensor(found).std() / math.sqrt(60)
    assert abs(float(mean) - true) < 4 * float(error)
    assert float(error) > 0


def test_adams_step_by_hand() -> None:
    moments = Moments(torch.tensor([0.5]), torch.tensor([0.04]), 1, (0.9, 0.99), 1e-8)
    # m = 0.9 * 0.5 + 0.1 * 1 = 0.55, over 1 - 0.81; v = 0.99 * 0.04 + 0.01 * 1 = 0.0496, over 1 - 0.9801.
    expected = (0.55 / 0.19) / (math.sqrt(0.0496 / 0.0199) + 1e-8)
    assert float(moments.direction(torch.tensor([[1.0]]))) == pytest.approx(expected, rel=1e-6)


def test_adams_direction_is_the_step_that_the_optimizer_takes(tmp_path: Path) -> None:
    module = make_module(optimizer=lambda p: torch.optim.Adam(p, lr=1e-3))
    trainer = Trainer(
        accelerator="cpu", max_steps=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    batch = make_batch(0, [4])
    trainer.fit(module, datamodule=Batches([make_batch(5, [3, 4])] * 3))
    module.eval()
    assert module.model is not None
    sketch, extra = module.gradient_sketch(8, "trainable", adam=True, seed=0)
    assert extra
    found = sketch(batch)[0]
    layers = linear_layers(module.model, False)
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}  # type: ignore[operator]
    optimizer = trainer.optimizers[0]
    optimizer.zero_grad()
    module.token_nll(alone(batch, 0)).nll.mean().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    steps = {name: (before[name] - layer.weight.detach()) / 1e-3 for name, layer in layers.items()}  # type: ignore[operator]
    torch.testing.assert_close(found, _reference_sketch(module, steps, 8, 0), rtol=1e-3, atol=1e-2)


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    module = make_module()
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.strategy.connect(module)
    module.trainer = trainer
    module.configure_model()
    with pytest.raises(ValueError, match=r"vectors.adam: the optimizer has no moments of .* set vectors.adam to false"):
        module.gradient_sketch(8, "trainable", adam=True, seed=0)
    for parameter in module.parameters():
        parameter.requires_grad = False
    with pytest.raises(ValueError, match="the model has no linear layer with trainable weights"):
        module.gradient_sketch(8, "trainable", adam=False, seed=0)
