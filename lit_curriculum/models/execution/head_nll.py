"""Cross-entropy behind an output head: by whole logits, and for scoring on a CPU by tiles that stay in its cache.

The logits of 1024 positions over 49152 tokens are 192 MiB. Written to memory and read back for their maximum, their
exponentials and their sum they cost a third of the head's time; a tile of them is used up before it leaves the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig
from typing import TypeGuard

from torch import nn
from torch.nn.functional import cross_entropy, linear


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """What a model does to its logits after the output head: a factor, then a soft cap."""

    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Final logits, in fp32 and of the same shape."""
        logits = logits.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def logit_transform(config: PretrainedConfig) -> LogitTransform:
    """The transform that ``config`` asks for: Cohere and FalconH1 multiply, Granite divides, Gemma caps."""
    text = config.get_text_config()

    def number(*names: str) -> float | None:
        values = (getattr(text, name, None) for name in names)
        return next((float(v) for v in values if isinstance(v, int | float) and v), None)

    divisor = number("logits_scaling")
    factor = number("logit_scale", "lm_head_multiplier") or 1.0
    softcap = number("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
    return LogitTransform(factor if divisor is None else factor / divisor, softcap)


TILE_POSITIONS, TILE_TOKENS = 1024, 512
"""A tile is 2 MiB of fp32 logits; from 512 to 2048 positions and 256 to 1024 tokens the speed is the same to 5 %."""


def chunk_nll(head: nn.Module, transform: LogitTransform, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [S] in fp32 and whether the target is the most likely token [S], by all logits of a chunk of positions.

    Args:
        head: The output head.
        transform: What follows it.
        hidden: [S, H].
        targets: [S] token ids.
    """
    return logits_nll(transform(head(hidden)), targets)


def logits_nll(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The same from fp32 ``logits`` [S, V]; where no gradient is wanted, they are overwritten.

    Without a gradient the logits themselves become the terms of the sum, so that no copy is made. The small difference
    to the highest logit is taken before the logarithm of the sum is added, so a loss near zero keeps as many digits as
    a large one; PyTorch's cross-entropy is some times further from the exact value.
    """
    if torch.is_grad_enabled():
        return cross_entropy(logits, targets, reduction="none"), logits.argmax(dim=-1) == targets
    highest, best = logits.max(dim=-1)
    of_target = logits.gather(1, targets[:, None])[:, 0] - highest
    total = logits.sub_(highest[:, None]).exp_().sum(dim=-1)
    return total.log() - of_target, best == targets


def can_be_tiled(head: nn.Module, hidden: Tensor) -> TypeGuard[nn.Linear]:
    """Whether :func:`tiled_nll` may replace :func:`chunk_nll`: a plain matrix on a CPU, and no gradient."""
    return type(head) is nn.Linear and hidden.device.type == "cpu" and not torch.is_grad_enabled()


def tiled_nll(
    head: nn.Linear,
    transform: LogitTransform,
    hidden: Tensor,
    targets: Tensor,
    tile_positions: int = TILE_POSITIONS,
    tile_tokens: int = TILE_TOKENS,
) -> tuple[Tensor, Tensor]:
    """The result of :func:`chunk_nll` without a gradient, equal but for the rounding of a sum in another order.

    Args:
        head: The output head.
        transform: What follows it.
        hidden: [S, H].
        targets: [S] token ids.
        tile_positions: Positions whose logits are made at once.
        tile_tokens: Tokens of the vocabulary whose logits are made at once.
    """
    weight: Tensor = head.weight
    bias: Tensor | None = head.bias
    if torch.is_autocast_enabled("cpu"):
        # Once, and not for each tile.
        dtype = torch.get_autocast_dtype("cpu")
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    parts = [
        _nll_over_tiles(weight, bias, transform, hidden[s : s + tile_positions], targets[s : s + tile_positions],
                        tile_tokens)
        for s in range(0, max(len(targets), 1), tile_positions)
    ]  # fmt: skip
    return torch.cat([nll for nll, _ in parts]), torch.cat([hit for _, hit in parts])


def _nll_over_tiles(
    weight: Tensor, bias: Tensor | None, transform: LogitTransform, hidden: Tensor, targets: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    # Not minus infinity: a tile in which all logits are would then make the sum NaN.
    highest = hidden.new_full((len(hidden),), torch.finfo(torch.float32).min, dtype=torch.float32)
    total = torch.zeros_like(highest)
    of_target, before_target = torch.zeros_like(highest), torch.zeros_like(highest)
    for low in range(0, len(weight), width):
        part = slice(low, low + width)
        logits = transform(linear(hidden, weight[part], None if bias is None else bias[part]))
        rows = ((targets >= low) & (targets < low + width)).nonzero()[:, 0]
        if len(rows):
            column = targets[rows, None] - low
            own = logits[rows]
            of_target[rows] = own.gather(1, column)[:, 0]
            # Among equals the first token is the most likely one, as for argmax.
            earlier = own.masked_fill_(torch.arange(own.shape[1], device=own.device) >= column, -torch.inf).amax(dim=-1)
            before_target[rows] = torch.maximum(highest[rows], earlier)
        new = torch.maximum(highest, logits.amax(dim=-1))
        total = total * (highest - new).exp_() + logits.sub_(new[:, None]).exp_().sum(dim=-1)
        highest = new
    return total.log() - (of_target - highest), (of_target == highest) & (before_target < of_target)
