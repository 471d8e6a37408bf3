"""Chat templates: which one is used, what it renders, and where each response is in the rendering."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from jinja2 import TemplateError

from lit_curriculum.data.tokenize import Tokenizer
from lit_curriculum.types import Message

log = logging.getLogger(__name__)

FALLBACK = "headings"
"""The packaged template of ``auto`` for tokenizers that have none."""
SENTINEL = "rEsPoNsE7c1f90d2e4gOeShErE"
"""Placeholder for a response while its place is looked up; letters and digits only, so that no template trims it."""


class Turn(NamedTuple):
    """The place of one assistant turn in a rendering, as character offsets."""

    start: int
    """First character of the response."""
    response_end: int
    """One past the response's last character."""
    closing_end: int
    """One past what the template puts behind the response to close the turn, without the blanks at its end."""
    suffix_end: int
    """The same with the blanks."""


class ChatTemplate:
    """A Jinja chat template bound to a tokenizer.

    Args:
        tokenizer: Renders, and supplies the special tokens.
        name: Name for messages and logs.
        text: The template.
    """

    def __init__(self, tokenizer: Tokenizer, name: str, text: str) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self.text = text

    def render(self, messages: Sequence[Message], where: str = "", add_generation_prompt: bool = False) -> str:
        """The conversation as one string.

        Args:
            messages: The turns.
            where: Place and id of the example, for the message of the error.
            add_generation_prompt: Whether to end with the header of an assistant turn.

        Raises:
            ValueError: the template refuses the conversation.
        """
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                turns, chat_template=self.text, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as error:
            raise ValueError(
                f"{where}: the chat template {self.name} refuses the turns {', '.join(m.role for m in messages)} "
                f"({str(error).rstrip('.')}); drop the example or choose another data.template."
            ) from error
        assert isinstance(text, str)
        return text

    def locate(self, messages: Sequence[Message], where: str = "") -> tuple[str, list[Turn]]:
        """The rendering of a conversation, and the place of each assistant turn in it.

        The text of a response is never searched for. Turn by turn, the response is replaced by a sentinel; what
        is then before and behind the sentinel must also begin and end the rendering of the conversation. What is
        between them there is the response as the template shows it (trimmed, for instance).

        Args:
            messages: The turns.
            where: Place and id of the example, for the message of the error.

        Raises:
            ValueError: the template refuses the conversation, or what it puts around a response depends on the
                response.
        """
        text = self.render(messages, where)
        turns: list[Turn] = []
        for k, message in enumerate(messages):
            if message.role != "assistant":
                continue
            stand_in = Message(role="assistant", content=SENTINEL)
            before, behind = self._around(self.render((*messages[:k], stand_in, *messages[k + 1 :]), where), where)
            start, end = len(before), len(text) - len(behind)
            if start > end or not text.startswith(before) or not text.endswith(behind):
                raise ValueError(
                    f"{where}: the chat template {self.name} changes the text around assistant turn {len(turns) + 1} "
                    "with the turn's content, so the response cannot be located; drop the example or choose another "
                    "data.template."
                )
            suffix = behind
            if k + 1 < len(messages):
                # What closes the turn, and does not belong to the next one, is what also closes it at the end.
                closing = self._around(self.render((*messages[:k], stand_in), where), where)[1]
                suffix = closing[: self._shared(closing, behind)]
            turns.append(Turn(start, end, end + len(suffix.rstrip()), end + len(suffix)))
        return text, turns

    @cached_property
    def response_header(self) -> str:
        """What the template puts between a user's turn and the response, after its beginning-of-text token if any."""
        question = Message(role="user", content="x")
        prompt = self.render((question,), "data.template")
        before, _ = self._around(
            self.render((question, Message(role="assistant", content=SENTINEL)), "data.template"), "data.template"
        )
        bos = str(self.tokenizer.bos_token or "")
        header = before[self._shared(prompt, before) :]
        # Where the header begins with the token too, it is a mark of turns (SmolLM2).
        return bos + header if before.startswith(bos) and not header.startswith(bos) else header

    def _around(self, rendering: str, where: str) -> tuple[str, str]:
        before, found, behind = rendering.partition(SENTINEL)
        if not found or SENTINEL in behind:
            raise ValueError(
                f"{where}: the chat template {self.name} does not show an assistant turn exactly once, so the response "
                "cannot be located; choose another data.template."
            )
        return before, behind

    def _shared(self, first: str, second: str) -> int:
        """Length of the longest beginning that both have in common and that cuts no token of ``first``."""
        if second.startswith(first):
            return len(first)
        common = next(i for i, c in enumerate(first) if i >= len(second) or second[i] != c)
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"data.template: {self.name} closes a turn in two ways, and only a fast tokenizer finds what they "
                "have in common; choose another template or tokenizer."
            )
        offsets = self.tokenizer(first, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return max((end for _, end in offsets if end <= common), default=0)


def resolve_template(tokenizer: Tokenizer, template: str = "auto") -> ChatTemplate:
    """The chat template that an option names.

    Args:
        tokenizer: The tokenizer it is for.
        template: ``auto`` (the tokenizer's own, else ``headings``), ``tokenizer`` (its own or an error), the name
            of a packaged template (``headings``, ``chatml``, ``plain``), or the path of a ``.jinja`` file.

    Raises:
        ValueError: there is no such template.
    """
    own = tokenizer.get_chat_template() if tokenizer.chat_template else None
    if template in ("auto", "tokenizer") and own is not None:
        log.info("data.template: the tokenizer's own chat template is used.")
        return ChatTemplate(tokenizer, "of the tokenizer", own)
    if template == "tokenizer":
        raise ValueError(
            f"data.template: the tokenizer {tokenizer.name_or_path} has no chat template; set auto, one of "
            f"{', '.join(packaged_templates())}, or a .jinja file."
        )
    name = FALLBACK if template == "auto" else template
    if name in packaged_templates():
        text = _packaged(name)
        if name != "plain" and _adds_bos(tokenizer):
            text = "{{- bos_token -}}\n" + text
        why = ", as the tokenizer has none" if template == "auto" else ""
        log.info("data.template: the packaged chat template %s is used%s.", name, why)
        return ChatTemplate(tokenizer, name, text)
    if name.endswith(".jinja") and Path(name).is_file():
        log.info("data.template: the chat template of the file %s is used.", name)
        return ChatTemplate(tokenizer, name, Path(name).read_text(encoding="utf-8"))
    raise ValueError(
        f"data.template: {name} is none of auto, tokenizer, {', '.join(packaged_templates())} and no .jinja file that "
        "exists; correct it."
    )


def template_key(template: str) -> list[str]:
    """What changes whenever the texts that ``template`` may name do; the tokenizer's template is not among them."""
    if template.endswith(".jinja") and Path(template).is_file():
        return [template, Path(template).read_text(encoding="utf-8")]
    return [template, *(_packaged(name) for name in packaged_templates())]


def packaged_templates() -> list[str]:
    """Names of the templates that come with the package."""
    folder = resources.files("lit_curriculum.data").joinpath("templates")
    return sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir() if entry.name.endswith(".jinja"))


def _packaged(name: str) -> str:
    return resources.files("lit_curriculum.data").joinpath("templates", f"{name}.jinja").read_text(encoding="utf-8")


def _adds_bos(tokenizer: Tokenizer) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id]
