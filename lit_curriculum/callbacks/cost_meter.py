"""Measures what scoring costs beside training, and how close both come to the machine's limit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.footprint import Footprint, footprint

_SIDES = (512, 1024, 2048, 4096)  # of the matrices whose product is timed
_LONG_ENOUGH = 0.001  # seconds that a product takes to be timed well
_REPEATS = 3


class CostMeter:
    """Sums of seconds and tokens of training and refreshes; kept in checkpoints.

    The machine's limit is the rate of a product of square matrices in the data type of the weights, timed once on the
    model's device. Operations are counted as ``lit-curriculum plan`` counts them, so padding counts as idle time.
    """

    def __init__(self) -> None:
        self.seconds = {"training": 0.0, "scoring": 0.0, "refresh": 0.0}
        self.tokens = {"training": 0, "training_response": 0, "scoring": 0}
        self._limit = 0.0
        self._footprint: Footprint | None = None
        self._ranks = 1

    def measure(self, module: LightningModule, ranks: int) -> None:
        """Time the machine and count the model's parameters, once."""
        self._ranks = ranks
        weights = next(iter(module.parameters()), None)
        if weights is not None and isinstance(module, CausalLMModule) and not module.trust_remote_code:
            self._limit = machine_limit(module.device, weights.dtype)
            self._footprint = footprint(module)

    def scalars(self) -> dict[str, float]:
        """Totals, rates and shares so far, under the tags of the log."""
        seconds, tokens = self.seconds, self.tokens
        found = {f"cost/{name}_seconds": value for name, value in seconds.items()}
        found |= {f"cost/{name}_tokens": float(value) for name, value in tokens.items()}
        spent = seconds["training"] + seconds["refresh"]
        if spent:
            found["cost/refresh_share"] = seconds["refresh"] / spent
        for name in ("training", "scoring"):
            if seconds[name] and tokens[name]:
                found[f"cost/{name}_tokens_per_second"] = tokens[name] / seconds[name]
        if self._footprint is not None and self._limit:
            work = self._footprint.training_flops(tokens["training"], tokens["training_response"])
            if seconds["training"] and tokens["training"]:
                found["machine/training_share_of_limit"] = work / seconds["training"] / self._ranks / self._limit
            if seconds["scoring"] and tokens["scoring"]:
                # Without the output head, since the number of scored positions is not known here.
                scored = self._footprint.forward_flops(tokens["scoring"], 0)
                found["machine/scoring_share_of_limit"] = scored / seconds["scoring"] / self._ranks / self._limit
            found["machine/limit_flops"] = self._limit
        return found

    def state_dict(self) -> dict[str, Any]:
        """Seconds and tokens."""
        return {"seconds": dict(self.seconds), "tokens": dict(self.tokens)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.seconds, self.tokens = dict(state["seconds"]), dict(state["tokens"])


def machine_limit(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a matrix product, the best of a few; larger matrices on faster machines."""
    generator = torch.Generator().manual_seed(0)
    rate = 0.0
    for side in _SIDES:
        one = torch.rand(side, side, generator=generator).to(device, dtype)
        best = min(_seconds(one) for _ in range(_REPEATS + 1))  # the first one warms up
        rate = 2.0 * side**3 / best
        if best >= _LONG_ENOUGH:
            break
    return rate


def _seconds(one: Tensor) -> float:
    """Time one product."""
    started = time.perf_counter()
    product = one @ one
    product[0, 0].item()  # waits for the device
    return time.perf_counter() - started
