"""Answers to validation items during training: generated in batches and parsed, or ranked among candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from lit_curriculum.callbacks.seen_rows import NO_ABILITY
from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator
from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.options import EvalOptions
from lit_curriculum.evaluation.parsers import PARSERS
from lit_curriculum.evaluation.summary import shard
from lit_curriculum.evaluation.tasks.from_examples import example_item
from lit_curriculum.loop.scoring import scoring_bar
from lit_curriculum.types import CONDITIONED, BoolArray, ExampleStore, IntArray


def check_parsers(parsers: Mapping[str, str]) -> None:
    """Refuse a parser that there is not.

    Raises:
        ValueError: names it.
    """
    for ability, parser in parsers.items():
        if parser not in PARSERS:
            raise ValueError(
                f"AbilityGrowthTracker.parsers names {parser!r} for {ability!r}; known are {', '.join(PARSERS)}."
            )


def check_generative(trainer: Trainer, module: LightningModule) -> None:
    """Refuse a module that cannot answer, or data without a tokenizer.

    Raises:
        MisconfigurationException: says which of the two.
    """
    tokenizer = getattr(getattr(trainer, "datamodule", None), "tokenizer", None)
    if not callable(getattr(module, "generate", None)) or tokenizer is None:
        raise MisconfigurationException(
            f"AbilityGrowthTracker.answers=generated needs a module with generate(prompts, max_new_tokens) and a data "
            f"module with a tokenizer, but {type(module).__name__} or its data has none; use CausalLMModule with "
            "InstructionDataModule, or set answers to teacher_forced."
        )


def items_of(store: ExampleStore, index: IntArray, parsers: Mapping[str, str]) -> list[EvalItem]:
    """What is asked of the validation examples ``index`` [B].

    Args:
        store: The validation examples.
        index: Which of them.
        parsers: Ability -> parser of its answers where the example names none; ``whole`` where it is not named.
    """
    names = [store.abilities[int(i)] or NO_ABILITY for i in index]
    return [example_item(store[int(i)], name, parsers.get(name, "whole")) for i, name in zip(index, names, strict=True)]


def exact_matches(
    trainer: Trainer, module: Any, items: Sequence[EvalItem], max_new_tokens: int
) -> tuple[IntArray, BoolArray]:
    """Places of this rank's share of the items, and whether each was answered right.

    Args:
        trainer: With a data module that has a tokenizer.
        module: A :class:`~lit_curriculum.types.GenerativeModel` in training.
        items: The same on all ranks.
        max_new_tokens: Tokens of an answer at most.
    """
    tokenizer = trainer.datamodule.tokenizer  # type: ignore[attr-defined]
    options = EvalOptions(
        max_length=choose_max_length(None, getattr(module, "context_length", None), tokenizer),
        max_new_tokens=max_new_tokens,
    )
    mine = list(range(len(items)))
    # The forward passes of a sharded model are collective, so all ranks make the same ones.
    if not isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy)):
        mine = list(shard(mine, trainer.global_rank, trainer.world_size))
    show = partial(scoring_bar, trainer, None)
    evaluator = Evaluator(resolve_template(tokenizer, "tokenizer"), options, show=show)
    results = evaluator.evaluate(module, [items[k] for k in mine])
    return np.array(mine, dtype=np.int64), np.array([r.score == 1.0 for r in results], dtype=np.bool_)


def longest_answer(store: ExampleStore, index: IntArray) -> int:
    """Tokens of the longest right answer to the examples ``index`` [B], its end included."""
    return int(store.num_scored(CONDITIONED)[index].max())
