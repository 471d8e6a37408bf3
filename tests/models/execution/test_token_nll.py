"""Head-on-scored-positions losses against full logits, per architecture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_curriculum.models.execution.token_nll import check_headless, full_logits_nll, token_nll
from lit_curriculum.types import Batch
from tests.models.tiny_lms import CONFIGS, SMALL, VOCABULARY, make_batch, tiny_model


def _reference_losses(model: nn.Module, batch: Batch) -> tuple[list[float], list[int], list[bool]]:
    """One row at a time, without padding, one token at a time, in fp64."""
    losses, rows, hits = [], [], []
    for row in range(len(batch)):
        length = int(batch.attention_mask[row].sum())
        ids = batch.input_ids[row : row + 1, :length]
        log_probs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), dim=-1)
        for position in range(1, length):
            if batch.scored[row, position]:
                target = int(ids[0, position])
                losses.append(-log_probs[position - 1, target].item())
                rows.append(row)
                hits.append(int(log_probs[position - 1].argmax()) == target)
    return losses, rows, hits


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_equal_the_reference(name: str) -> None:
    model = tiny_model(name)
    batch = make_batch([9, 5, 12], [4, 1, 7], width=14)
    losses, rows, hits = _reference_losses(model, batch)
    for chunk in (1, 3, 100):
        tokens = token_nll(model, batch, chunk)
        assert tokens.nll.dtype == torch.float32
        torch.testing.assert_close(tokens.nll.double(), torch.tensor(losses).double(), rtol=1e-5, atol=1e-5)
        assert tokens.row.tolist() == rows
        assert tokens.hit.tolist() == hits
    slow = full_logits_nll(model, batch)
    torch.testing.assert_close(slow.nll.double(), torch.tensor(losses).double(), rtol=1e-5, atol=1e-5)
    assert slow.hit.tolist() == hits
    assert check_headless(model)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_equal_those_of_full_logits(name: str) -> None:
    model = tiny_model(name).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    batch = make_batch([9, 5, 12], [4, 1, 7])
    weights = torch.linspace(0.5, 2.0, 12)
    (full_logits_nll(model, batch).nll * weights).sum().backward()
    expected = gradients(model)
    for chunk in (1, 5, 100):
        (token_nll(model, batch, chunk).nll * weights).sum().backward()
        found = gradients(model)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")


def test_padding_does_not_change_losses() -> None:
    model = tiny_model("llama")
    narrow, wide = make_batch([6, 4], [3, 2]), make_batch([6, 4], [3, 2], width=20)
    torch.testing.assert_close(token_nll(model, narrow, 8).nll, token_nll(model, wide, 8).nll, rtol=1e-5, atol=1e-6)


def test_empty_batch_has_no_losses_and_zero_gradients() -> None:
    model = tiny_model("llama")
    tokens = token_nll(model, make_batch([6, 4], [0, 0]), 8)
    assert tokens.nll.shape == tokens.row.shape == tokens.hit.shape == (0,)
    tokens.nll.sum().backward()
    found = gradients(model)
    assert found.keys() == {name for name, _ in model.named_parameters()}
    assert all(not value.any() for value in found.values())


def test_rows_of_one_token() -> None:
    tokens = token_nll(tiny_model("llama"), make_batch([1, 1], [0, 0]), 8)
    assert len(tokens.nll) == 0


def test_first_token_cannot_be_scored() -> None:
    with pytest.raises(AssertionError, match="first token of a row"):
        token_nll(tiny_model("llama"), make_batch([3], [3]), 8)


def test_scoring_several_segments_of_a_row() -> None:
    model = tiny_model("qwen2")
    batch = make_batch([12], [2])
    batch.scored[0, 3:5] = True
    losses, rows, _ = _reference_losses(model, batch)
    tokens = token_nll(model, batch, 3)
    assert len(losses) == 4
    assert tokens.row.tolist() == rows
    torch.testing.assert_close(tokens.nll.double(), torch.tensor(losses).double(), rtol=1e-5, atol=1e-5)


def test_loss_is_taken_in_fp32_under_autocast() -> None:
    model = tiny_model("llama")
    batch = make_batch([9, 5, 12], [4, 1, 7])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.get_decoder()(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        logits = model.get_output_embeddings()(hidden)
        tokens = token_nll(model, batch, 5)
    assert logits.dtype == torch.bfloat16
    assert tokens.nll.dtype == torch.float32
    row, column = batch.scored.nonzero(as_tuple=True)
    log_probs = torch.log_softmax(logits[row, column - 1].double(), dim=-1)
    expected = -log_probs.gather(1, batch.input_ids[row, column][:, None])[:, 0]
    # Losses rounded to bf16 would be off by 1e-2.
    torch.testing.assert_close(tokens.nll.double(), expected, rtol=1e-5, atol=1e-5)
    tokens.nll.sum().backward()
    assert all(value.isfinite().all() for value in gradients(model).values())


def test_chunks_bound_what_the_backward_pass_keeps() -> None:
    model = tiny_model("llama")
    batch = make_batch([33], [32])
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        # The transposed weight of the head is kept anyway.
        if tensor.ndim == 2 and tensor.shape[1] == VOCABULARY and tensor.shape[0] != SMALL["hidden_size"]:
            kept.append(tensor.shape[0])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_nll(model, batch, 32)
        whole, kept = kept, []
        token_nll(model, batch, 4)
    assert set(whole) == {32}
    assert set(kept) == {4}
    assert len(kept) == len(whole)


def test_lora_model() -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model("llama"), peft.LoraConfig(r=2, target_modules="all-linear")).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    batch = make_batch([9, 5], [4, 2])
    torch.testing.assert_close(token_nll(model, batch, 3).nll, full_logits_nll(model, batch).nll)
    assert check_headless(model)
    assert not torch.allclose(token_nll(model, batch, 3).nll, token_nll(tiny_model("llama"), batch, 3).nll)


def test_scoring_on_a_cpu_makes_few_logits_at_once_behind_a_head_of_another_kind() -> None:
    class Head(nn.Linear):
        pass

    model = tiny_model("llama")
    head = Head(model.config.hidden_size, VOCABULARY, bias=False)
    head.weight = model.lm_head.weight
    model.lm_head = head
    batch = make_batch([60] * 12, [59] * 12, width=60)
    sizes: list[int] = []
    head.register_forward_hook(lambda _m, _a, logits: sizes.append(len(logits)))
    with torch.no_grad():
        nll = token_nll(model, batch, 4096).nll
    assert sizes == [512, 12 * 59 - 512]
    assert nll.shape == (12 * 59,)
