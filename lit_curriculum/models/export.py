"""From a checkpoint of a run to a Hugging Face folder that other programs open."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule

from lit_curriculum.models.causal_lm import KEY, VERSION, CausalLMModule
from lit_curriculum.models.execution.token_nll import causal_lm
from lit_curriculum.models.lora import LoRA
from lit_curriculum.utils.hub import load_tokenizer, progress_if_interactive

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def export(
    checkpoint: Path, out: Path, tokenizer: PreTrainedTokenizerBase | None = None, merge_lora: bool = True
) -> None:
    """Write the model of a Lightning checkpoint as a Hugging Face folder.

    Args:
        checkpoint: File written by a run of :class:`CausalLMModule`.
        out: Folder to write.
        tokenizer: Saved beside the model; by default the model's own. It gets the chat template of the run.
        merge_lora: Add an adapter to the weights it belongs to; otherwise the adapter alone is written.

    Raises:
        ValueError: the checkpoint is no such file, or no tokenizer is known.
    """
    module = load_module(checkpoint)
    if tokenizer is None:
        if module.tokenizer_source is None:
            raise ValueError(f"{checkpoint} does not say where its tokenizer comes from; give one to export.")
        tokenizer = load_tokenizer(
            module.tokenizer_source, revision=module.revision, trust_remote_code=module.trust_remote_code
        )
    template = read_checkpoint(checkpoint)[1]["chat_template"]
    if template is not None:
        tokenizer.chat_template = template
    export_folder(module, tokenizer, out, merge_lora)


def read_checkpoint(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole checkpoint, and what the module wrote of its model; only tensors and plain values are unpickled.

    Raises:
        ValueError: the file is missing, or it was not written by a run of ``CausalLMModule``.
    """
    if not checkpoint.is_file():
        raise ValueError(f"there is no checkpoint file {checkpoint}.")
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    entry = state.get(KEY)
    if entry is None:
        raise ValueError(f"{checkpoint} was not written by CausalLMModule, so it does not say which model it holds.")
    if entry["version"] != VERSION:
        raise ValueError(f"{checkpoint} describes its model in version {entry['version']}; expected {VERSION}.")
    return state, entry


def load_module(checkpoint: Path) -> CausalLMModule:
    """The module that wrote ``checkpoint``, with the weights in it.

    Raises:
        ValueError: the file is missing, was not written by a run of :class:`CausalLMModule`, or holds weights that
            are broken or do not fit.
    """
    from transformers import AutoConfig, GenerationConfig

    state, entry = read_checkpoint(checkpoint)
    # A checkpoint with all weights has a configuration: the weights that training started from are not read again.
    module = CausalLMModule(
        source=entry["source"] if entry["config"] is None else None,
        config=entry["config"],
        tokenizer=entry["tokenizer"],
        revision=entry["revision"],
        dtype=entry["dtype"],
        trust_remote_code=entry["trust_remote_code"],
        lora=None if entry["lora"] is None else LoRA(**entry["lora"]),
        init_seed=entry["init_seed"],
    )
    if entry["config"] is not None:
        # As it was, with options that its class does not declare.
        module.hf_config = AutoConfig.for_model(**entry["config"])
    module.configure_model()
    module.on_load_checkpoint(state)
    try:
        module.load_state_dict(state["state_dict"], strict=module.strict_loading)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint's weights do not fit the model: {str(error).splitlines()[-1]}") from error
    assert module.model is not None
    causal_lm(module.model).generation_config = GenerationConfig.from_dict(entry["generation_config"])
    return module


def export_folder(
    module: CausalLMModule, tokenizer: PreTrainedTokenizerBase, out: Path, merge_lora: bool = True
) -> None:
    """Write model (safetensors), configuration and tokenizer, chat template included, to ``out``.

    Args:
        module: A module whose weights are in place; it is left as it is.
        tokenizer: Saved beside the model.
        out: Folder to write; made where needed.
        merge_lora: Add an adapter to the weights it belongs to; otherwise the adapter alone is written, for peft.

    Raises:
        ValueError: ``out`` is a file.
    """
    assert module.model is not None, "configure_model has not been called"
    if out.exists() and not out.is_dir():
        raise ValueError(f"export: {out} is a file; name a folder.")
    model: Any = module.model
    if module.lora is not None and merge_lora:
        # Merging in place and undoing it would leave rounding errors in the module's weights.
        model = copy.deepcopy(model).merge_and_unload()
    with progress_if_interactive():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)


def export_run(
    module: LightningModule,
    datamodule: LightningDataModule | None,
    run: Path,
    checkpoint: str | None,
    out: Path,
    merge_lora: bool = True,
) -> None:
    """Write the model of a run, whose configured objects are at hand, as a Hugging Face folder.

    Args:
        module: The run's module, its weights not yet read.
        datamodule: The run's data module; asked for the tokenizer where the model does not settle it.
        run: Folder of the run.
        checkpoint: File to export; by default the newest last checkpoint below ``run``, or the newest of all.
        out: Folder to write.
        merge_lora: As for :func:`export_folder`.

    Raises:
        ValueError: the module is not ours, or there is no checkpoint.
    """
    if not isinstance(module, CausalLMModule):
        raise ValueError(f"export writes models of CausalLMModule, but {run} trained a {type(module).__name__}.")
    path = _last_checkpoint(run) if checkpoint is None else Path(checkpoint)
    export(path, out, _tokenizer_of_data(module, datamodule), merge_lora)


def _tokenizer_of_data(
    module: CausalLMModule, datamodule: LightningDataModule | None
) -> PreTrainedTokenizerBase | None:
    """The data module's tokenizer, or none where the model's own was in use."""
    ready: PreTrainedTokenizerBase | None = getattr(datamodule, "tokenizer", None)
    build: Callable[[], PreTrainedTokenizerBase] | None = getattr(datamodule, "build_tokenizer", None)
    own_source: str | None = getattr(datamodule, "tokenizer_source", None)
    if ready is not None or build is None or (own_source is None and module.tokenizer_source is not None):
        return ready
    return build()


def _last_checkpoint(run: Path) -> Path:
    found = sorted(run.rglob("*.ckpt"), key=lambda path: (path.stem.startswith("last"), path.stat().st_mtime))
    if not found:
        raise ValueError(f"there is no checkpoint below {run}; name one with --checkpoint.")
    return found[-1]
