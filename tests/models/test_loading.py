"""Configurations and weights: what is read, what is drawn, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lit_curriculum.models.loading import (
    context_length,
    isolated_rng,
    load_model,
    make_config,
    random_model,
    read_config,
    require_finite,
)

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def load(source: Path | str) -> Any:
    return load_model(str(source), revision=None, dtype=torch.float32, attention=None, trust_remote_code=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tiny model."""
    model: Any = random_model(make_config(LLAMA), dtype=torch.float32, attention=None)
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, change: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_saved_model_is_read_and_ready_to_train(folder: Path) -> None:
    model = load(folder)
    assert all(module.training for module in model.modules())
    saved = load_file(folder / "model.safetensors")
    assert torch.equal(model.state_dict()["lm_head.weight"], saved["lm_head.weight"])
    assert context_length(read_config(str(folder), None, False)) == 32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_refused(folder: Path, value: float) -> None:
    rewrite(folder, lambda weights: weights["model.norm.weight"].fill_(value))
    with pytest.raises(ValueError, match=r"model holds 16 NaN or infinite numbers in model.norm.weight"):
        load(folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    rewrite(folder, lambda weights: weights.pop("lm_head.weight"))
    with pytest.raises(ValueError, match=r"lacks 1 of the model's weights, lm_head.weight first"):
        load(folder)


def test_unreadable_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no config.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(ValueError, match=r"model.source: no model can be read from .*no-such-type"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match=r"model.source: no model can be read from"):
        load(tmp_path)


def test_unknown_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model.config needs a model_type"):
        make_config({"vocab_size": 4})
    with pytest.raises(ValueError, match="transformers knows no 'lama'"):
        make_config({"model_type": "lama"})
    with pytest.raises(ValueError, match=r"llama has no option 'hiden_size'; did you mean hidden_size?"):
        make_config({"model_type": "llama", "hiden_size": 4})
    with pytest.raises(ValueError, match=r"model.config: llama has no option 'qqqq'\."):
        make_config({"model_type": "llama", "qqqq": 4})
    with pytest.raises(ValueError, match=r"model.config: no model can be made"):
        random_model(make_config({"model_type": "vit"}), dtype=torch.float32, attention=None)


def test_options_by_older_and_common_names_are_accepted() -> None:
    assert make_config({**LLAMA, "rope_theta": 500.0}).rope_parameters["rope_theta"] == 500.0
    assert make_config({"model_type": "gpt2", "hidden_size": 12, "n_head": 2}).n_embd == 12
    assert make_config(make_config(LLAMA).to_dict()).to_dict() == make_config(LLAMA).to_dict()


@pytest.mark.parametrize(
    ("options", "length"),
    [
        (LLAMA, 32),
        ({"model_type": "gpt2", "n_positions": 7}, 7),
        ({"model_type": "mpt", "max_seq_len": 9}, 9),
        ({"model_type": "bloom"}, None),
    ],
)
def test_context_length(options: dict[str, Any], length: int | None) -> None:
    assert context_length(make_config(options)) == length


def test_isolated_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with isolated_rng(0):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with isolated_rng(0):
        assert torch.equal(torch.rand(2), first)
    with isolated_rng(1):
        assert not torch.equal(torch.rand(2), first)


def test_require_finite_skips_integers() -> None:
    require_finite([("steps", torch.tensor([1])), ("weight", torch.ones(2))], "it")
    with pytest.raises(ValueError, match="it holds 1 NaN or infinite numbers in b"):
        require_finite([("a", torch.ones(2)), ("b", torch.tensor([1.0, float("nan")]))], "it")
