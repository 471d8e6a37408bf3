"""Pooled hidden states against the model's own, one row at a time."""

from __future__ import annotations

import torch

from tests.models.tiny_runs import make_batch, make_module


def test_pooled_hidden_equals_the_mean_of_each_row_alone() -> None:
    module = make_module().eval()
    module.configure_model()
    assert module.model is not None
    batch = make_batch(0, [3, 7, 1])
    found = module.pooled_hidden(batch)
    assert found.shape == (3, 16)
    for row in range(3):
        length = int(batch.attention_mask[row].sum())
        hidden = module.model(batch.input_ids[row : row + 1, :length], output_hidden_states=True).hidden_states[-1][0]
        expected = torch.stack([hidden[t] for t in range(length) if batch.scored[row, t]]).mean(0)
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-5)
    assert not found.requires_grad
