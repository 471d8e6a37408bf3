"""A module and data for tests of ability scores."""

from __future__ import annotations

from typing import Any

import torch

from lit_curriculum.types import Batch
from tests.toy import ToyData, ToyModule


class ScoringModule(ToyModule):
    """Returns what the monitor reads."""

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        tokens = self.token_nll(batch)
        counts = torch.zeros(len(batch), dtype=torch.int64)
        hits = counts.clone().index_add(0, tokens.row, tokens.hit.long())
        counts = counts.index_add(0, tokens.row, torch.ones_like(tokens.row))
        sums = torch.zeros(len(batch)).index_add(0, tokens.row, tokens.nll)
        return {"index": batch.index, "nll_sum": sums, "num_scored": counts, "exact": hits == counts}


class ValidatedData(ToyData):
    """Validates on its training examples, in batches of eight and a shorter last one."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.val_store = self.train_store
