"""A cache of generated answers on disk, so that a killed evaluation resumes where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lit_curriculum.difficulty.runner import TokenIds
from lit_curriculum.utils.jsonl_log import JsonlLog


class GenerationCache:
    """Answers by model, prompt and options of generation, in a :class:`~lit_curriculum.utils.jsonl_log.JsonlLog`.

    Args:
        path: The file; it and its folder are made where they do not exist.
        model: Fingerprint of the weights.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self._log: JsonlLog[str, list[int]] = JsonlLog(path, lambda row: (row["key"], row["tokens"]), "answer")

    def answer(
        self, prompts: Sequence[TokenIds], options: str, ask: Callable[[list[TokenIds]], list[TokenIds]]
    ) -> list[TokenIds]:
        """An answer to each prompt; only what is not in the file is asked, and it is there when this returns.

        Args:
            prompts: Token ids; an answer may not depend on what else is asked.
            options: All that the answers depend on besides model and prompt.
            ask: Makes an answer for each prompt.
        """
        keys, known = [self._key(prompt, options) for prompt in prompts], self._log.entries
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        found = ask(list(missing.values())) if missing else []
        self._log.append([{"key": k, "tokens": t.tolist()} for k, t in zip(missing, found, strict=True)])
        return [np.array(known[key], dtype=np.int32) for key in keys]

    def _key(self, prompt: TokenIds, options: str) -> str:
        said = f"{self.model} {options} ".encode() + np.ascontiguousarray(prompt, dtype=np.int32).tobytes()
        return hashlib.blake2b(said, digest_size=16).hexdigest()
