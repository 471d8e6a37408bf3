"""The prompted teacher and refiner."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_curriculum.chat.client import ChatRequest
from lit_curriculum.methods.tapir.roles import TaskItem
from lit_curriculum.methods.tapir.teacher.classifier import load_taxonomy
from lit_curriculum.methods.tapir.teacher.refiner import PromptRefiner, PromptTeacher, RefineMode
from tests.chat.scripted_client import ScriptedClient

TASKS = ("Math", "Code Debug", "Roleplay", "History")
ITEMS = [TaskItem(id=t, instruction=f"about {t}", output=f"old {t}", task=t) for t in TASKS]


def styled() -> ScriptedClient:
    return ScriptedClient(lambda r: "new, " + r.messages[-1].content.split("style: ")[1].split("\n")[0])


@pytest.mark.parametrize(("mode", "refined"), [("none", []), ("reasoning_code", [0, 1]), ("all", [0, 1, 2, 3])])
def test_mode_decides_which_tasks_are_rewritten(mode: RefineMode, refined: list[int]) -> None:
    refiner = PromptRefiner(styled(), mode=mode)
    results = refiner.refine(ITEMS)
    assert [n for n, r in enumerate(results) if r.refined] == refined
    assert [n for n, r in enumerate(results) if r.output.startswith("new")] == refined
    assert all(results[n].output == ITEMS[n].output for n in range(4) if n not in refined)
    assert mode in refiner.version


def test_style_follows_the_task() -> None:
    outputs = [r.output for r in PromptRefiner(styled()).refine(ITEMS)]
    for output, words in zip(outputs, ("numbered steps", "corrected code", "voice", "structured"), strict=True):
        assert words in output


def test_bad_rewriting_leaves_the_answer() -> None:
    texts = {"Math": "", "Code Debug": "w " * 2000}
    client = ScriptedClient(lambda r: next((v for k, v in texts.items() if k in r.messages[-1].content), "good"))
    refiner = PromptRefiner(client)
    results = refiner.refine(ITEMS)
    assert [r.refined for r in results] == [False, False, True, True]
    assert results[1].output == "old Code Debug"
    assert [r.failed for r in results] == [True, True, False, False]


def test_every_type_named_in_the_style_table_is_in_the_taxonomy() -> None:
    refiner = PromptRefiner(styled())
    assert set(refiner._styles) <= set(load_taxonomy("tapir_32").types)


def test_teacher_answers_and_marks_what_was_cut() -> None:
    def script(request: ChatRequest) -> str:
        return "far " * 50 if "second" in request.messages[-1].content else "done"

    items = [TaskItem(id="a", instruction="first", input="with a text"), TaskItem(id="b", instruction="second")]
    client = ScriptedClient(script)
    answers = PromptTeacher(client, max_tokens=20).answer(items)
    assert [a.complete for a in answers] == [True, False]
    assert answers[0].text == "done"
    assert answers[0].usage.prompt_tokens > 3


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"PromptRefiner\.mode must be one of none"):
        PromptRefiner(styled(), mode="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"refine\.styles: there is no file"):
        PromptRefiner(styled(), styles=str(tmp_path / "no.yaml"))
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    with pytest.raises(ValueError, match="a table of styles needs version, default"):
        PromptRefiner(styled(), styles=str(tmp_path / "bad.yaml"))
