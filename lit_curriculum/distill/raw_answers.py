"""The teacher's own answers to the raw instructions, in the place of those that the data came with."""

from __future__ import annotations

from lit_curriculum.distill.roles import ProvenanceRow, TaskItem
from lit_curriculum.distill.rounds import Roles, model_of, version_of
from lit_curriculum.distill.seeds import task_of
from lit_curriculum.types import ExampleStore, IntArray


def answer_raw(roles: Roles, store: ExampleStore, indices: IntArray) -> dict[int, ProvenanceRow]:
    """Rows of round 0 that replace raw examples, answered by the teacher.

    Gap and training target then have one source. An example whose answer is cut off, refused or what the data say
    already stays as it is.

    Args:
        roles: The teacher is asked; its costs are counted.
        store: The data.
        indices: Raw examples.

    Returns:
        By the index of the example that each replaces.
    """
    examples = [store[int(i)] for i in indices]
    questions = {e.instruction: TaskItem(id=e.id, instruction=e.instruction) for e in examples}
    answers = dict(zip(questions, roles.teacher.answer(list(questions.values())), strict=True))
    for answer in answers.values():
        roles.costs.add("teacher", answer.usage, int(not answer.complete))
    rows: dict[int, ProvenanceRow] = {}
    for index, example in zip(indices.tolist(), examples, strict=True):
        answer = answers[example.instruction]
        if not answer.complete or answer.text == example.response:
            continue
        rows[index] = ProvenanceRow(
            id=f"{example.id}/teacher",
            parent_id=example.id,
            instruction=example.instruction,
            output=answer.text,
            task=task_of(example) or "",
            prompt_version=version_of(roles.teacher),
            model=model_of(roles.teacher),
            cost_calls=answer.usage.calls,
            cost_prompt_tokens=answer.usage.prompt_tokens,
            cost_completion_tokens=answer.usage.completion_tokens,
        )
    return rows
