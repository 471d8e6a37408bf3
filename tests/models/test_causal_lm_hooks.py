"""The LightningModule: options, late building, optimizers, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.loading import make_config, random_model
from lit_curriculum.models.lora import LoRA
from lit_curriculum.models.lr_schedules import WarmupCosine
from tests.models.tiny_runs import CONFIG, VOCABULARY, Batches, make_batch, make_module, make_trainer, sgd, weights


def test_weights_are_read_late_and_without_touching_global_random_numbers() -> None:
    state = torch.get_rng_state()
    module = make_module()
    assert module.model is None
    assert module.context_length == 32
    assert module.tokenizer_source is None
    module.configure_model()
    first = weights(module)
    module.configure_model()
    assert all(torch.equal(value, first[name]) for name, value in weights(module).items())
    assert torch.equal(torch.get_rng_state(), state)
    again, other = make_module(), make_module(init_seed=1)
    again.configure_model()
    other.configure_model()
    assert all(torch.equal(value, first[name]) for name, value in weights(again).items())
    assert not torch.equal(weights(other)["model.lm_head.weight"], first["model.lm_head.weight"])
    assert all(submodule.training for submodule in module.modules())


def test_dtype_and_attention(tmp_path: Path) -> None:
    module = make_module(dtype="bfloat16", attention="eager")
    module.configure_model()
    model: Any = module.model
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="model: give exactly one of source and config"):
        CausalLMModule()
    with pytest.raises(ValueError, match="model: give exactly one of source and config"):
        CausalLMModule(source="a/b", config=CONFIG)
    with pytest.raises(ValueError, match="does not exist"):
        CausalLMModule(source="/no/such/model").configure_model()


def test_tokenizer_source() -> None:
    assert CausalLMModule(source="a/b").tokenizer_source == "a/b"
    assert CausalLMModule(source="a/b", tokenizer="c/d").tokenizer_source == "c/d"
    assert make_module(tokenizer="c/d").tokenizer_source == "c/d"


def test_schedule_follows_the_horizon_that_it_is_told(tmp_path: Path) -> None:
    batches = Batches([make_batch(i, [2]) for i in range(5)])
    for horizon, flags, steps in ((7, {}, 7), (None, {"max_epochs": 3}, 15), (None, {"max_steps": 4}, 4)):
        module = make_module(optimizer=sgd, lr_schedule=WarmupCosine)
        module.horizon_steps = horizon
        trainer = make_trainer(tmp_path, **flags)
        trainer.fit(module, batches)
        (config,) = trainer.lr_scheduler_configs
        assert config.interval == "step"
        assert isinstance(config.scheduler, WarmupCosine)
        assert config.scheduler.total_steps == steps
        assert config.scheduler.last_epoch == trainer.global_step


def test_schedule_without_a_horizon_is_refused(tmp_path: Path) -> None:
    loader = DataLoader([make_batch(0, [2])], batch_size=None)  # type: ignore[arg-type]
    with pytest.raises(MisconfigurationException, match=r"model.lr_schedule: WarmupCosine needs the length of the run"):
        make_trainer(tmp_path).fit(make_module(lr_schedule=WarmupCosine), loader)
    other = make_module(lr_schedule=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1))
    make_trainer(tmp_path).fit(other, loader)


def test_vocabulary_must_hold_the_tokenizer(tmp_path: Path) -> None:
    batches = Batches([make_batch(0, [2])])
    batches.tokenizer = range(VOCABULARY + 1)
    with pytest.raises(ValueError, match="the tokenizer has 32 tokens, the model's vocabulary 31"):
        make_trainer(tmp_path).fit(make_module(), batches)
    batches.tokenizer = range(VOCABULARY)
    make_trainer(tmp_path).fit(make_module(), batches)


@pytest.mark.parametrize("lora", [None, LoRA(rank=2)], ids=["full", "lora"])
def test_resumed_run_equals_the_straight_one(lora: LoRA | None, tmp_path: Path) -> None:
    if lora is not None:
        pytest.importorskip("peft")
        random_model(make_config(CONFIG), dtype=torch.float32, attention=None).save_pretrained(tmp_path / "base")
    origin: dict[str, Any] = {"config": CONFIG} if lora is None else {"source": str(tmp_path / "base"), "config": None}

    def module() -> CausalLMModule:
        return make_module(**origin, lora=lora, optimizer=torch.optim.AdamW, lr_schedule=WarmupCosine)

    batches = Batches([make_batch(3 * i, [2, 5, 3]) for i in range(4)])
    straight = module()
    make_trainer(tmp_path, max_epochs=4).fit(straight, batches)
    first = module()
    trainer = make_trainer(tmp_path, max_epochs=2)
    first.horizon_steps = 16
    trainer.fit(first, batches)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    saved = torch.load(tmp_path / "half.ckpt", weights_only=True)
    if lora is not None:
        assert saved["state_dict"]
        assert all("lora_" in name for name in saved["state_dict"])
    second = module()
    make_trainer(tmp_path, max_epochs=4).fit(second, batches, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    expected = weights(straight)
    assert all(torch.equal(value, expected[name]) for name, value in weights(second).items())


def test_broken_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    module = make_module()
    module.configure_model()
    state = weights(module)
    state["model.lm_head.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"the checkpoint holds 1 NaN or infinite numbers in model.lm_head.weight"):
        module.on_load_checkpoint({"state_dict": state})
    pytest.importorskip("peft")
    adapted = make_module(lora=LoRA(rank=2))
    adapted.configure_model()
    with pytest.raises(ValueError, match=r"do not match the adapter of model.lora \(28 weights\)"):
        adapted.on_load_checkpoint({"state_dict": {"model.x": torch.ones(1)}})
