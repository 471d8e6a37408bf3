"""TAPIR's rounds behind an OpenAI-compatible server that is slow, refuses, breaks down, talks nonsense or dies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_curriculum import AbilityDataModule, CausalLMModule, CurriculumCallback, TapirPolicy, TapirRounds
from lit_curriculum.chat.client import ChatStoppedError
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.teacher.expander import PromptExpander
from lit_curriculum.methods.tapir.teacher.judge import PromptJudge
from lit_curriculum.methods.tapir.teacher.refiner import PromptRefiner, PromptTeacher
from tests.chat.chat_server import ChatServer, serving
from tests.methods.tapir.round_toys import TINY, Watch
from tests.toy import toy_trainer

pytestmark = pytest.mark.slow
Behaviour = Callable[[int, dict[str, Any]], str]
TROUBLES = {4: "429", 9: "500", 15: "drop", 23: "nonsense", 31: "slow", 40: "503", 51: "drop"}


def answer(body: dict[str, Any]) -> str:
    """What a model would say in each role, from the request alone."""
    text = body["messages"][-1]["content"]
    if "Score A" in text:
        # One more for the first place: a constant bias, which two orders have to take out.
        question, _, answers = text.partition("[Answer A]")
        first, second = (part.split("[End]")[0].strip() for part in answers.split("[Answer B]"))
        return f"Because.\nScore A: {_number(question + first) % 8 + 2}\nScore B: {_number(question + second) % 8 + 1}"
    word = "".join("abcdefgh"[_number(f"{text} {place}") % 8] for place in range(6))
    return f"<task>copy {word}{body['seed'] % 7}</task>" if "<task>" in text else word


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


class Run:
    """A warm-up stage and two rounds, all roles behind one server and one file of replies."""

    def __init__(self, folder: Path, server: ChatServer, replies: Path) -> None:
        self.folder = folder
        remote = OpenAIClient("m", server.url, concurrency=4, max_attempts=4, timeout=0.5, pause=0.01)
        self.client = CachedClient(remote, str(replies))
        self.rounds = TapirRounds(
            PromptJudge(self.client), PromptTeacher(self.client),
            PromptExpander(self.client, min_words=1, dedupe_rouge=1.0), PromptRefiner(self.client),
            pool_sizes=[24, 28], max_new_tokens=6,
        )  # fmt: skip
        self.watch = Watch()
        self.policy = TapirPolicy(count=16, warmup_stages=1, delta=0.0)
        curriculum = CurriculumCallback(self.policy, {"mfd": ModelFittingDifficulty()}, seed=1)
        data = AbilityDataModule(num_train=30, num_val_per_ability=1, batch_size=8, cache_dir=str(folder / "cache"))
        module = CausalLMModule(config=TINY, optimizer=partial(torch.optim.AdamW, lr=1e-2))
        trainer = toy_trainer(folder, 3, callbacks=[curriculum, self.rounds, self.watch])
        trainer.fit(module, data)


@pytest.fixture(scope="module")
def friendly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ChatServer]:
    folder = tmp_path_factory.mktemp("friendly")
    with serving(answer=answer) as server:
        return Run(folder, server, folder / "replies.jsonl"), server


def test_the_friendly_server_is_asked_in_every_role(friendly: tuple[Run, ChatServer]) -> None:
    run, server = friendly
    assert set(run.client.costs.roles) == {"judge", "teacher", "expander", "refiner"}
    assert run.watch.scalars[1]["hard_pool"] == 24
    assert run.watch.scalars[2]["hard_pool"] == 28
    assert {row.origin for row in run.rounds.records.rows} == {"raw", "expanded"}
    assert all(row.model == "m" and row.prompt_version for row in run.rounds.records.rows)
    assert server.num_paid == run.client.cache.paid.total.calls > 60


def test_the_run_s_cost_page_is_what_was_paid(friendly: tuple[Run, ChatServer]) -> None:
    run, _ = friendly
    costs = json.loads((run.folder / "tapir" / "costs.json").read_text())
    for role, paid in run.client.cache.paid.roles.items():
        assert costs[role]["calls"] == paid.calls
        assert costs[role]["completion_tokens"] == paid.completion_tokens


def test_a_server_in_trouble_gives_the_same_run(friendly: tuple[Run, ChatServer], tmp_path: Path) -> None:
    with serving(lambda number, body: TROUBLES.get(number, "ok"), answer) as server:
        run = Run(tmp_path, server, tmp_path / "replies.jsonl")
    assert len(server.seen) > max(TROUBLES), "all troubles were met"
    assert run.watch.plans == friendly[0].watch.plans
    assert run.watch.losses == friendly[0].watch.losses
    assert run.client.cache.paid.total.calls == friendly[1].num_paid
    assert run.client.costs.total.retries >= len(TROUBLES) - 1
    costs = json.loads((tmp_path / "tapir" / "costs.json").read_text())
    assert sum(role["retries"] for role in costs.values()) == run.client.costs.total.retries
    assert "| retries |" in (tmp_path / "tapir" / "costs.md").read_text()


@pytest.mark.parametrize(
    ("behaves", "why"), [("drop", "a broken connection"), ("nonsense", "an answer that is no chat completion")]
)
def test_a_server_that_dies_stops_the_run_and_nothing_is_paid_twice(
    friendly: tuple[Run, ChatServer], tmp_path: Path, behaves: str, why: str
) -> None:
    replies = tmp_path / "replies.jsonl"
    with (
        serving(lambda number, body: "ok" if number < 50 else behaves, answer) as dying,
        pytest.raises(ChatStoppedError, match=f"gave no answer .* because of {why}.*run again to resume"),
    ):
        Run(tmp_path / "first", dying, replies)
    assert dying.num_paid == 50 == len(replies.read_text().splitlines())
    with serving(answer=answer) as healthy:
        run = Run(tmp_path / "second", healthy, replies)
    assert run.watch.plans == friendly[0].watch.plans
    assert dying.num_paid + healthy.num_paid == friendly[1].num_paid


def test_a_judge_that_cannot_be_read_ends_in_a_clear_sentence(tmp_path: Path) -> None:
    with (
        serving() as server,
        pytest.raises(ValueError, match="no instruction has a mfd above 0, so there is nothing hard to train on"),
    ):
        Run(tmp_path, server, tmp_path / "replies.jsonl")
    assert (tmp_path / "tapir" / "mfd-stage-1.txt").read_text() == "MFD: no instruction has been judged.\n"
    assert server.num_paid == len((tmp_path / "replies.jsonl").read_text().splitlines())
