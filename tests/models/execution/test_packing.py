"""Rows that are run as one, without padding, have the losses and gradients of rows that are run apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lit_curriculum import CausalLMModule
from lit_curriculum.models.execution.token_nll import check_packing, full_logits_nll, token_nll
from tests.models.tiny_lms import CONFIGS, SMALL, make_batch, row_of, tiny_model

BATCH = make_batch([30, 14, 22, 3], [5, 2, 9, 1])
CASES = [(name, attention) for name in CONFIGS for attention in ("sdpa", "eager")]
WITHOUT_SDPA = {"gemma2", "gptj-with-head-bias"}


@pytest.mark.parametrize(("name", "attention"), [c for c in CASES if c[1] == "eager" or c[0] not in WITHOUT_SDPA])
def test_losses_equal_those_of_each_row_alone(name: str, attention: str) -> None:
    model = tiny_model(name, attention=attention)
    check_packing(model, headless=True)
    with torch.no_grad():
        found = token_nll(model, BATCH, chunk=4, layout="packed")
        for row in range(len(BATCH)):
            alone = row_of(BATCH, row)
            expected = full_logits_nll(model, alone).nll
            torch.testing.assert_close(found.nll[found.row == row], expected, rtol=1e-5, atol=5e-6)


def test_gradients_equal_those_of_padded_rows() -> None:
    model = tiny_model("llama", attention="sdpa")
    token_nll(model, BATCH, chunk=4, layout="packed").nll.sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    full_logits_nll(model, BATCH).nll.sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_the_module_packs_where_it_is_told_to() -> None:
    found = []
    for packing in (False, True):
        module = CausalLMModule(config={"model_type": "llama", **SMALL}, packing=packing, attention="eager")
        module.configure_model()
        widths: list[tuple[int, ...]] = []
        module.model.get_decoder().register_forward_pre_hook(  # type: ignore[operator,union-attr]
            lambda _m, _a, kwargs, widths=widths: widths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        found.append(module.eval().token_nll(BATCH).nll.detach())
        assert widths == ([(1, 69)] if packing else [(4, 30)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_attention_that_mixes_packed_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama", attention="sdpa").train()
    decoder = model.get_decoder()
    plain = decoder.forward

    def mixing(**inputs: Any) -> Any:
        inputs["position_ids"] = None  # as an architecture that does not look at positions
        return plain(**inputs)

    monkeypatch.setattr(decoder, "forward", mixing)
    with pytest.raises(ValueError, match=r"model.packing: LlamaForCausalLM with attention sdpa does not keep packed"):
        check_packing(model, headless=True)
    assert all(module.training for module in model.modules())


def test_a_model_whose_head_is_not_apart_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model.packing needs decoder and output head apart"):
        check_packing(tiny_model("llama", attention="sdpa"), headless=False)
