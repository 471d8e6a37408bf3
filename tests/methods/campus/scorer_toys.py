"""A model with scripted answers and stores with planted difficulty, for the learned scorer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lit_curriculum import (
    DifficultyTable,
)
from lit_curriculum.difficulty.learned import UpdateContext
from lit_curriculum.types import Batch, TokenNLL, make_generator
from tests.conftest import ListStore, make_example

HARD = "pqrstuvwxyz"


def planted_store(num: int = 240, seed: int = 0) -> tuple[ListStore, NDArray[np.float64]]:
    """Examples whose difficulty is the share of rare letters in instruction and response."""
    rng = np.random.default_rng(seed)
    examples, truth = [], []
    for i in range(num):
        share = float(rng.random())
        letters = [str(rng.choice(list(HARD if rng.random() < share else "abcde"))) for _ in range(30)]
        examples.append(make_example(i, "".join(letters[15:]), "".join(letters[:15])))
        truth.append(float(np.mean([c in HARD for c in letters])))
    return ListStore(examples), np.array(truth)


class Scripted:
    """Answers every prompt with easy letters of a fixed number, and pools bytes for hidden states."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float, int]] = []

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        raise AssertionError("a full re-score needs no pass of the model")

    def generate(
        self, prompts: Sequence[NDArray[np.int32]], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[NDArray[np.int32]]:
        self.asked.append((len(prompts), temperature, seed))
        found = []
        for prompt in prompts:
            rng = np.random.default_rng([seed, int(prompt.sum())])
            found.append(rng.choice(np.frombuffer(b"abcde", np.uint8), min(14, max_new_tokens)).astype(np.int32))
        return found

    def pooled_hidden(self, batch: Batch, /) -> torch.Tensor:
        letters = torch.nn.functional.one_hot(batch.input_ids, 128).float()
        weights = batch.scored.float()[..., None]
        return (letters * weights).sum(1) / weights.sum(1)


def context(store: ListStore, table: DifficultyTable, stage: int = 0, seed: int = 0) -> UpdateContext:
    return UpdateContext(
        model=Scripted(), device=torch.device("cpu"), store=store, table=table, stage=stage,
        generator=make_generator(seed, stage, "learned"),
    )  # fmt: skip


def table_of(losses: NDArray[np.float64], known: int) -> DifficultyTable:
    table = DifficultyTable(len(losses), ["loss", "learned"])
    table.enter("loss", np.arange(known), losses[:known], 0)
    return table
