"""The teacher's answers, and their rewriting in the style that the task asks for, by a chat model.

References:
    TAPIR (arXiv 2405.13448v2), abstract: answers are refined by task type. Which style each type gets is our table,
    ``prompts/styles.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, Usage
from lit_curriculum.methods.tapir.roles import Answer, Refinement, Refiner, TaskItem, Teacher
from lit_curriculum.methods.tapir.teacher.prompting import FOLDER, load_prompt

RefineMode = Literal["none", "reasoning_code", "all"]


class PromptTeacher(Teacher):
    """Answer instructions by a chat model.

    Args:
        client: The chat model.
        prompt: Prompt of the package, or a file with the place ``question``.
        temperature: Of the draws; 0 takes the most likely answer.
        max_tokens: Tokens of an answer at most; an answer cut by it is marked incomplete.
    """

    def __init__(
        self, client: ChatClient, prompt: str = "answer", temperature: float = 0.7, max_tokens: int = 1024
    ) -> None:
        self.client = client
        self.prompt = load_prompt(prompt, {"question"})
        self.temperature = temperature
        self.max_tokens = max_tokens

    @override
    def answer(self, items: Sequence[TaskItem]) -> list[Answer]:
        requests = [
            self.prompt.request({"question": item.question}, temperature=self.temperature, max_tokens=self.max_tokens)
            for item in items
        ]
        replies = self.client.chat_many(requests, "teacher")
        return [
            Answer("" if r.finish_reason == "error" else r.text, r.finish_reason == "stop" and bool(r.text), r.usage)
            for r in replies
        ]


class PromptRefiner(Refiner):
    """Ask a chat model to rewrite an answer in the style of its task.

    A rewriting that is empty, cut by length or refused is not taken: the answer stays as it was.

    Args:
        client: The chat model.
        mode: ``none`` changes nothing, ``reasoning_code`` only the types under the styles that the table lists for
            it, ``all`` every type.
        prompt: Prompt of the package, or a file with the places ``style``, ``question``, ``answer``.
        styles: Yaml file of styles by type; by default the package's.
        max_tokens: Tokens of a rewritten answer at most.

    Raises:
        ValueError: ``mode`` is none of these, or a file is missing or of another form.
    """

    def __init__(
        self,
        client: ChatClient,
        mode: RefineMode = "all",
        prompt: str = "refine",
        styles: str | None = None,
        max_tokens: int = 1024,
    ) -> None:
        self.client = client
        self.mode = mode
        self.prompt = load_prompt(prompt, {"style", "question", "answer"})
        self.max_tokens = max_tokens
        path = Path(styles) if styles is not None else FOLDER / "styles.yaml"
        if not path.is_file():
            raise ValueError(f"refine.styles: there is no file {path}.")
        table: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict) or {"version", "default", "reasoning_code", "styles"} - set(table):
            raise ValueError(f"{path}: a table of styles needs version, default, reasoning_code and styles.")
        self._version = str(table["version"])
        self._default = str(table["default"])
        self._styles = {t: str(s["text"]) for s in table["styles"].values() for t in s["types"]}
        self._reasoning_code = {t for name in table["reasoning_code"] for t in table["styles"][name]["types"]}

    @property
    @override
    def version(self) -> str:
        return f"{self.prompt.version} {self._version} mode={self.mode}"

    @override
    def refine(self, items: Sequence[TaskItem]) -> list[Refinement]:
        results = [Refinement(item.output, False, Usage()) for item in items]
        places = [
            n for n, i in enumerate(items)
            if self.mode == "all" or (self.mode == "reasoning_code" and i.task in self._reasoning_code)
        ]  # fmt: skip
        requests = [
            self.prompt.request(
                {
                    "style": self._styles.get(items[n].task, self._default),
                    "question": items[n].question,
                    "answer": items[n].output,
                },
                temperature=0.0,
                max_tokens=self.max_tokens,
            )
            for n in places
        ]
        for n, reply in zip(places, self.client.chat_many(requests, "refiner"), strict=True):
            good = reply.finish_reason == "stop" and bool(reply.text.strip())
            results[n] = Refinement(reply.text.strip() if good else items[n].output, good, reply.usage, not good)
        return results
