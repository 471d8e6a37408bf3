"""A chat client for every server that speaks the OpenAI chat protocol: vLLM, llama.cpp, transformers serve ..."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, ChatRequest, ChatStoppedError, FinishReason, Usage
from lit_curriculum.utils.options import check_range

if TYPE_CHECKING:
    from openai import OpenAI

_GIVE_UP_AT_ONCE = (401, 403, 404)
"""Wrong key or wrong address: no other request would fare better."""


class _NoAnswerError(Exception):
    def __init__(self, why: str, retries: int) -> None:
        super().__init__(why)
        self.retries = retries


class OpenAIClient(ChatClient):
    """Asks a server over HTTP, several requests at a time.

    A request is tried again, with growing pauses, after a 429, a 5xx, a timeout, a broken connection or an answer
    that is no chat completion. When attempts run out no further request is sent, those under way are still taken,
    and then the run stops. A request that the server refuses for what it says (400, 422) is set aside alone, with
    ``finish_reason`` ``error``.

    Args:
        model: Name under which the server knows the model.
        base_url: Address up to and with ``/v1``.
        api_key_env: Environment variable that holds the key, or none for a server that asks for none. The key itself
            is kept in no option, file or log.
        concurrency: Requests under way at a time.
        max_attempts: Attempts at one request.
        timeout: Seconds that one attempt may take.
        pause: Seconds before the second attempt; doubled for each further one, and 60 at most.
        requests_per_minute: Requests begun in a minute at most, or none for no limit.
        send_seed: Send the seed; off for servers that refuse it.

    Raises:
        ValueError: an option is out of range, or the environment variable is not set.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key_env: str | None = None,
        concurrency: int = 8,
        max_attempts: int = 5,
        timeout: float = 120.0,
        pause: float = 1.0,
        requests_per_minute: float | None = None,
        send_seed: bool = True,
    ) -> None:
        check_range("client", "[1, inf)", concurrency=concurrency, max_attempts=max_attempts)
        check_range("client", "(0, inf)", timeout=timeout, requests_per_minute=requests_per_minute)
        check_range("client", "[0, inf)", pause=pause)
        if api_key_env is not None and not os.environ.get(api_key_env):
            raise ValueError(
                f"client.api_key_env: the environment variable {api_key_env} is not set; export the server's key in "
                f"it, or give null for a server without keys."
            )
        self._model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.max_attempts = max_attempts
        self.timeout = timeout
        self.pause = pause
        self.send_seed = send_seed
        self._interval = 60.0 / requests_per_minute if requests_per_minute is not None else 0.0
        self._next_start = 0.0
        self._lock = threading.Lock()

    @property
    @override
    def model(self) -> str:
        return self._model

    @override
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        del role
        coming = enumerate(requests)
        under_way: dict[Future[ChatReply], int] = {}
        failures: list[_NoAnswerError] = []
        num_received = 0
        with self._connect() as server, ThreadPoolExecutor(self.concurrency) as pool:
            while True:
                while not failures and len(under_way) < self.concurrency:
                    following = next(coming, None)
                    if following is None:
                        break
                    under_way[pool.submit(self._ask, server, following[1])] = following[0]
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    position = under_way.pop(future)
                    error = future.exception()
                    if error is None:
                        num_received += 1
                        yield position, future.result()
                    elif isinstance(error, _NoAnswerError):
                        failures.append(error)
                    else:
                        raise error
        if failures:
            raise ChatStoppedError(
                f"the server at {self.base_url} gave no answer to {len(failures)} request(s), the last time because "
                f"of {failures[-1]}; the answers received are kept ({num_received} of this batch), so repair the "
                f"server and run again to resume.",
                failures=len(failures),
                retries=sum(f.retries for f in failures),
            )

    def _connect(self) -> OpenAI:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ValueError(
                "a chat server needs the package openai: pip install 'lit-curriculum[distill]'."
            ) from error
        key = os.environ[self.api_key_env] if self.api_key_env is not None else "none"
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=0)

    def _ask(self, server: OpenAI, request: ChatRequest) -> ChatReply:
        """One request with all its attempts."""
        import openai

        messages: Any = [{"role": m.role, "content": m.content} for m in request.messages]
        why = ""
        for attempt in range(self.max_attempts):
            pause = min(60.0, self.pause * 2 ** (attempt - 1)) if attempt else 0.0
            try:
                self._wait_for_turn(pause)
                raw = server.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=messages,
                    temperature=request.temperature,
                    max_tokens=request.max_tokens,
                    seed=request.seed if self.send_seed else openai.omit,
                )
                return _read_completion(raw.text, attempt)
            except openai.APIStatusError as error:
                why = f"HTTP status {error.status_code}"
                if error.status_code in _GIVE_UP_AT_ONCE:
                    raise _NoAnswerError(why, attempt) from error
                if error.status_code < 500 and error.status_code not in (408, 409, 429):
                    return ChatReply(text=why, finish_reason="error", retries=attempt)
                self._respect(error.response.headers.get("retry-after"))
            except openai.APITimeoutError:
                why = f"no answer within {self.timeout:g} seconds"
            except openai.APIConnectionError:
                why = "a broken connection"
            except (ValueError, KeyError, IndexError, TypeError):
                why = "an answer that is no chat completion"
        raise _NoAnswerError(f"{why} ({self.max_attempts} attempts)", self.max_attempts - 1)

    def _wait_for_turn(self, pause: float) -> None:
        with self._lock:
            start = max(self._next_start, time.monotonic())
            self._next_start = start + self._interval
        time.sleep(max(pause, start - time.monotonic(), 0.0))

    def _respect(self, retry_after: str | None) -> None:
        """Let all threads wait as long as the server asks for."""
        try:
            seconds = float(retry_after) if retry_after is not None else 0.0
        except ValueError:
            return
        with self._lock:
            self._next_start = max(self._next_start, time.monotonic() + min(seconds, 60.0))


def _read_completion(text: str, retries: int) -> ChatReply:
    content = json.loads(text)
    choice = content["choices"][0]
    answer = choice["message"]["content"]
    if not isinstance(answer, str):
        raise TypeError("the message holds no text")
    usage = content.get("usage") or {}
    reason: FinishReason = "length" if choice.get("finish_reason") == "length" else "stop"
    return ChatReply(
        text=answer,
        finish_reason=reason,
        usage=Usage(
            calls=1,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            retries=retries,
        ),
        retries=retries,
    )
