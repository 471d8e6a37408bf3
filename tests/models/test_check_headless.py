"""The proof that the fast losses are those of the model, and the published toy values."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from lit_curriculum.models.execution.head_nll import LogitTransform, logit_transform
from lit_curriculum.models.execution.token_nll import (
    HeadlessError,
    check_headless,
    full_logits_nll,
    token_nll,
)
from lit_curriculum.models.loading import make_config, random_model
from lit_curriculum.types import Batch
from tests.models.tiny_lms import CONFIGS, SMALL, VOCABULARY, make_batch, tiny_model


class ShiftedLogits(LlamaForCausalLM):
    """Adds to its logits something that no configuration shows."""

    def forward(self, **inputs: Any) -> Any:  # type: ignore[override]
        output = super().forward(**inputs)
        output.logits = output.logits + torch.linspace(0.0, 5.0, output.logits.shape[-1])
        return output


def test_unknown_logits_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    model = ShiftedLogits(LlamaConfig(**SMALL)).train()
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        assert not check_headless(model)
    assert len(caplog.records) == 1
    assert "losses of ShiftedLogits are computed from full logits" in caplog.text
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.get_decoder()._forward_hooks


def test_forgotten_softcap_is_noticed_at_the_small_logits_of_an_untrained_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(make_config(CONFIGS["gemma3"]), dtype=torch.float32, attention=None)
    assert check_headless(model)
    monkeypatch.setattr("lit_curriculum.models.execution.token_nll.logit_transform", lambda config: LogitTransform())
    assert not check_headless(model)


def test_half_precision_model_is_proven_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(make_config(CONFIGS["gemma2"]), dtype=torch.bfloat16, attention=None)
    assert check_headless(model)
    monkeypatch.setattr("lit_curriculum.models.execution.token_nll.logit_transform", lambda config: LogitTransform())
    assert not check_headless(model)


def test_model_without_a_head_falls_back(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    with pytest.raises(HeadlessError, match="decoder and its output head apart"):
        token_nll(model, make_batch([4], [2]), 8)
    assert not check_headless(model)
    assert "decoder and its output head apart" in caplog.text
    monkeypatch.setattr(model, "get_output_embeddings", lambda: nn.Linear(5, VOCABULARY))
    with pytest.raises(HeadlessError, match="does not fit"):
        token_nll(model, make_batch([4], [2]), 8)


def test_a_decoder_that_looks_at_what_pads_a_row_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    decoder = model.get_decoder()
    plain = decoder.forward

    def peeking(input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any) -> Any:
        output = plain(input_ids=input_ids, attention_mask=attention_mask, **others)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        output.last_hidden_state = output.last_hidden_state + real.sum(dim=1)[:, None, None]
        return output

    monkeypatch.setattr(decoder, "forward", peeking)
    assert not check_headless(model)


def test_transform_is_read_from_the_configuration() -> None:
    assert logit_transform(make_config(CONFIGS["gemma2"])) == LogitTransform(1.0, 3.0)
    assert logit_transform(make_config(CONFIGS["granite"])) == LogitTransform(8.0, None)
    assert logit_transform(make_config(CONFIGS["cohere"])) == LogitTransform(4.0, None)
    assert logit_transform(make_config(CONFIGS["llama"])) == LogitTransform()


class ToyDecoder(nn.Module):
    """Context statistics as hidden state: a one-hot of the last token, and the mean of the tokens so far."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool) -> BaseModelOutput:
        assert not use_cache
        counts = torch.arange(1, input_ids.shape[1] + 1)
        mean = input_ids.cumsum(dim=1) / counts
        one_hot = nn.functional.one_hot(input_ids, 5).float()
        return BaseModelOutput(last_hidden_state=torch.cat((one_hot, mean[..., None]), dim=-1))


class ToyLM(nn.Module):
    """The toy model of the IterIT notes, 8.4: logit of v is M[last token][v] + 0.3 * mean(context) * v."""

    def __init__(self) -> None:
        super().__init__()
        self.config = LlamaConfig(vocab_size=5)
        self.decoder = ToyDecoder()
        self.head = nn.Linear(6, 5, bias=False)
        rows = [[1, 0, 0.5, -0.5, 0.2], [0, 2, 1, 0, -1], [0.3, 0.1, 0, 1.5, 0.4], [0] * 5, [1, 1, -1, 0.5, 0]]
        slope = [0.3 * v for v in range(5)]
        self.head.weight.data = torch.tensor([*rows, slope]).T.contiguous()

    def get_decoder(self) -> nn.Module:
        return self.decoder

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool) -> CausalLMOutput:
        hidden = self.decoder(input_ids, attention_mask, use_cache).last_hidden_state
        return CausalLMOutput(logits=self.head(hidden))


@pytest.mark.parametrize(
    ("rows", "starts", "expected"),
    [
        ([[4, 2, 3, 1], [4, 3, 3], [4, 3]], [1, 1, 2], [3.886494, 0.678263, 3.210664, 1.186494, 1.475426]),
        (
            [[4, 1, 2, 4, 2, 3, 1], [4, 2, 3, 3], [4, 2, 3]],
            [4, 2, 3],
            [3.402461, 0.646719, 2.978132, 0.678263, 1.410664],
        ),
    ],
    ids=["unconditioned", "conditioned"],
)
def test_published_toy_losses(rows: list[list[int]], starts: list[int], expected: list[float]) -> None:
    width = max(len(row) for row in rows)
    batch = Batch(
        input_ids=torch.tensor([row + [0] * (width - len(row)) for row in rows]),
        attention_mask=torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        scored=torch.tensor(
            [[start <= t < len(row) for t in range(width)] for row, start in zip(rows, starts, strict=True)]
        ),
        index=torch.arange(3),
        weight=torch.ones(3),
    )
    model = ToyLM()
    for tokens in (token_nll(model, batch, 2), full_logits_nll(model, batch)):
        assert tokens.row.tolist() == [0, 0, 0, 1, 1]
        torch.testing.assert_close(tokens.nll, torch.tensor(expected), rtol=0.0, atol=1e-6)
