"""What a round asks its roles: every reply is counted once, and every row says what it has cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lit_curriculum import TapirPolicy
from lit_curriculum.chat.client import ChatRequest, ChatStoppedError
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.policy import Pools
from lit_curriculum.methods.tapir.provenance import RoundRecords, provenance_rows
from lit_curriculum.methods.tapir.roles import Judgement, Usage
from lit_curriculum.methods.tapir.rounds import FoundTask, Roles, find_tasks, refine_hard, write_new
from lit_curriculum.methods.tapir.teacher.classifier import PromptClassifier
from lit_curriculum.methods.tapir.teacher.expander import PromptExpander
from lit_curriculum.methods.tapir.teacher.procedural import ProceduralJudge
from lit_curriculum.methods.tapir.teacher.refiner import PromptRefiner, PromptTeacher
from tests.chat.scripted_client import ScriptedClient
from tests.conftest import ListStore, make_example

QUESTIONS = ["Add two and three please", "Name the largest whale alive", "Write a poem about snow"]
STORE = ListStore([replace(make_example(i, f"answer {i}", q), ability=None) for i, q in enumerate(QUESTIONS)])
WORDS = [f"word{n}" for n in range(20)]


def roles(script: Callable[[ChatRequest], str]) -> tuple[Roles, ScriptedClient]:
    client = ScriptedClient(script)
    return Roles(
        judge=ProceduralJudge(), teacher=PromptTeacher(client, max_tokens=3), refiner=PromptRefiner(client),
        expander=PromptExpander(client, dedupe_rouge=1.0), classifier=PromptClassifier(client),
    ), client  # fmt: skip


def asked(request: ChatRequest) -> str:
    """Which role asks."""
    text = request.messages[-1].content
    for role, sign in (("classifier", "<type>"), ("expander", "<task>"), ("refiner", "in this style")):
        if sign in text:
            return role
    return "teacher"


class Writer:
    """A model in all roles: every third new instruction has no tags, every fourth answer is cut off."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.counts = dict.fromkeys(("classifier", "expander", "refiner", "teacher"), 0)
        self.stop_at = stop_at

    def __call__(self, request: ChatRequest) -> str:
        role = asked(request)
        self.counts[role] += 1
        number = self.counts[role]
        if role == "teacher" and number == self.stop_at:
            raise ChatStoppedError("the server is gone")
        if role == "expander":
            task = " ".join(np.random.default_rng(number).permutation(WORDS)[:5])
            return task if number % 3 == 0 else f"<task>{task}</task>"
        if role == "teacher":
            return "a b c d" if number % 4 == 0 else "x"
        return "<type>Math</type>" if role == "classifier" else "better"


def write(parts: Roles) -> list:  # type: ignore[type-arg]
    policy = TapirPolicy(count=3)
    policy.setup(STORE, 1)
    return write_new(parts, policy, Pools(np.arange(3), np.arange(0), 0.0), STORE, 15, 1, 0)


def test_what_was_rejected_or_cut_off_is_paid_for_and_counted() -> None:
    writer = Writer()
    parts, client = roles(writer)
    rows = write(parts)
    assert len(rows) == 12
    assert len({row.id for row in rows}) == 12
    costs = parts.costs.by_role
    assert {role: costs[role]["calls"] for role in costs} == {r: n for r, n in writer.counts.items() if n}
    assert sum(entry["calls"] for entry in costs.values()) == client.num_calls
    assert costs["expander"]["failures"] == writer.counts["expander"] // 3 > 0
    assert costs["teacher"]["failures"] == writer.counts["teacher"] // 4 > 0
    assert all(row.cost_calls == 4 for row in rows), "written, answered, sorted, refined"
    assert {row.prompt_version for row in rows} == {"expand/1 + answer/1 + refine/1 styles/1 mode=all"}
    assert {row.model for row in rows} == {"scripted"}
    assert {row.task for row in rows} == {"Math"}


def test_a_round_that_stops_counts_nothing_since_it_is_made_again() -> None:
    parts, _ = roles(Writer(stop_at=13))
    with pytest.raises(ChatStoppedError):
        write(parts)
    assert parts.costs.by_role == {}


def test_tasks_are_found_once_and_only_where_the_data_name_none() -> None:
    named = ListStore([*(STORE[i] for i in range(3)), make_example(3, "a", "q", ability="known")])
    said = {"Add": "<type>Math</type>", "Name": "whale", "Write": "<type>writing</type>"}
    parts, client = roles(lambda r: next(t for q, t in said.items() if f"\n{q}" in r.messages[-1].content))
    found = find_tasks(parts, named, np.arange(4))
    assert {i: t.task for i, t in found.items()} == {0: "Math", 1: "Others", 2: "Writing"}
    assert client.num_calls == 3
    assert parts.costs.by_role["classifier"]["calls"] == 3
    assert parts.costs.by_role["classifier"]["failures"] == 1
    assert find_tasks(replace(parts, classifier=None), named, np.arange(4)) == {}
    policy = TapirPolicy(count=2)
    policy.found_tasks = {i: t.task for i, t in found.items()}
    policy.setup(named, 1)
    assert policy.tasks_of(np.arange(4)) == ["Math", "Others", "Writing", "known"]


def test_a_rewriting_that_cannot_be_used_is_a_failure_and_leaves_the_example() -> None:
    found = {0: FoundTask("Math", 0.9, Usage(calls=1))}
    parts, _ = roles(lambda r: "" if "whale" in r.messages[-1].content else "better")
    rows = refine_hard(parts, STORE, np.arange(3), 1, found)
    assert list(rows) == [0, 2]
    assert (rows[0].task, rows[0].task_prob, rows[2].task) == ("Math", 0.9, "Others")
    assert parts.costs.by_role["refiner"]["failures"] == 1
    assert refine_hard(replace(parts, refiner=None), STORE, np.arange(3), 1, found) == {}


def test_a_raw_row_knows_its_task_its_judge_and_what_it_has_cost_over_a_checkpoint() -> None:
    records = RoundRecords()
    first = Judgement(score_teacher=9.0, score_student=4.0, valid=True, usage=Usage(calls=2, prompt_tokens=10))
    records.enter_judged({0: ("before", replace(first, score_student=1.0))})
    records.enter_judged({0: ("said", first)})
    records.tasks = {0: FoundTask("Math", math.nan, Usage(calls=1, prompt_tokens=5)), 2: FoundTask("Art", 0.5, Usage())}
    again = RoundRecords()
    again.load_state_dict(records.state_dict())
    assert repr(again) == repr(records)
    row, other, art = provenance_rows(
        STORE, [], again.judged, again.tasks, ModelFittingDifficulty(), np.zeros(3), "judge/1 m"
    )
    assert (row.task, row.student_output, row.gap, row.judge_version) == ("Math", "said", 5.0, "judge/1 m")
    assert (row.cost_calls, row.cost_prompt_tokens) == (5, 25), "judged twice, sorted once"
    assert (other.task, other.cost_calls, other.judge_version) == ("", 0, "")
    assert (art.task, art.task_prob) == ("Art", 0.5)
