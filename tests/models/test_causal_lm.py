"""The LightningModule: losses, their reductions, predictions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.execution.token_nll import full_logits_nll
from lit_curriculum.types import Batch
from tests.models.tiny_runs import CONFIG, VOCABULARY, Batches, make_batch, make_module, make_trainer, sgd, weights


def reference_examples(module: CausalLMModule, batch: Batch) -> list[dict[str, float]]:
    """Sum and number of losses and exactness of each row, one row at a time."""
    assert module.model is not None
    found = []
    for row in range(len(batch)):
        one = Batch(*(value[row : row + 1] for value in (batch.input_ids, batch.attention_mask, batch.scored)),
                    batch.index[row : row + 1], batch.weight[row : row + 1])  # fmt: skip
        tokens = full_logits_nll(module.model, one)
        found.append(
            {
                "sum": tokens.nll.sum().item(),
                "count": len(tokens.nll),
                "exact": bool(tokens.hit.all() and len(tokens.hit)),
            }
        )
    return found


@pytest.mark.parametrize("reduction", ["example", "token"])
def test_training_loss_is_the_weighted_mean(reduction: Any, tmp_path: Path) -> None:
    batch = make_batch(0, [3, 1, 0, 6], weights=[1.0, 0.5, 3.0, 2.0])
    module = make_module(loss_reduction=reduction)
    module.configure_model()
    rows = reference_examples(module, batch)
    used = [(w, row) for w, row in zip(batch.weight.tolist(), rows, strict=True) if row["count"]]
    if reduction == "example":
        expected = sum(w * r["sum"] / r["count"] for w, r in used) / sum(w for w, _ in used)
    else:
        expected = sum(w * r["sum"] for w, r in used) / sum(w * r["count"] for w, r in used)
    seen: list[dict[str, Tensor]] = []

    class Recording(CausalLMModule):
        def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            seen.append(super().training_step(batch, batch_idx))
            return seen[-1]

    recording = Recording(config=CONFIG, loss_reduction=reduction, optimizer=sgd)
    trainer = make_trainer(tmp_path)
    trainer.fit(recording, Batches([batch]))
    assert seen[0]["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-5)
    assert seen[0]["nll_sum"].tolist() == pytest.approx([row["sum"] for row in rows], rel=1e-5)
    assert seen[0]["num_scored"].tolist() == [3, 1, 0, 6]
    assert seen[0]["index"].tolist() == [0, 1, 2, 3]
    assert not seen[0]["nll_sum"].requires_grad


def test_batch_without_scored_tokens_changes_nothing(tmp_path: Path) -> None:
    module = make_module(optimizer=sgd)
    module.configure_model()
    before = weights(module)
    make_trainer(tmp_path).fit(module, Batches([make_batch(0, [0, 0])]))
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


@pytest.mark.parametrize("reduction", ["example", "token"])
def test_validation_loss_is_exact_over_uneven_batches(reduction: Any, tmp_path: Path) -> None:
    # A weight of 0 marks the filler that evens out ranks.
    batches = [make_batch(0, [3, 1, 6], weights=[1.0, 0.0, 1.0]), make_batch(3, [0, 0]), make_batch(5, [2])]
    module = make_module(loss_reduction=reduction)
    trainer = make_trainer(tmp_path)
    (metrics,) = trainer.validate(module, Batches(batches), verbose=False)
    rows = [row for batch in batches for row in reference_examples(module, batch) if row["count"]]
    del rows[1]
    if reduction == "example":
        expected = sum(row["sum"] / row["count"] for row in rows) / len(rows)
    else:
        expected = sum(row["sum"] for row in rows) / sum(row["count"] for row in rows)
    assert metrics["val/loss"] == pytest.approx(expected, rel=1e-5)


def test_predictions_and_exact_match(tmp_path: Path) -> None:
    module = make_module(optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.02))
    batch = make_batch(0, [3, 1, 0, 6])
    make_trainer(tmp_path, max_epochs=40).fit(module, Batches([batch]))
    changed = make_batch(0, [3, 1, 0, 6])
    changed.input_ids[0, 4] = (changed.input_ids[0, 4] + 1) % VOCABULARY
    outputs = make_trainer(tmp_path).predict(module, Batches([batch, changed]))
    assert outputs is not None
    known, wrong = outputs
    assert known["exact"].tolist() == [True, True, False, True]
    assert wrong["exact"].tolist() == [False, True, False, True]
    rows = reference_examples(module, batch)
    assert known["exact"].tolist() == [row["exact"] for row in rows]
    assert known["nll_sum"].tolist() == pytest.approx([row["sum"] for row in rows], rel=1e-4, abs=1e-6)
    assert known["index"].tolist() == [0, 1, 2, 3]
    # Greedy decoding from the prompt gives the response itself wherever the flag is set.
    model: Any = module.model
    prompt = batch.input_ids[3:4, :2]
    generated = model.generate(prompt, max_new_tokens=6, do_sample=False, eos_token_id=-1, pad_token_id=0)
    assert generated[0].tolist() == batch.input_ids[3, :8].tolist()


def test_model_that_needs_full_logits_is_scored_by_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = make_module()
    plain.configure_model()
    model: Any = plain.model
    shift = torch.linspace(0.0, 4.0, VOCABULARY)
    forward = type(model).forward

    def shifted(self: Any, **inputs: Any) -> Any:
        output = forward(self, **inputs)
        output.logits = output.logits + shift
        return output

    monkeypatch.setattr(type(model), "forward", shifted)
    module = make_module()
    with caplog.at_level(logging.WARNING):
        module.configure_model()
    assert "losses of LlamaForCausalLM are computed from full logits" in caplog.text
    batch = make_batch(0, [3, 5])
    assert module.model is not None
    assert torch.equal(module.token_nll(batch).nll, full_logits_nll(module.model, batch).nll)
    assert not torch.allclose(module.token_nll(batch).nll, plain.token_nll(batch).nll)


def test_gradient_checkpointing_gives_the_same_gradients(tmp_path: Path) -> None:
    results = []
    for flag in (False, True):
        module = make_module(optimizer=sgd, gradient_checkpointing=flag)
        make_trainer(tmp_path).fit(module, Batches([make_batch(0, [3, 5])]))
        model: Any = module.model
        assert model.is_gradient_checkpointing == flag
        results.append(weights(module))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-5, atol=1e-6)
