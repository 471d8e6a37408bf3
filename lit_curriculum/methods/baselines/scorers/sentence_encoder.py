"""A frozen Hugging Face sentence encoder for the features of a learned scorer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from lit_curriculum.methods.campus.scorer.features import TextEncoder
from lit_curriculum.utils.hub import progress_if_interactive
from lit_curriculum.utils.options import check_range

_BATCH = 32


class SentenceEncoder(TextEncoder):
    """Mean of the last hidden states over a text's tokens, of length one; on the CPU, in float32.

    The pooling of sentence-transformers' all-MiniLM-L6-v2. Weights are read when the first text comes.

    Args:
        source: Folder or hub id of the encoder.
        max_tokens: Tokens at most of a text; what is longer is cut.

    Raises:
        ValueError: ``max_tokens`` is below 1.
    """

    def __init__(self, source: str, max_tokens: int = 256) -> None:
        check_range(self, "[1, inf)", max_tokens=max_tokens)
        self.source, self.max_tokens = source, max_tokens
        self._loaded: tuple[Any, Any] | None = None

    @property
    @override
    def name(self) -> str:
        # The folder's name alone: a run may be resumed where the folder is elsewhere.
        return f"{self.source.rstrip('/').rsplit('/', 1)[-1]}-{self.max_tokens}"

    @override
    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        tokenizer, model = self._load()
        found = []
        for start in range(0, len(texts), _BATCH):
            part = list(texts[start : start + _BATCH])
            batch = tokenizer(part, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
            hidden = model(**batch).last_hidden_state
            weights = batch["attention_mask"][..., None].to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
            found.append(torch.nn.functional.normalize(pooled, dim=1))
        return torch.cat(found)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            with progress_if_interactive():
                tokenizer = AutoTokenizer.from_pretrained(self.source)
                model = AutoModel.from_pretrained(self.source, dtype=torch.float32)
            self._loaded = tokenizer, model.eval().requires_grad_(False)
        return self._loaded
