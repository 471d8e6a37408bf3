"""Validation items of a growth study: which are used, how they are split, and answers that are generated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator
from lit_curriculum.evaluation.items import EvalItem, EvalOptions, example_item
from lit_curriculum.evaluation.parsers import PARSERS
from lit_curriculum.evaluation.summary import shard
from lit_curriculum.loop.scoring import scoring_bar
from lit_curriculum.types import CONDITIONED, BoolArray, ExampleStore, IntArray, ability_names
from lit_curriculum.utils.distributed import all_gather_columns

SPLITS = ("valid", "test")


def sample_items(store: ExampleStore, max_items: int) -> IntArray:
    """At most ``max_items`` items of each ability, the first by content hash, in the order of the file."""
    order = np.argsort(store.content_hashes, kind="stable")
    abilities = ability_names(store, order)
    chosen = [order[abilities == a][:max_items] for a in np.unique(abilities)]
    return np.sort(np.concatenate(chosen))


def split_items(items: IntArray, valid: bool, declared: Sequence[str] | None = None) -> Iterator[tuple[str, IntArray]]:
    """Split items by turns into ``valid`` and ``test``, or put all into ``test``; skip a split without items.

    Args:
        items: Places of the items of an ability.
        valid: Whether checkpoints are chosen on some of them.
        declared: Split of every place where the data name it, instead of turns.
    """
    if valid and declared is not None:
        parts = [(name, items[[declared[int(i)] == name for i in items]]) for name in SPLITS]
    else:
        parts = [("valid", items[::2]), ("test", items[1::2])] if valid else [("test", items)]
    for split, part in parts:
        if len(part):
            yield split, part


def declared_splits(store: ExampleStore, index: IntArray) -> list[str] | None:
    """``split`` in the ``meta`` of each example; none unless both splits occur and every example has one."""
    declared = [str(store[int(i)].meta.get("split")) for i in index]
    return declared if set(declared) == set(SPLITS) else None


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
    names = ability_names(store, index).tolist()
    return [example_item(store[int(i)], name, parsers.get(name, "whole")) for i, name in zip(index, names, strict=True)]


def exact_matches(trainer: Trainer, module: Any, items: Sequence[EvalItem], max_new_tokens: int) -> BoolArray:
    """Whether each of the M items is answered right; the ranks share the work.

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
    found = all_gather_columns(np.array([mine, [r.score == 1.0 for r in results]], dtype=np.int64))
    right = np.zeros(len(items), dtype=np.bool_)
    right[found[0]] = found[1] > 0
    return right


def longest_answer(store: ExampleStore, index: IntArray) -> int:
    """Tokens of the longest right answer to the examples ``index`` [B], its end included."""
    return int(store.num_scored(CONDITIONED)[index].max())
