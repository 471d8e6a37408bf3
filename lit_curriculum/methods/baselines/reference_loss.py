"""Loss under a reference model that is trained before stage 0, for RHO-LOSS and DoReMi."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.learned import LearnedMetric, UpdateContext, UpdateCost
from lit_curriculum.difficulty.loss_metrics import NegativeLogLikelihood
from lit_curriculum.types import CONDITIONED, Batch, ExampleStore, FloatArray, IntArray
from lit_curriculum.utils.options import check_range

_NAME = "reference"
_WEIGHT_DECAY = 0.01


class ReferenceLoss(LearnedMetric):
    """Mean response loss under the model as it is before stage 0, trained on other examples with AdamW.

    The examples are cut into folds by content hash, so duplicates share one, and each fold is scored by a model trained
    on the others: no loss is of an example that its model has seen, and no example is lost to a holdout. The
    weights of the model in training are borrowed for this before stage 0 and restored bit for bit. A larger run
    trains its reference model once, exports it, and names it in :class:`~lit_curriculum.ProxyMetric` instead.

    Args:
        folds: Parts of the data; 1 trains one model on all of it and scores what it has seen, as DoReMi does.
        passes: Passes over the other folds that a model is trained for.
        batch_size: Examples of a step.
        learning_rate: Of AdamW, constant.

    Raises:
        ValueError: an option is out of range, or a fold is empty.

    References:
        Mindermann et al. 2022, arXiv 2206.07137 (irreducible loss, and its form without a holdout);
        Xie et al. 2023, arXiv 2305.10429, algorithm 1, step 1 (reference model).
    """

    unit = "nats per token"

    def __init__(self, folds: int = 2, passes: float = 3.0, batch_size: int = 32, learning_rate: float = 1e-3) -> None:
        check_range(self, "[1, inf)", folds=folds, batch_size=batch_size)
        check_range(self, "(0, inf)", passes=passes, learning_rate=learning_rate)
        self.folds, self.passes, self.batch_size, self.learning_rate = folds, passes, batch_size, learning_rate
        self._values: FloatArray = np.empty(0)

    @property
    @override
    def formula(self) -> str:
        steps = f"passes={self.passes:g},batch={self.batch_size}"
        return f"reference-nll/1(folds={self.folds},{steps},lr={self.learning_rate:g},decay={_WEIGHT_DECAY:g})"

    @override
    def is_due(self, stage: int) -> bool:
        return stage == 0

    @override
    def update(self, context: UpdateContext) -> UpdateCost:
        started = time.perf_counter()
        fold = fold_of(context.store, self.folds)
        lengths = context.store.lengths(CONDITIONED)
        trainable = context.store.num_scored(CONDITIONED) > 0
        self._values = np.full(len(context.store), np.nan)
        tokens, last_loss = 0, 0.0
        for part in range(self.folds):
            scored = np.flatnonzero(fold == part)
            others = np.flatnonzero(trainable & ((fold != part) | (self.folds == 1)))
            if not len(scored) or not len(others):
                raise ValueError(
                    f"ReferenceLoss: fold {part + 1} of {self.folds} leaves {len(scored)} examples to score and "
                    f"{len(others)} to train on; lower its option folds."
                )
            with lent(context.model):
                batches = list(self._batches(others, context.generator))
                tokens += int(sum(lengths[batch].sum() for batch in batches))
                last_loss = self._train(context, batches, part)
                engine = ScoringEngine({_NAME: NegativeLogLikelihood()}, device=context.device)
                scores = engine.score(context.model, context.store, scored)
                self._values[scored] = scores.values[_NAME]
                tokens += scores.tokens
        seconds = time.perf_counter() - started
        return UpdateCost(seconds=seconds, forward_tokens=tokens, scalars={"last_training_loss": last_loss})

    def _batches(self, indices: IntArray, generator: np.random.Generator) -> Iterator[IntArray]:
        wanted = max(1, round(self.passes * len(indices)))
        passes = [generator.permutation(indices) for _ in range(-(-wanted // len(indices)))]
        order = np.concatenate(passes)[:wanted]
        yield from np.split(order, range(self.batch_size, wanted, self.batch_size))

    def _train(self, context: UpdateContext, batches: list[IntArray], part: int) -> float:
        """Train on ``batches`` and return the loss of the last one, before its step."""
        assert isinstance(context.model, nn.Module)
        trained = [p for p in context.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=_WEIGHT_DECAY)
        value = 0.0
        with torch.enable_grad():
            for number, indices in enumerate(batches, start=1):
                rows = [(int(i), 1.0, context.store.encoded(int(i), CONDITIONED)) for i in indices]
                loss = context.model.token_nll(Batch.from_views(rows).to(context.device)).nll.mean()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                value = float(loss.detach())
                if context.progress is not None:
                    context.progress(part * len(batches) + number, self.folds * len(batches))
        optimizer.zero_grad()
        return value

    @override
    def score(self, context: UpdateContext, indices: IntArray) -> FloatArray:
        return self._values[indices]

    @override
    def state_dict(self) -> dict[str, Any]:
        return {}  # the scores are in the table, and nothing is updated after stage 0

    @override
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def fold_of(store: ExampleStore, folds: int) -> IntArray:
    """[N] fold of every example, by its content hash."""
    starts = [int(bytes(digest)[:8], 16) for digest in store.content_hashes]
    return np.array(starts, dtype=np.int64) % folds


@contextmanager
def lent(model: object) -> Iterator[None]:
    """Lend out the weights of a model; afterwards they are as they were, and there are no gradients."""
    assert isinstance(model, nn.Module)
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(kept)
        for parameter in model.parameters():
            parameter.grad = None
