"""A name for what a model computes: checksums of all its weights, and what else decides on its output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lit_curriculum.utils.float64 import has_float64

# What a CPU's cache holds, and what keeps a GPU busy.
_CHUNK, _DEVICE_CHUNK = 1 << 15, 1 << 24
# Odd constants below 2**63 in magnitude, from the fractional parts of the golden ratio and of the square root of 2.
_SPREAD, _MIX = 0x1E3779B97F4A7C15, 0x6A09E667F3BCC909
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_IRRELEVANT = ("_name_or_path", "name_or_path", "transformers_version")


@torch.no_grad()
def model_fingerprint(module: nn.Module) -> str | None:
    """32 hexadecimal digits that change whenever a parameter or buffer of ``module`` changes in a single bit.

    The weights are summed up where they lie, as integers modulo 2**64, so the result depends on no order of
    summation and one number a tensor crosses to the CPU. Names, shapes and dtypes count, and so do the options
    that are no weights: ``extra_repr`` of every submodule, ``config`` of a Hugging Face model, ``scaling`` of LoRA.
    Whether the module is in training mode and where it lies do not count.

    Returns:
        The fingerprint; none where the weights are sharded over processes, so nothing that was computed with such a
        model can be reused.
    """
    lines: list[str] = [json.dumps(part) for part in _options(module)]
    sums: dict[torch.device, list[Tensor]] = {}
    order: list[tuple[torch.device, int]] = []
    for name, tensor in _tensors(module):
        if hasattr(tensor, "device_mesh") or tensor.device.type == "meta":
            return None
        lines.append(f"{name} {tuple(tensor.shape)} {tensor.dtype}")
        found = sums.setdefault(tensor.device, [])
        order.append((tensor.device, len(found)))
        found.append(_checksums(tensor))
    values = {device: torch.stack(found).cpu() for device, found in sums.items()}
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=16)
    for device, place in order:
        digest.update(values[device][place].numpy().tobytes())
    return digest.hexdigest()


def is_sharded(module: nn.Module) -> bool:
    """Whether the weights are split over processes."""
    return any(hasattr(tensor, "device_mesh") for _, tensor in _tensors(module))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _options(module: nn.Module) -> Iterator[list[Any]]:
    for name, part in module.named_modules():
        yield [name, type(part).__name__, part.extra_repr()]
        scaling = getattr(part, "scaling", None)
        if isinstance(scaling, dict):
            yield [name, sorted((str(k), str(v)) for k, v in scaling.items())]
        config = getattr(part, "config", None)
        to_dict = getattr(config, "to_dict", None)
        if callable(to_dict):
            kept = {k: v for k, v in to_dict().items() if k not in _IRRELEVANT}
            yield [name, json.dumps(kept, sort_keys=True, default=str)]


def _checksums(tensor: Tensor) -> Tensor:
    """Two sums [2] int64 over the mixed bits of all elements; a single changed element always changes the first."""
    if not has_float64(tensor.device.type):
        tensor = tensor.cpu()  # 64-bit integers are as doubtful there
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    bits = tensor.detach().contiguous().reshape(-1)
    bits = bits.view(_BITS[bits.element_size()])
    total = torch.zeros(2, dtype=torch.int64, device=bits.device)
    chunk = _CHUNK if bits.device.type == "cpu" else _DEVICE_CHUNK
    for start in range(0, len(bits), chunk):
        part = bits[start : start + chunk].to(torch.int64)
        place = torch.arange(start, start + len(part), device=bits.device)
        # Every step maps 64-bit integers one to one, so elements differ after it where they differed before.
        mixed = (part ^ (place * _SPREAD)) * _MIX
        mixed ^= (mixed >> 32) & 0xFFFFFFFF
        mixed *= _SPREAD
        total += torch.stack((mixed.sum(), (mixed * (2 * place + 1)).sum()))
    return total
