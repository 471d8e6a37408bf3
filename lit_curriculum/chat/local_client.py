"""A chat client in the same process, over a Hugging Face causal language model with a chat template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, ChatRequest, Usage
from lit_curriculum.models.generation import Decoding, generate_tokens
from lit_curriculum.models.loading import load_model
from lit_curriculum.utils.hub import load_tokenizer
from lit_curriculum.utils.options import check_choice, check_range

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalClient(ChatClient):
    """Answers with a local model, in batches; the model is loaded at the first question.

    An answer does not depend on what it is batched with, so a repeated run gives the same texts.

    Args:
        source: Folder, hub id or GGUF file, as in ``model.source``.
        device: Where the model runs.
        dtype: Of its weights: ``float32``, ``bfloat16`` or ``float16``.
        batch_size: Requests answered together at most.

    Raises:
        ValueError: an option is out of range; at the first question, the source cannot be read or has no chat
            template.
    """

    def __init__(self, source: str, device: str = "cpu", dtype: str = "float32", batch_size: int = 32) -> None:
        check_choice("client.dtype", dtype, ("float32", "bfloat16", "float16"))
        check_range("client", "[1, inf)", batch_size=batch_size)
        self.source = source
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    @property
    @override
    def model(self) -> str:
        return f"{self.source} ({self.dtype})"

    @override
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        del role
        coming = enumerate(requests)
        while batch := list(islice(coming, self.batch_size)):
            groups: dict[tuple[float, int, int], list[tuple[int, ChatRequest]]] = {}
            for position, request in batch:
                groups.setdefault((request.temperature, request.max_tokens, request.seed), []).append(
                    (position, request)
                )
            for options, members in groups.items():
                yield from self._answer(members, *options)

    def _answer(
        self, members: list[tuple[int, ChatRequest]], temperature: float, max_tokens: int, seed: int
    ) -> Iterator[tuple[int, ChatReply]]:
        model, tokenizer = self.load()
        limit: int | None = getattr(model.config, "max_position_embeddings", None)
        positions: list[int] = []
        prompts: list[np.ndarray[Any, np.dtype[np.int32]]] = []
        for position, request in members:
            turns = [{"role": m.role, "content": m.content} for m in request.messages]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)
            if limit is not None and len(ids) >= limit:
                why = f"the prompt has {len(ids)} tokens and the model's context {limit}"
                yield position, ChatReply(text=why, finish_reason="error")
                continue
            positions.append(position)
            prompts.append(ids)
        if not prompts:
            return
        decoding = Decoding(
            max_new_tokens=max_tokens,
            end_ids=_end_ids(model, tokenizer),
            temperature=temperature,
            seed=seed,
            context_length=limit,
        )
        for position, prompt, ids in zip(positions, prompts, generate_tokens(model, prompts, decoding), strict=True):
            room = max_tokens if limit is None else min(max_tokens, limit - len(prompt))
            yield (
                position,
                ChatReply(
                    text=str(tokenizer.decode(ids, skip_special_tokens=True)).strip(),
                    finish_reason="length" if len(ids) >= room else "stop",
                    usage=Usage(calls=1, prompt_tokens=len(prompt), completion_tokens=len(ids)),
                ),
            )

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Model and tokenizer, read at the first call.

        Raises:
            ValueError: the source cannot be read or has no chat template.
        """
        if self._loaded is None:
            tokenizer = load_tokenizer(self.source)
            if tokenizer.chat_template is None:
                raise ValueError(f"client.source: {self.source} has no chat template, so it cannot be asked as a chat.")
            model = load_model(
                self.source,
                revision=None,
                dtype=getattr(torch, self.dtype),
                attention=None,
                trust_remote_code=False,
            )
            model.to(self.device).eval()  # type: ignore[arg-type]
            self._loaded = (model, tokenizer)
        return self._loaded


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    found: Any = [tokenizer.eos_token_id]
    configured = getattr(model.generation_config, "eos_token_id", None)
    found += configured if isinstance(configured, list) else [configured]
    return {int(i) for i in found if i is not None}
