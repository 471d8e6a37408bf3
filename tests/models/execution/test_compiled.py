"""A compiled decoder has the losses and gradients of the decoder as it is, and leaves that one alone."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_curriculum import CausalLMModule
from lit_curriculum.models.execution import attention
from lit_curriculum.models.execution.modes import ExecutionOptions
from lit_curriculum.models.execution.token_nll import full_logits_nll
from tests.models.tiny_lms import SMALL, make_batch

HEADER = Path(sysconfig.get_paths()["include"]) / "Python.h"
needs_compiler = pytest.mark.skipif(
    (shutil.which("g++") is None and shutil.which("clang++") is None) or not HEADER.exists(),
    reason="no C++ compiler, or no header of Python for it",
)
CONFIG = {"model_type": "llama", **SMALL, "num_hidden_layers": 1}


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def _no_code_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is captured and differentiated as ever, and then run as it is: compiling it takes half a minute."""
    graph = torch.compile(attention._hidden, dynamic=True, backend="aot_eager")
    monkeypatch.setattr(attention, "_compiled", lambda: graph)


def module_with(**options: Any) -> CausalLMModule:
    module = CausalLMModule(config=CONFIG, **options)
    module.configure_model()
    return module.eval()


@needs_compiler
def test_losses_by_code_that_was_made_are_those_of_the_plain_decoder() -> None:
    fast, plain = module_with(torch_compile=True), module_with()
    assert plain.model is not None
    for batch in (make_batch([30, 14, 22, 3], [5, 2, 9, 1]), make_batch([7, 12], [3, 4])):
        with torch.no_grad():
            found, expected = fast.token_nll(batch), full_logits_nll(plain.model, batch)
        torch.testing.assert_close(found.nll, expected.nll, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_no_code_is_made")
@needs_compiler
def test_losses_and_gradients_are_those_of_the_plain_decoder_in_one_graph_for_all_shapes() -> None:
    fast, plain = module_with(torch_compile=True), module_with()
    names = set(plain.state_dict())
    assert fast.model is not None
    assert plain.model is not None
    batches = [
        make_batch([30, 14, 22, 3], [5, 2, 9, 1]),
        make_batch([7, 12], [3, 4]),
        make_batch([41, 40, 9], [30, 2, 8]),
    ]
    torch._dynamo.utils.counters.clear()
    for batch in batches:
        with torch.no_grad():
            found, expected = fast.token_nll(batch), full_logits_nll(plain.model, batch)
        torch.testing.assert_close(found.nll, expected.nll, rtol=1e-5, atol=1e-6)
        assert found.hit.tolist() == expected.hit.tolist()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for batch in batches:
        fast.zero_grad()
        plain.zero_grad()
        fast.token_nll(batch).nll.sum().backward()
        full_logits_nll(plain.model, batch).nll.sum().backward()
        for (name, found_weight), expected_weight in zip(
            fast.model.named_parameters(), plain.model.parameters(), strict=True
        ):
            torch.testing.assert_close(found_weight.grad, expected_weight.grad, rtol=1e-4, atol=1e-5, msg=name)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert set(fast.state_dict()) == names
    assert fast.runs_padding
    prompts = [np.arange(3, 9, dtype=np.int32), np.arange(5, 7, dtype=np.int32)]
    answers = [module.generate(prompts, max_new_tokens=4) for module in (fast, plain)]
    assert [a.tolist() for a in answers[0]] == [a.tolist() for a in answers[1]]


@pytest.mark.usefixtures("_no_code_is_made")
@needs_compiler
def test_other_weights_of_the_same_module_are_not_those_that_were_compiled() -> None:
    module = module_with(torch_compile=True)
    assert module.model is not None
    batch = make_batch([30, 14], [5, 2])
    with torch.no_grad():
        before = module.token_nll(batch).nll
        for parameter in module.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.2)
        found, expected = module.token_nll(batch).nll, full_logits_nll(module.model, batch).nll
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, before, atol=0.01)


@pytest.mark.usefixtures("_no_code_is_made")
@needs_compiler
@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"dtype": "bfloat16"}], ids=str)
def test_it_goes_with_other_options(options: dict[str, Any]) -> None:
    module = module_with(torch_compile=True, **options).train()
    plain = module_with(**options).train()
    batch = make_batch([30, 14], [5, 2])
    losses = []
    for one in (module, plain):
        assert one.model is not None
        loss = one.token_nll(batch).nll.sum()
        loss.backward()
        norms = [p.grad.float().norm() for p in one.model.parameters() if p.grad is not None]
        losses.append(torch.stack([loss.detach().float(), *norms]))
    tolerance = 0.05 if "dtype" in options else 1e-4
    torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=tolerance)


def test_what_it_does_not_go_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"model.packing and model.torch_compile exclude each other"):
        ExecutionOptions(packing=True, torch_compile=True)
    monkeypatch.setattr("lit_curriculum.models.execution.modes.check_headless", lambda model: False)
    with pytest.raises(ValueError, match=r"model.torch_compile needs decoder and output head apart"):
        module_with(torch_compile=True)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*args: Any, **options: Any) -> Any:
        def fail(*inputs: Any) -> Any:
            raise RuntimeError("no g++\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ValueError, match=r"^model.torch_compile: this machine compiles nothing \(no g\+\+\)"):
        module_with(torch_compile=True)
