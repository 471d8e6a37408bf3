"""What models do to their logits behind the output head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig


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
