"""Low-rank adaptation: train two thin matrices beside each linear layer and leave the layer as it is."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from lit_curriculum.utils.options import check_range

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA:
    """Options of low-rank adaptation.

    References:
        Hu et al. 2021, arXiv 2106.09685, section 4.1.
    """

    rank: int = 16
    """Inner width of the two added matrices (r)."""
    alpha: float = 32.0
    """The update is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability that an input of the added matrices is zeroed in training."""
    target_modules: list[str] | None = None
    """Ends of the names of the layers to adapt, such as q_proj; all linear layers but the output head if left out."""
    last_blocks: int | None = None
    """Adapt only so many of the last transformer blocks; gradients then stop below them, which makes a step cheaper."""

    def __post_init__(self) -> None:
        check_range("model.lora", "[1, inf)", rank=self.rank, last_blocks=self.last_blocks)
        check_range("model.lora", "(0, inf)", alpha=self.alpha)
        check_range("model.lora", "[0, 1)", dropout=self.dropout)
        if self.target_modules is not None and not self.target_modules:
            raise ValueError("model.lora.target_modules is an empty list; leave it out to adapt all linear layers.")


def add_lora(model: PreTrainedModel, lora: LoRA) -> nn.Module:
    """``model`` wrapped so that only the added matrices are trained; it starts out computing what ``model`` does.

    Raises:
        ValueError: peft is not installed, a name in ``target_modules`` fits no layer, or the model has fewer blocks
            than ``last_blocks``.
    """
    if importlib.util.find_spec("peft") is None:
        raise ValueError("model.lora needs the package peft: pip install 'lit-curriculum[lora]'")
    import peft

    names = [name for name, module in model.named_modules() if not list(module.children())]
    for target in lora.target_modules or ():
        if not any(name == target or name.endswith(f".{target}") for name in names):
            known = sorted({name.rsplit(".", 1)[-1] for name in names})
            raise ValueError(f"model.lora.target_modules: no layer is called {target}; the model's layers are {known}.")
    blocks = None
    if lora.last_blocks is not None:
        num_blocks = int(model.config.get_text_config().num_hidden_layers)
        if lora.last_blocks > num_blocks:
            raise ValueError(f"model.lora.last_blocks is {lora.last_blocks}, but the model has {num_blocks} blocks.")
        blocks = list(range(num_blocks - lora.last_blocks, num_blocks))
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # annotated as an integer, used as a number
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules or ("all-linear" if blocks is None else _linear_names(model)),
        layers_to_transform=blocks,
        task_type=peft.TaskType.CAUSAL_LM,
    )
    wrapped: nn.Module = peft.get_peft_model(model, config)
    return wrapped


def _linear_names(model: PreTrainedModel) -> list[str]:
    """Last parts of the names of all linear layers within blocks, which are those that have a number in their name."""
    from transformers.pytorch_utils import Conv1D

    linear = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    return sorted({name.rsplit(".", 1)[-1] for name in linear if any(part.isdigit() for part in name.split("."))})


def trained_names(module: nn.Module) -> set[str]:
    """Names of the weights that are trained: with LoRA those of the adapter."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def check_adapter(module: nn.Module, state: Collection[str]) -> None:
    """Refuse the weights of a checkpoint that are not those of the module's adapter.

    Raises:
        ValueError: a weight is missing or too many.
    """
    trained = trained_names(module)
    if trained != set(state):
        raise ValueError(
            f"the checkpoint holds {len(state)} weights that do not match the adapter of model.lora "
            f"({len(trained)} weights); resume with the model options that the run was started with."
        )
