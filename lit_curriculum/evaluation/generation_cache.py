"""Generated answers on disk as they come, so that an evaluation that was killed goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lit_curriculum.difficulty.runner import TokenIds
from lit_curriculum.utils.jsonl_log import AppendOnlyFile


class KeptAnswers:
    """A file of answers, a JSON line each, known by model, prompt and the options of generation.

    A line that a crash cut off is reported, and its prompt asked again.

    Args:
        path: The file; it and its folder are made where they do not exist.
        model: Fingerprint of the weights.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self._known: dict[str, list[int]] = {}
        self._file = AppendOnlyFile(path, self._take, "answer")
        self._file.refresh()

    def answer(
        self, prompts: Sequence[TokenIds], options: str, ask: Callable[[list[TokenIds]], list[TokenIds]]
    ) -> list[TokenIds]:
        """An answer to each prompt; only what is not in the file is asked, and it is there when this returns.

        Args:
            prompts: Token ids; an answer may not depend on what else is asked.
            options: All that the answers depend on besides model and prompt.
            ask: Makes an answer for each prompt.
        """
        keys = [self._key(prompt, options) for prompt in prompts]
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._known}
        found = ask(list(missing.values())) if missing else []
        self._file.append([{"key": k, "tokens": t.tolist()} for k, t in zip(missing, found, strict=True)])
        return [np.array(self._known[key], dtype=np.int32) for key in keys]

    def _take(self, entry: dict[str, Any]) -> None:
        self._known[entry["key"]] = entry["tokens"]

    def _key(self, prompt: TokenIds, options: str) -> str:
        said = f"{self.model} {options} ".encode() + np.ascontiguousarray(prompt, dtype=np.int32).tobytes()
        return hashlib.blake2b(said, digest_size=16).hexdigest()
