"""A scripted chat model: a deterministic replacement of a real one for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, ChatRequest, Usage


class ScriptedClient(ChatClient):
    """Answers by a function of the request; a token is a word.

    Args:
        script: From a request to the text of its answer, which is cut at ``max_tokens`` words.
        name: Name of the model.
    """

    def __init__(self, script: Callable[[ChatRequest], str], name: str = "scripted") -> None:
        self._script = script
        self._name = name
        self.num_calls = 0

    @property
    @override
    def model(self) -> str:
        return self._name

    @override
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        del role
        for position, request in enumerate(requests):
            self.num_calls += 1
            text = self._script(request)
            words = text.split(" ")
            cut = len(words) > request.max_tokens
            usage = Usage(
                calls=1,
                prompt_tokens=sum(len(m.content.split()) for m in request.messages),
                completion_tokens=min(len(words), request.max_tokens),
            )
            kept = " ".join(words[: request.max_tokens]) if cut else text
            yield position, ChatReply(text=kept, finish_reason="length" if cut else "stop", usage=usage)
