"""The Hugging Face classifier: it learns, is repeatable, and comes back from safetensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.methods.tapir.teacher.hf_classifier import HFTaskClassifier

TEXTS = [f"add {i} and {i + 1}" for i in range(24)] + [f"poem on day {i}" for i in range(24)]
LABELS = ["Math"] * 24 + ["Writing"] * 24


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make(source: str) -> HFTaskClassifier:
    return HFTaskClassifier(source, max_length=32, epochs=4, batch_size=8, learning_rate=5e-3)


def test_it_learns_repeats_and_is_saved(encoder: str, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, second = make(encoder), make(encoder)
    first.fit(TEXTS, LABELS)
    second.fit(TEXTS, LABELS)
    assert torch.equal(torch.random.get_rng_state(), before)
    unseen = ["add 40 and 2", "poem on day 99", "poem on a very long and quiet day 7"]
    found = first.predict(unseen)
    assert found.labels == ["Math", "Writing", "Writing"]
    assert all(0.5 < p <= 1.0 for p in found.probabilities)
    assert second.predict(unseen) == found
    first.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").is_file()
    again = HFTaskClassifier(str(tmp_path / "saved"), max_length=32).predict(unseen)
    assert again.labels == found.labels
    assert again.probabilities == pytest.approx(found.probabilities, abs=1e-6)


def test_untrained_or_missing_models_and_options_are_refused(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no trained classifier"):
        make(encoder).predict(["a"])
    with pytest.raises(ValueError, match="at least two different types"):
        make(encoder).fit(["a"], ["x"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"tasks\.classifier\.source: no model can be read from"):
        make(str(tmp_path / "empty")).fit(["a", "b"], ["x", "y"])
    with pytest.raises(ValueError, match=r"HFTaskClassifier.epochs must be at least 1, got 0"):
        HFTaskClassifier(epochs=0)
    with pytest.raises(ValueError, match=r"HFTaskClassifier\.learning_rate must be above 0"):
        HFTaskClassifier(learning_rate=0.0)
