"""The in-process chat client on stories260k: real trained weights with a toy chat template."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_curriculum.chat.client import ChatRequest
from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.models.loading import load_model
from lit_curriculum.types import Message
from lit_curriculum.utils.hub import load_tokenizer

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def source(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    import torch

    folder = tmp_path_factory.mktemp("stories")
    original = str(shared_data / "models" / "stories260k")
    options = {"revision": None, "dtype": torch.float32, "attention": None, "trust_remote_code": False}
    load_model(original, **options).save_pretrained(folder)  # type: ignore[arg-type]
    tokenizer = load_tokenizer(original)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return str(folder)


def ask(text: str, temperature: float = 0.0, seed: int = 0, max_tokens: int = 12) -> ChatRequest:
    message = Message(role="user", content=text)
    return ChatRequest(messages=(message,), temperature=temperature, seed=seed, max_tokens=max_tokens)


def test_answers_do_not_depend_on_the_batch_and_keep_their_place(source: str) -> None:
    requests = [ask("Once upon a time"), ask("One day, Lily", 1.0, 3), ask("Tom had a big red ball", max_tokens=5)]
    requests += [ask("One day, Lily", 1.0, 4)]
    together = LocalClient(source).chat_many(requests, "teacher")
    alone = [LocalClient(source, batch_size=1).chat_many([r], "teacher")[0] for r in requests]
    assert together == alone
    assert together[1].text != together[3].text
    assert [r.usage.completion_tokens for r in together] == [12, 12, 5, 12]
    assert all(r.finish_reason == "length" and r.usage.prompt_tokens > 3 for r in together)


def test_prompt_beyond_the_context_is_set_aside_alone(source: str) -> None:
    replies = LocalClient(source).chat_many([ask("Once upon a time"), ask("the cat sat " * 400)], "teacher")
    assert [r.finish_reason for r in replies] == ["length", "error"]
    assert "the model's context 512" in replies[1].text


def test_model_without_a_template_and_bad_options_are_refused(shared_data: Path) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        LocalClient(str(shared_data / "models" / "stories260k")).chat_many([ask("a")], "teacher")
    with pytest.raises(ValueError, match=r"client\.dtype must be one of float32"):
        LocalClient("x", dtype="int8")
    with pytest.raises(ValueError, match=r"client\.batch_size must be at least 1, got 0"):
        LocalClient("x", batch_size=0)
