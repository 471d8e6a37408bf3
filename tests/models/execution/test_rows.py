"""Rows run as one with attention taken row by row: losses and gradients are those of each row alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lit_curriculum import CausalLMModule
from lit_curriculum.models.execution.rows import hidden_by_rows, rows_are_exact
from lit_curriculum.models.execution.token_nll import full_logits_nll, token_nll
from lit_curriculum.types import Batch
from tests.models.tiny_lms import SMALL, make_batch, row_of, tiny_model

BY_ROWS = ("llama", "llama-tied", "gpt2", "qwen2", "gemma3", "granite", "cohere")


def model_with(name: str, **options: Any) -> Any:
    return tiny_model(name, attention="sdpa" if name in BY_ROWS else "eager", **options)


def batch_with(prefix: int) -> Batch:
    """Rows of 30, 14, 22 and twice 25 tokens that begin alike; one is scored in the middle too."""
    batch = make_batch([30, 14, 25, 22, 25], [5, 2, 7, 9, 1], width=33)
    batch.input_ids[:, :prefix] = batch.input_ids[0, :prefix].clone()
    batch.scored[3, 12] = True
    return batch


def positions_run(model: Any, batch: Batch) -> int:
    """Tokens that the decoder is given."""
    seen: list[int] = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    with torch.no_grad():
        hidden_by_rows(model.get_decoder(), batch)
    hook.remove()
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize("name", BY_ROWS)
@pytest.mark.parametrize("prefix", [0, 12])
def test_losses_equal_those_of_each_row_alone(name: str, prefix: int) -> None:
    model, batch = model_with(name), batch_with(prefix)
    assert rows_are_exact(model)
    with torch.no_grad():
        found = token_nll(model, batch, chunk=4, layout="by rows")
        for row in range(len(batch)):
            expected = full_logits_nll(model, row_of(batch, row))
            torch.testing.assert_close(found.nll[found.row == row], expected.nll, rtol=1e-5, atol=1e-5)
            assert found.hit[found.row == row].tolist() == expected.hit.tolist()
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("prefix", [0, 12])
def test_gradients_equal_those_of_padded_rows(name: str, prefix: int) -> None:
    model, batch = model_with(name), batch_with(prefix)
    token_nll(model, batch, chunk=4, layout="by rows").nll.sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    full_logits_nll(model, batch).nll.sum().backward()
    for name_, parameter in model.named_parameters():
        torch.testing.assert_close(found[name_], parameter.grad, rtol=1e-4, atol=2e-5)


def test_neither_padding_nor_repeats_nor_last_tokens_are_run() -> None:
    model = model_with("llama")
    # Each row without its last token, which predicts nothing.
    assert positions_run(model, batch_with(0)) == 29 + 13 + 24 + 21 + 24
    # Tokens 0 to 10 are run once: the one at place 11 predicts the scored token at 12.
    assert positions_run(model, batch_with(12)) == 29 + 13 + 24 + 21 + 24 - 4 * 11
    model.train()
    assert positions_run(model, batch_with(12)) == 67
    dropping = model_with("llama", attention_dropout=0.1)
    assert positions_run(dropping, batch_with(12)) == 67
    assert positions_run(dropping.train(), batch_with(12)) == 111, "rows with dropout draw for themselves"


def test_a_batch_without_scored_tokens_makes_a_pass() -> None:
    model, batch = model_with("llama"), batch_with(12)
    batch.scored[:] = False
    found = token_nll(model, batch, chunk=4, layout="by rows")
    assert len(found.nll) == 0
    found.nll.sum().backward()
    assert all(p.grad is not None for p in model.get_decoder().parameters())
    one = batch_with(12)
    one.scored[1] = False
    with torch.no_grad():
        expected = full_logits_nll(model, one).nll
        torch.testing.assert_close(token_nll(model, one, 4, "by rows").nll, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "gptj-with-head-bias"])
def test_models_without_this_attention_are_told_apart(name: str) -> None:
    assert not rows_are_exact(model_with(name))


def test_layers_that_look_at_neighbours_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with("llama").train()
    layer: nn.Module = model.get_decoder().layers[1]
    plain = layer.forward
    # As a convolution over tokens would.
    monkeypatch.setattr(layer, "forward", lambda hidden, **given: plain(hidden + hidden.roll(1, dims=1), **given))
    assert not rows_are_exact(model)
    assert all(module.training for module in model.modules())
    chunked = model_with("llama")
    chunked.config.layer_types = ["full_attention", "chunked_attention"]
    assert not rows_are_exact(chunked)


def test_layers_that_take_nothing_more_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with("llama")
    layer = model.get_decoder().layers[0]
    plain = layer.forward

    def strict(hidden: Any, attention_mask: Any, position_embeddings: Any, position_ids: Any,
               past_key_values: Any, use_cache: bool) -> Any:  # fmt: skip
        return plain(
            hidden, attention_mask=attention_mask, position_embeddings=position_embeddings,
            position_ids=position_ids, past_key_values=past_key_values, use_cache=use_cache,
        )  # fmt: skip

    monkeypatch.setattr(layer, "forward", strict)
    assert not rows_are_exact(model)


@pytest.mark.parametrize(("packing", "checkpointing", "learning", "expected"), [
    (False, False, True, "padded"), (False, False, False, "by rows"), (True, False, True, "by rows"),
    (True, True, True, "packed"), (True, True, False, "packed"),
])  # fmt: skip
def test_the_module_scores_by_rows_and_trains_so_where_it_packs(
    packing: bool, checkpointing: bool, learning: bool, expected: str
) -> None:
    config = {"model_type": "llama", **SMALL}
    module = CausalLMModule(config=config, packing=packing, gradient_checkpointing=checkpointing)
    module.configure_model()
    with torch.set_grad_enabled(learning):
        assert module.execution is not None
        assert module.execution.layout(batch_with(0).input_ids.device) == expected
        assert module.runs_padding == (expected == "padded")
