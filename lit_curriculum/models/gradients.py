"""Gradients of single examples, projected at random to few dimensions."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lit_curriculum.models.execution.modes import Execution
from lit_curriculum.models.execution.token_nll import causal_lm
from lit_curriculum.types import Batch, TokenNLL
from lit_curriculum.utils.float64 import to_float64

_MOST_NUMBERS = 1 << 26
"""Numbers of one layer's gradients that are made at once."""


class Moments(NamedTuple):
    """Adam's state of one weight."""

    mean: Tensor
    square: Tensor
    step: int
    betas: tuple[float, float]
    eps: float

    def direction(self, gradient: Tensor) -> Tensor:
        """The step, over the learning rate, that Adam would take with each of ``gradient`` [B, ...].

        References:
            LESS, arXiv 2402.04333, section 2: bias-corrected moments after one more step.
        """
        first, second = self.betas
        mean = (first * self.mean + (1 - first) * gradient) / (1 - first ** (self.step + 1))
        square = (second * self.square + (1 - second) * gradient.square()) / (1 - second ** (self.step + 1))
        return mean / (square.sqrt() + self.eps)


class GradientMixin:
    """Adds ``gradient_sketch`` of :class:`~lit_curriculum.types.GradientModel` to a module that holds ``model``."""

    model: nn.Module | None
    execution: Execution | None
    loaded_optimizer_states: Sequence[dict[str, Any]] = ()
    """Of a checkpoint, from when it is read until training resumes: a missed refresh runs before that."""

    def gradient_sketch(
        self, dimensions: int, layers: str, /, adam: bool, seed: int
    ) -> tuple[Callable[[Batch], Tensor], str]:
        """See :class:`~lit_curriculum.types.GradientModel`."""
        assert self.model is not None, "configure_model has not been called"
        found = linear_layers(self.model, last_block=layers == "last_block")
        moments = {name: self._moments(name, layer) for name, layer in found.items()} if adam else {}
        projections = {name: _projection(name, layer, dimensions, seed) for name, layer in found.items()}
        digest = hashlib.blake2b(digest_size=8)
        for state in moments.values():
            digest.update(f"{state.step} {to_float64(state.mean).sum()} {to_float64(state.square).sum()}".encode())

        def sketch(batch: Batch) -> Tensor:
            total = torch.zeros(len(batch), dimensions, device=batch.input_ids.device)
            for name, gradient, rows in self._gradients(found, batch):
                direction = moments[name].direction(gradient) if adam else gradient
                buckets, signs = projections[name]
                total[rows].index_add_(1, buckets, direction.flatten(1) * signs)
            return total

        return sketch, digest.hexdigest() if adam else ""

    def _gradients(self, layers: dict[str, nn.Module], batch: Batch) -> Any:
        """Name, gradients [b, *weight.shape] and rows of the batch, for parts of it and layer after layer."""
        seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            return lambda module, inputs, output: seen[name].append((inputs[0].detach(), output))

        handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
        try:
            with torch.enable_grad():
                tokens = self._token_nll(batch)
                counts = batch.scored.sum(dim=1).clamp(min=1).to(tokens.nll.dtype)
                loss = (tokens.nll / counts[tokens.row]).sum()
                uses = [(name, a, out) for name, calls in seen.items() for a, out in calls]
                grads = torch.autograd.grad(loss, [out for _, _, out in uses])
        finally:
            for handle in handles:
                handle.remove()
        for name, layer in layers.items():
            own = [(a, g) for (n, a, _), g in zip(uses, grads, strict=True) if n == name]
            shape = "bli,blo->bio" if _is_transposed(layer) else "bli,blo->boi"
            weight: Tensor = layer.weight  # type: ignore[assignment]
            step = max(1, _MOST_NUMBERS // weight.numel())
            for start in range(0, len(batch), step):
                rows = slice(start, start + step)
                parts = [torch.einsum(shape, a[rows].float(), g[rows].float()) for a, g in own]
                yield name, torch.stack(parts).sum(dim=0), rows

    def _token_nll(self, batch: Batch) -> TokenNLL:
        assert self.model is not None
        assert self.execution is not None
        # A layer's outputs have to be those of the batch's own rows.
        return self.execution.token_nll(self.model, batch, layout="padded")

    def _moments(self, name: str, layer: nn.Module) -> Moments:
        for number, optimizer in enumerate(self.trainer.optimizers):  # type: ignore[attr-defined]
            owned = [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]
            for place, (parameter, group) in enumerate(owned):
                state = optimizer.state.get(parameter) or self._loaded_state(number, place)
                if parameter is layer.weight and "exp_avg_sq" in state:
                    mean, square = (state[name].to(parameter.device) for name in ("exp_avg", "exp_avg_sq"))
                    return Moments(mean, square, int(state["step"]), group["betas"], group["eps"])
        raise ValueError(
            f"option vectors.adam: the optimizer has no moments of {name} yet; score behind a first stage "
            "(WarmStartPolicy, and first_stage of the metric), train with Adam or AdamW, or set vectors.adam to false."
        )

    def _loaded_state(self, optimizer: int, place: int) -> dict[str, Any]:
        """What a checkpoint that is being continued holds of a parameter, by its place in the optimizer."""
        if optimizer >= len(self.loaded_optimizer_states):
            return {}
        found: dict[str, Any] = self.loaded_optimizer_states[optimizer]["state"].get(place, {})
        return found

    def on_train_start(self) -> None:
        """Forgets the checkpoint's moments: from here on the optimizer has its own."""
        self.loaded_optimizer_states = ()


def linear_layers(model: nn.Module, last_block: bool) -> dict[str, nn.Module]:
    """The linear layers with trainable weights by name, but for the output head.

    Raises:
        ValueError: there is none.
    """
    head = causal_lm(model).get_output_embeddings()  # type: ignore[no-untyped-call]
    found = {
        name: module
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or _is_transposed(module))
        and module.weight.requires_grad
        and module is not head
    }
    if last_block:
        block = {name: int(m[1]) for name in found if (m := re.search(r"\.(\d+)\.", name))}
        found = {name: found[name] for name, number in block.items() if number == max(block.values())}
    if not found:
        raise ValueError("the model has no linear layer with trainable weights to take gradients of.")
    return found


def _is_transposed(module: nn.Module) -> bool:
    """Whether it is transformers' ``Conv1D``: a linear layer whose weight is [in, out]."""
    return type(module).__name__ == "Conv1D"


def _projection(name: str, layer: nn.Module, dimensions: int, seed: int) -> tuple[Tensor, Tensor]:
    """For each weight of the layer, flattened, which sum it goes to and with which sign."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    # The CPU's generator reads 32 bits of its seed.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    buckets = torch.randint(dimensions, (weight.numel(),), generator=generator, dtype=torch.int32)
    signs = torch.randint(2, (weight.numel(),), generator=generator, dtype=torch.int8) * 2 - 1
    return buckets.to(weight.device), signs.to(weight.device)
