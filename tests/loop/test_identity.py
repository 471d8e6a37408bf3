"""A run is continued under the options that it was started with, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import (
    ChainedPolicy,
    CurriculumCallback,
    IterITPolicy,
    Length,
    NegativeLogLikelihood,
    OrderedPolicy,
    TopMetricPolicy,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.types import Example
from tests.toy import ToyData, ToyModule, toy_trainer


def fit(
    folder: Path, examples: list[Example], policy: CurriculumPolicy, stages: int, resume: Path | None = None,
    **metrics: Any,
) -> tuple[ToyModule, Path]:  # fmt: skip
    """Train for some stages in all; returns the module and the checkpoint of the end of stage 0."""
    module = ToyModule()
    curriculum = CurriculumCallback(policy, {"nll": NegativeLogLikelihood(), **metrics})
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = toy_trainer(folder, max_epochs=stages, callbacks=[curriculum, keep], enable_checkpointing=True)
    trainer.fit(module, ToyData(examples), ckpt_path=resume, weights_only=True)
    return module, folder / "epoch=0.ckpt"


def iterit(**options: Any) -> IterITPolicy:
    return IterITPolicy("nll", fraction=0.25, max_complexity=None, **options)


def test_another_rounding_of_scores_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    _, path = fit(tmp_path, toy_examples, iterit(), 2)
    with pytest.raises(ValueError, match=r"curriculum\.policy\.score_dtype was 'float32' and is 'bfloat16' now"):
        fit(tmp_path, toy_examples, iterit(score_dtype="bfloat16"), 2, path)
    fit(tmp_path, toy_examples, iterit(), 2, path)


def test_another_option_of_a_metric_is_refused(tmp_path: Path, toy_examples: list[Example]) -> None:
    _, path = fit(tmp_path, toy_examples, iterit(), 2, size=Length("both", "characters"))
    with pytest.raises(ValueError, match=r"curriculum\.metrics was .* is"):
        fit(tmp_path, toy_examples, iterit(), 2, path, size=Length("response", "characters"))


def test_a_chain_of_policies_is_continued(tmp_path: Path, toy_examples: list[Example]) -> None:
    def chain(direction: Any = "easy_to_hard") -> ChainedPolicy:
        return ChainedPolicy(TopMetricPolicy("nll", fraction=0.5), [OrderedPolicy("nll", direction)])

    whole, path = fit(tmp_path / "whole", toy_examples, chain(), 3)
    with pytest.raises(ValueError, match=r"curriculum\.policy\.then\[0\]\.direction was 'easy_to_hard' and is 'hard"):
        fit(tmp_path / "parts", toy_examples, chain("hard_to_easy"), 3, path)
    rest, _ = fit(tmp_path / "parts", toy_examples, chain(), 3, path)
    assert 0 < len(rest.trained) < len(whole.trained)
    assert rest.trained == whole.trained[-len(rest.trained) :]
    assert rest.losses == whole.losses[-len(rest.losses) :]
