"""The loop and each system are read in a few files."""

from __future__ import annotations

import pytest

from tests.reading_count import LIMITS, reading_lists


@pytest.mark.parametrize("name", LIMITS)
def test_a_reader_opens_few_files(name: str) -> None:
    files = reading_lists()[name]
    assert len(files) <= LIMITS[name], files


def test_the_lists_hold_what_they_are_about() -> None:
    lists = reading_lists()
    assert {"loop.planner", "loop.callback", "curriculum.base", "difficulty.table", "data.sampler"} <= set(
        lists["loop"]
    )
    assert {"methods.campus.policy", "methods.campus.scorer.learned_scorer"} <= set(lists["CAMPUS"])
    assert {"methods.tapir.teacher.judge", "chat.reply_cache"} <= set(lists["TAPIR"])
    assert not set(lists["loop"]) & set(lists["TAPIR"])
