"""The teacher's answers to raw instructions: whole ones replace, others leave the example as it is."""

from __future__ import annotations

import numpy as np

from lit_curriculum.methods.tapir.provenance import answer_raw
from lit_curriculum.methods.tapir.rounds import Roles
from lit_curriculum.methods.tapir.teacher.procedural import ProceduralJudge
from lit_curriculum.methods.tapir.teacher.refiner import PromptTeacher
from tests.chat.scripted_client import ScriptedClient
from tests.conftest import ListStore, make_example


def test_whole_answers_replace_and_others_leave_the_example() -> None:
    answers = {"known": "same", "new": "a better one", "long": "one two three four five"}
    client = ScriptedClient(lambda r: next(a for q, a in answers.items() if q in r.messages[-1].content))
    teacher = PromptTeacher(client, max_tokens=4)
    store = ListStore([make_example(i, "same", q, ability="task") for i, q in enumerate(answers)])
    roles = Roles(judge=ProceduralJudge(), teacher=teacher)
    rows = answer_raw(roles, store, np.arange(3))
    assert list(rows) == [1], "the first says the same, the third is cut off"
    row = rows[1]
    assert (row.output, row.parent_id, row.origin, row.round, row.task) == (
        "a better one",
        store[1].id,
        "raw",
        0,
        "task",
    )
    assert (row.model, row.prompt_version) == (client.model, teacher.prompt.version)
    assert roles.costs.by_role["teacher"]["calls"] == 3
    assert roles.costs.by_role["teacher"]["failures"] == 1
