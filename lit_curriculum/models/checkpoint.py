"""The description of the model in a checkpoint, so that it can be opened without the configuration of its run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from lit_curriculum.models.execution.token_nll import causal_lm

if TYPE_CHECKING:
    from pathlib import Path

    from lit_curriculum.models.causal_lm import CausalLMModule

_KEY = "causal_lm"
_VERSION = 1


def describe(module: CausalLMModule, chat_template: str | None) -> dict[str, dict[str, Any]]:
    """The entry of a checkpoint, under its key; plain values only.

    Args:
        module: With its model built.
        chat_template: The one in use, which the tokenizer's own folder need not hold.
    """
    assert module.model is not None, "configure_model has not been called"
    # All weights and their configuration suffice; for an adapter, or a model with custom code, they do not.
    needs_source = module.source is not None and (module.lora is not None or module.trust_remote_code)
    entry = {
        "version": _VERSION,
        "source": module.source,
        "config": None if needs_source else module.hf_config.to_dict(),
        "generation_config": causal_lm(module.model).generation_config.to_dict(),
        "tokenizer": module.tokenizer_source,
        "chat_template": chat_template,
        "revision": module.revision,
        "dtype": module.dtype_name,
        "trust_remote_code": module.trust_remote_code,
        "lora": None if module.lora is None else asdict(module.lora),
        "init_seed": module.init_seed,
    }
    return {_KEY: entry}


def read(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole of a checkpoint, and of it what :func:`describe` wrote; only tensors and plain values are unpickled.

    Raises:
        ValueError: the file is missing, or it was not written by a run of ``CausalLMModule``.
    """
    if not checkpoint.is_file():
        raise ValueError(f"there is no checkpoint file {checkpoint}.")
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    entry = state.get(_KEY)
    if entry is None:
        raise ValueError(f"{checkpoint} was not written by CausalLMModule, so it does not say which model it holds.")
    if entry["version"] != _VERSION:
        raise ValueError(f"{checkpoint} describes its model in version {entry['version']}; expected {_VERSION}.")
    return state, entry
