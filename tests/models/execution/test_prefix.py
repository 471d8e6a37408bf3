"""Rows that begin alike: their losses with the beginning run once against each row alone."""

from __future__ import annotations

import pytest
import torch

from lit_curriculum.models.execution.rows import hidden_after_prefix, shared_prefix
from lit_curriculum.models.execution.token_nll import full_logits_nll, token_nll
from lit_curriculum.types import Batch
from tests.models.tiny_lms import CONFIGS, make_batch, row_of, tiny_model


def batch_with_prefix(length: int, scored_at: int = 12) -> Batch:
    """Rows of 30, 14 and 22 tokens that have the first ``length`` in common."""
    batch = make_batch([30, 14, 22], [5, 2, 9])
    batch.input_ids[:, :length] = batch.input_ids[0, :length].clone()
    batch.input_ids[:, length] = torch.arange(3, 6)
    batch.scored[2, scored_at] = True
    return batch


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [9, 12])
def test_losses_equal_those_of_each_row_alone(name: str, length: int) -> None:
    model = tiny_model(name)
    batch = batch_with_prefix(length)
    with torch.no_grad():
        found = token_nll(model, batch, chunk=100)
        expected = full_logits_nll(model, batch)
        for row in range(3):
            alone = row_of(batch, row)
            theirs = full_logits_nll(model, alone)
            torch.testing.assert_close(found.nll[found.row == row], theirs.nll, rtol=1e-5, atol=1e-5)
    assert found.row.tolist() == expected.row.tolist()
    assert found.hit.tolist() == expected.hit.tolist()


def test_plain_attention_shares_and_sliding_windows_do_not() -> None:
    batch = batch_with_prefix(12)
    with torch.no_grad():
        for name in ("llama", "qwen2", "gpt2"):
            decoder = tiny_model(name).get_decoder()
            hidden = hidden_after_prefix(decoder, batch, 11)
            assert hidden is not None
            assert hidden.shape == (3, 30 - 11 - 1, 16)
        # A prefix longer than the window of 8 is no longer whole in such a cache.
        assert hidden_after_prefix(tiny_model("gemma2").get_decoder(), batch, 11) is None


def test_the_prefix_ends_before_what_predicts_a_scored_token() -> None:
    # 12 tokens are alike, but the one at place 11 predicts the token at 12.
    assert shared_prefix(batch_with_prefix(12)) == 11
    assert shared_prefix(batch_with_prefix(12, scored_at=6)) == 5
    assert shared_prefix(batch_with_prefix(9)) == 8
    assert shared_prefix(batch_with_prefix(0)) == 0
    same = make_batch([14, 14], [3, 3])
    same.input_ids[1] = same.input_ids[0]
    assert shared_prefix(same) == 10
    padded = make_batch([20, 6], [3, 2])
    padded.input_ids[1] = padded.input_ids[0]
    assert shared_prefix(padded) == 3


def test_gradients_are_those_of_whole_rows() -> None:
    model = tiny_model("llama")
    batch = batch_with_prefix(12)
    token_nll(model, batch, chunk=100).nll.sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    full_logits_nll(model, batch).nll.sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)
