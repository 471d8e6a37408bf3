"""The place of a response in a rendered conversation, for templates of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from lit_curriculum.data.template import SENTINEL, ChatTemplate, packaged_templates, resolve_template
from lit_curriculum.types import Message
from tests.data.toy_conversations import talk
from tests.data.toy_tokenizers import (
    ALTERNATING,
    CHATML_WITH_DEFAULT_SYSTEM,
    TRIMMING,
    TWO_CLOSINGS,
    byte_level,
    metaspace,
)


def chat(text: str, tokenizer: PreTrainedTokenizerFast | None = None) -> ChatTemplate:
    return ChatTemplate(tokenizer or metaspace(), "toy", text)


def cut(template: ChatTemplate, messages: tuple[Message, ...]) -> list[tuple[str, str, str]]:
    """Response, closing and blanks behind it of each assistant turn."""
    text, turns = template.locate(messages)
    return [
        (text[t.start : t.response_end], text[t.response_end : t.closing_end], text[t.closing_end : t.suffix_end])
        for t in turns
    ]


def test_packaged_templates_render_as_documented() -> None:
    messages = talk("s:S", "u:Q", "a:A", "u:R", "a:B")
    tokenizer = metaspace()
    assert packaged_templates() == ["chatml", "headings", "plain"]
    headings = "<s>S\n\n# Request\nQ\n\n# Reply\nA</s>\n\n# Request\nR\n\n# Reply\nB</s>"
    assert resolve_template(tokenizer, "headings").render(messages) == headings
    marks = [f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages]
    assert resolve_template(tokenizer, "chatml").render(messages) == "<s>" + "".join(marks)
    assert resolve_template(tokenizer, "plain").render(messages) == "S\nQ\nA\nR\nB"
    prompts = {"headings": "<s># Request\nQ\n\n# Reply\n", "plain": "Q\n"}
    prompts["chatml"] = "<s><|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    for name, prompt in prompts.items():
        template = resolve_template(tokenizer, name)
        assert template.render(talk("u:Q"), add_generation_prompt=True) == prompt
        assert template.render(talk("u:Q", "a:A")).startswith(prompt + "A")


@pytest.mark.parametrize("name", packaged_templates())
def test_packaged_templates_locate_responses(name: str) -> None:
    template = resolve_template(metaspace(), name)
    found = cut(template, talk("s:S", "u:Q", "a:A", "u:A", "a: A \n"))
    closing = {"headings": ("</s>", ""), "chatml": ("<|im_end|>", "\n"), "plain": ("", "")}[name]
    assert found == [("A", *closing), (" A \n", *closing)]


def test_no_beginning_of_text_where_the_tokenizer_adds_none() -> None:
    tokenizer = byte_level(specials=["<|im_start|>", "<|im_end|>"])
    tokenizer.bos_token, tokenizer.eos_token = "<|im_start|>", "<|im_end|>"
    assert resolve_template(tokenizer, "headings").render(talk("u:Q", "a:A")) == "# Request\nQ\n\n# Reply\nA<|im_end|>"
    bare = byte_level()
    assert resolve_template(bare, "headings").render(talk("u:Q", "a:A")) == "# Request\nQ\n\n# Reply\nA"


@pytest.mark.parametrize(
    "response", ["t", "assistant", "im_end", "Be kind", "<|im_end|>", "Q", "", " x ", SENTINEL[:9]]
)
def test_a_response_that_occurs_elsewhere_is_located_by_its_place(response: str) -> None:
    template = chat(CHATML_WITH_DEFAULT_SYSTEM)
    before = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    text, turns = template.locate(talk("u:Q", "a:" + response))
    assert text == f"{before}{response}<|im_end|>\n"
    end = len(before) + len(response)
    assert turns == [(len(before), end, end + 10, end + 11)]


def test_default_system_turn_own_system_turn_and_no_user_turn() -> None:
    template = chat(CHATML_WITH_DEFAULT_SYSTEM)
    assert cut(template, talk("s:S", "u:Q", "a:A")) == [("A", "<|im_end|>", "\n")]
    text, turns = template.locate(talk("a:A"))
    assert text == "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    assert text[turns[0].start :] == "A<|im_end|>\n"


def test_all_turns_of_a_long_conversation() -> None:
    messages = talk("u:Q", "a:A", "u:A", "a:A", "a:AA", "u:<|im_end|>", "a:Q")
    expected = [(m.content, "<|im_end|>", "\n") for m in messages if m.role == "assistant"]
    assert cut(chat(CHATML_WITH_DEFAULT_SYSTEM), messages) == expected


def test_trimmed_responses_are_located_as_shown() -> None:
    text, turns = chat(TRIMMING).locate(talk("u: Q ", "a:  A b\n\n", "u:R", "a:\n"))
    assert text == "<s>[user]Q</s>[assistant]A b</s>[user]R</s>[assistant]</s>"
    assert [text[t.start : t.closing_end] for t in turns] == ["A b</s>", "</s>"]


def test_a_last_turn_closed_by_more_than_the_others() -> None:
    tokenizer = byte_level(specials=["<|user|>", "<|assistant|>", "<|end|>", "<|eos|>"])
    found = cut(chat(TWO_CLOSINGS, tokenizer), talk("u:Q", "a:A", "u:R", "a:B"))
    # "<|end|>\n<|" is common to "<|end|>\n<|eos|>" and "<|end|>\n<|user|>", but cuts a token.
    assert found == [("A", "<|end|>", "\n"), ("B", "<|end|>\n<|eos|>", "")]


def test_two_closings_need_a_fast_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    with pytest.raises(ValueError, match=r"data\.template: toy closes a turn in two ways"):
        chat(TWO_CLOSINGS, byte_level()).locate(talk("u:Q", "a:A", "u:R", "a:B"))


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (CHATML_WITH_DEFAULT_SYSTEM, "<|im_start|>assistant\n"),
        (TRIMMING, "<s>[assistant]"),
        (ALTERNATING, "<s> "),
        (TWO_CLOSINGS, "<|assistant|>\n"),
    ],
)
def test_header_of_a_response(text: str, header: str) -> None:
    tokenizer = metaspace()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|eos|>", "<|im_start|>"]})
    assert chat(text, tokenizer).response_header == header


def test_a_bos_token_that_marks_turns_is_no_beginning_of_text() -> None:
    tokenizer = byte_level(specials=["<|im_start|>", "<|im_end|>"])
    tokenizer.bos_token = "<|im_start|>"
    assert chat(CHATML_WITH_DEFAULT_SYSTEM, tokenizer).response_header == "<|im_start|>assistant\n"


def test_a_refused_conversation_names_template_and_example() -> None:
    message = r"^a\.jsonl:3 \(x\): the chat template toy refuses the turns assistant \(Roles must alternate\); drop"
    with pytest.raises(ValueError, match=message):
        chat(ALTERNATING).locate(talk("a:A"), "a.jsonl:3 (x)")


def test_a_template_that_hides_or_repeats_responses_is_refused() -> None:
    hiding = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    repeating = "{% for m in messages %}{{ m['content'] + m['content'] }}{% endfor %}"
    for text in (hiding, repeating):
        with pytest.raises(
            ValueError, match=r"^f:1: the chat template toy does not show an assistant turn exactly once"
        ):
            chat(text).locate(talk("u:Q", "a:A"), "f:1")


def test_a_template_that_looks_into_the_response_is_refused() -> None:
    thinking = "{% for m in messages %}{{ '|' + m['role'] + '|' + m['content'].split('</think>')[-1] }}{% endfor %}"
    template = chat("{% if 'think' in messages[-1]['content'] %}{{ 'T' }}{% endif %}" + thinking)
    assert cut(template, talk("u:Q", "a:A")) == [("A", "", "")]
    message = r"^f:1: the chat template toy changes the text around assistant turn 1 with the turn's content"
    with pytest.raises(ValueError, match=message):
        template.locate(talk("u:Q", "a:<think>x</think>A"), "f:1")


def test_which_template_an_option_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="lit_curriculum")
    tokenizer = metaspace()
    assert resolve_template(tokenizer, "auto").name == "headings"
    assert "chat template headings is used, as the tokenizer has none" in caplog.text
    with pytest.raises(ValueError, match=r"data\.template: the tokenizer .* has no chat template"):
        resolve_template(tokenizer, "tokenizer")
    tokenizer.chat_template = TRIMMING
    for option in ("auto", "tokenizer"):
        assert resolve_template(tokenizer, option).text == TRIMMING
    assert "the tokenizer's own chat template is used" in caplog.text
    assert resolve_template(tokenizer, "plain").name == "plain"
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    assert resolve_template(tokenizer, str(file)).render(talk("u:Q", "a:A")) == "QA"
    for wrong in ("llama", str(tmp_path / "other.jinja")):
        with pytest.raises(ValueError, match=r"data\.template: .* is none of auto"):
            resolve_template(tokenizer, wrong)
