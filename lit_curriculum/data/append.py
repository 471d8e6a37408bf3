"""New examples behind those that there are: no index changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.data.cache import build_store
from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.formats import content_hash
from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.types import Example, IntArray, Message
from lit_curriculum.utils import hub


def new_example(
    id: str, instruction: str, response: str, ability: str | None, source: str, meta: dict[str, Any]
) -> Example:
    """An example of one question and its answer; the store gives it its index."""
    messages = (Message(role="user", content=instruction), Message(role="assistant", content=response))
    return Example(
        index=-1,
        id=id,
        messages=messages,
        content_hash=content_hash(messages),
        ability=ability,
        source=source,
        meta=meta,
    )


def encode_examples(data: InstructionDataModule, examples: Sequence[Example]) -> EncodedStore | None:
    """The examples that fit, encoded as the data are; none where none fits.

    Args:
        data: The data module; its training data stay as they are.
        examples: An example without a response, or one that would be cut, is left out and named in ``problems`` of
            the result.
    """
    if not examples:
        return None
    policy = replace(data.policy, too_long="skip", empty_response="skip", duplicate="keep")
    report = ProblemReport()
    report.num_read = len(examples)
    kept = []
    for example in examples:
        if example.response.strip():
            kept.append(example)
        else:
            report.add(policy, "empty_response", example.source, example.id, "has no text")
    if not kept:
        return None
    cache_dir = hub.cache_dir() if data.cache_dir is None else Path(data.cache_dir)
    try:
        return build_store(kept, data.encoder(), policy, report, cache_dir, "the new examples")
    except ValueError:
        if report.num_kept:
            raise
        return None


def append_examples(data: InstructionDataModule, store: EncodedStore | None) -> IntArray:
    """Put encoded examples behind the training data, for the sampler too.

    Returns:
        [K] their indices.
    """
    before = len(data.train_store)
    if store is not None:
        data.train_store.append(store)
        data.sampler.grow(len(data.train_store))
    return np.arange(before, len(data.train_store))
