"""A bigram model whose losses can be computed by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lit_curriculum.difficulty.base import ModelMetric
from lit_curriculum.difficulty.loss_metrics import (
    InstructionFollowingDifficulty,
    LossRatioIFD,
    NegativeLogLikelihood,
    Perplexity,
)
from lit_curriculum.types import Batch, EncodedView, TokenNLL


class BigramModel(nn.Module):
    """Logits depend on the last token and on the mean of all tokens before it: padding leaks would show."""

    def __init__(self, vocab: int = 256, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(vocab, vocab, generator=generator))
        self.num_sequences = 0
        self.num_forwards = 0

    def token_nll(self, batch: Batch) -> TokenNLL:
        self.num_forwards += 1
        self.num_sequences += len(batch)
        ids = batch.input_ids
        steps = torch.arange(1, ids.shape[1] + 1)
        mean = (ids.float() * batch.attention_mask).cumsum(1) / steps
        logits = self.table[ids] + 0.01 * mean[..., None] * torch.linspace(0, 1, self.table.shape[1])
        log_p = logits[:, :-1].log_softmax(-1)
        nll = -log_p.gather(2, ids[:, 1:, None])[..., 0]
        scored = batch.scored[:, 1:]
        row = scored.nonzero()[:, 0]
        return TokenNLL(nll[scored], row, logits[:, :-1].argmax(-1)[scored] == ids[:, 1:][scored])


def _reference_mean_nll(model: BigramModel, view: EncodedView) -> float:
    """The mean loss of one example by a loop over its tokens."""
    ids = view.input_ids.tolist()
    losses = []
    for t in np.flatnonzero(view.scored):
        if t == 0:
            continue
        logits = model.table[ids[t - 1]] + 0.01 * float(np.mean(ids[:t])) * torch.linspace(0, 1, 256)
        losses.append(-logits.log_softmax(-1)[ids[t]].item())
    return float(np.mean(losses)) if losses else float("nan")


METRICS: dict[str, ModelMetric] = {
    "nll": NegativeLogLikelihood(),
    "ppl": Perplexity(),
    "ifd": InstructionFollowingDifficulty(),
    "loss_ratio": LossRatioIFD(),
}
