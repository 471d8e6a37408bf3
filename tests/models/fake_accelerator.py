"""A fake accelerator for machines without one: it computes on the CPU and behaves like an accelerator.

Its tensors do not mix with CPU tensors, and reading them counts as a wait: both are the first errors on a GPU, and no
test on a CPU sees them. A process can register one such device, so each test of it runs in a separate process; see
``test_fake_accelerator.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

FAKE = "far"
_MAY_MIX = {"aten::index.Tensor", "aten::index_put", "aten::_index_put_impl_", "aten::_to_copy", "aten::copy_"}
"""CUDA takes these with CPU tensors: copies, and places to read from or write to."""
_WAIT = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class FakeDeviceTensor(Tensor):
    """A tensor on the fake accelerator, around a CPU tensor."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FakeDeviceTensor:
        made: FakeDeviceTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            device=torch.device(FAKE, 0),
        )  # fmt: skip
        made.near = near.detach()
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __format__(self, spec: str) -> str:
        return format(self.cpu(), spec)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


waits: Counter[str] = Counter()
"""Number of reads of its tensors, by operation."""
narrow = False
"""Whether the device holds no float64, as Apple's GPUs do not."""


class FakeDeviceMode(TorchDispatchMode):
    """While it is entered, tensors can be made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, wanted = func.name(), kwargs.get("device")
    if torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"):
        with FakeDeviceMode():  # under inference_mode they come whole
            return func.decompose(*args, **kwargs)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = [t for t in tensors if isinstance(t, FakeDeviceTensor)]
    if far and name not in _MAY_MIX and any(t.dim() for t in tensors if not isinstance(t, FakeDeviceTensor)):
        raise RuntimeError(f"{name}: tensors of the fake accelerator and of the CPU")
    if name == "aten::_fused_sdp_choice":
        return 0  # attention by its formula
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    becomes_far = bool(far) if wanted is None else torch.device(wanted).type == FAKE
    masks = name == "aten::index.Tensor" and any(i is not None and i.dtype == torch.bool for i in args[1])
    if far and (name in _WAIT or masks or not becomes_far):
        waits["to the CPU" if wanted is not None else name] += 1
    if becomes_far and narrow and any(isinstance(t, Tensor) and t.dtype == torch.float64 for t in tree_leaves(found)):
        raise TypeError(f"{name}: the fake accelerator holds no float64")
    same = {id(_near(t)): t for t in far}  # what an operation in place returns

    def send(value: Any) -> Any:
        return same.get(id(value), FakeDeviceTensor(value)) if isinstance(value, Tensor) else value

    return tree_map(send, found) if becomes_far else found


def _near(value: Any) -> Any:
    return value.near if isinstance(value, FakeDeviceTensor) else value


def set_up() -> None:
    """Make the device known to PyTorch, for the rest of the process."""

    class Module(backend_registration._DummyBackendModule):  # type: ignore[misc, name-defined, unused-ignore]
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16]

    backend_registration._setup_privateuseone_for_python_backend(FAKE, backend_module=Module())  # type: ignore[no-untyped-call]
    library = torch.library.Library("aten", "IMPL")

    def implement(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        # For what PyTorch makes where no mode is asked: the storage of torch.tensor(..., device="far").
        return lambda function: library.impl(name, function, "PrivateUse1") or function

    @implement("empty_strided")
    def _(size: Any, stride: Any, dtype: Any = None, **_options: Any) -> Tensor:
        return FakeDeviceTensor(torch.empty_strided(size, stride, dtype=dtype))

    @implement("_copy_from")
    def _(source: Tensor, target: Tensor, _non_blocking: bool = False) -> Tensor:
        _near(target).copy_(_near(source))
        return target

    set_up.library = library  # type: ignore[attr-defined]  # it holds as long as it lives


def move(module: nn.Module) -> None:
    """Send weights and buffers to the fake accelerator, tied ones together."""
    moved: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = moved.setdefault(
                    id(weight), nn.Parameter(FakeDeviceTensor(weight.detach()), requires_grad=weight.requires_grad)
                )
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = FakeDeviceTensor(buffer)
