"""Padded rows without a mask have the losses and gradients of padded rows with one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lit_curriculum.models.execution import attention
from lit_curriculum.models.execution.attention import attends_plainly, run_padded_rows
from lit_curriculum.models.execution.token_nll import full_logits_nll, token_nll
from tests.models.tiny_lms import make_batch, tiny_model

BATCH = make_batch([30, 14, 22, 3], [5, 2, 9, 1])


def sdpa_model(name: str) -> Any:
    model = tiny_model(name, attention="sdpa")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def watch_masks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...] | None]:
    """The shape of the mask of every attention that goes through ours."""
    from transformers.integrations import sdpa_attention

    seen: list[tuple[int, ...] | None] = []
    plain = sdpa_attention.sdpa_attention_forward

    def watch(module: Any, q: Any, k: Any, v: Any, mask: Any, **others: Any) -> Any:
        seen.append(None if mask is None else tuple(mask.shape))
        return plain(module, q, k, v, mask, **others)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", watch)
    return seen


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "gpt2"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_losses_and_gradients_are_those_with_a_mask(name: str, checkpointing: bool) -> None:
    model = sdpa_model(name)
    assert attends_plainly(model.get_decoder())
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    found = []
    for run in (lambda: token_nll(model, BATCH, chunk=100), lambda: full_logits_nll(model, BATCH)):
        model.zero_grad()
        tokens = run()
        tokens.nll.sum().backward()
        found.append((tokens.nll.detach(), {n: p.grad.clone() for n, p in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=5e-6)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_only_a_window_smaller_than_the_rows_has_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_masks(monkeypatch)
    layers = ["sliding_attention", "full_attention"]
    with torch.no_grad():
        run_padded_rows(sdpa_model("llama").get_decoder(), BATCH)
        assert seen == [None, None]
        decoder = tiny_model("gemma3", attention="sdpa", layer_types=layers).get_decoder()
        run_padded_rows(decoder, BATCH)
        assert seen[2:] == [(1, 1, 30, 30), None]
        run_padded_rows(decoder, make_batch([8, 6], [2, 2]))
        assert seen[4:] == [None, None]
    assert decoder.config._attn_implementation == "sdpa"


def test_other_attention_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "attention_by", lambda *_: pytest.fail("not to be replaced"))
    eager = tiny_model("llama", attention="eager")
    chunked = tiny_model("llama")
    chunked.config.layer_types = ["full_attention", "chunked_attention"]
    for model in (eager, chunked):
        with torch.no_grad():
            torch.testing.assert_close(
                token_nll(model, BATCH, chunk=100).nll, full_logits_nll(model, BATCH).nll, rtol=1e-5, atol=5e-6
            )
