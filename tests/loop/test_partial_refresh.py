"""A refresh that was killed in the middle is continued, not repeated, and ends in the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import CurriculumCallback, InstructionFollowingDifficulty, IterITPolicy
from lit_curriculum.types import Batch, Example, TokenNLL
from tests.toy import ToyData, ToyModule, toy_trainer


class Scored(ToyModule):
    """Counts the scoring batches, and fails at one of them."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()
        self.calls = 0
        self.fail_at = fail_at

    def token_nll(self, batch: Batch) -> TokenNLL:
        if not torch.is_grad_enabled():
            self.calls += 1
            if self.calls == self.fail_at:
                raise ConnectionError("the scorer fails")
        return super().token_nll(batch)


def train(folder: Path, examples: list[Example], module: Scored, resume: str | None = None) -> Any:
    callback = CurriculumCallback(
        IterITPolicy(fraction=0.2, refresh_factor=5.0, max_complexity=None),
        {"ifd": InstructionFollowingDifficulty()},
        token_budget=60,
    )
    checkpoint = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    trainer = toy_trainer(folder, 2, callbacks=[callback, checkpoint], enable_checkpointing=True)
    trainer.fit(module, ToyData(examples), ckpt_path=resume, weights_only=True)
    return callback.table.scores["ifd"]


def test_a_failed_refresh_goes_on_where_it_stopped(tmp_path: Path, toy_examples: list[Example]) -> None:
    whole = Scored()
    expected = train(tmp_path / "whole", toy_examples, whole)
    in_stage = whole.calls // 2  # both stages score all examples
    failing = Scored(fail_at=in_stage + 5)
    with pytest.raises(ConnectionError):
        train(tmp_path / "killed", toy_examples, failing)
    resumed = Scored()
    found = train(tmp_path / "killed", toy_examples, resumed, str(tmp_path / "killed" / "step=2.ckpt"))
    assert resumed.calls == in_stage - 4
    assert found.tolist() == expected.tolist()
    assert resumed.losses == whole.losses[2:]


def test_only_the_last_refresh_is_kept(tmp_path: Path, toy_examples: list[Example]) -> None:
    train(tmp_path, toy_examples, Scored())
    (run,) = (tmp_path / "refresh").iterdir()
    assert len(list(run.iterdir())) == 1
