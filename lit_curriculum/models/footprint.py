"""What a model costs, from its configuration alone: parameters, floating-point operations, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from lit_curriculum.models.lora import add_lora
from lit_curriculum.models.optimization import parameter_groups

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from lit_curriculum.models.causal_lm import CausalLMModule

_BYTES = {"float32": 4, "bfloat16": 2}
_PROBE = 64  # numbers in the weight that an optimizer is tried out on


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Sizes of a model, in numbers of parameters where not said otherwise."""

    total: int
    trained: int
    body: int
    """All but embeddings and output head (N of the 6ND rule)."""
    head: int
    """Of the output head, applied to scored positions only; where tied it is the embedding too."""
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    weight_bytes: int
    """Of one number of the weights."""
    moments: float
    """Numbers that the optimizer keeps for each trained one."""
    checkpointing: bool
    """Activations of one layer at a time, made again in the backward pass."""

    def forward_flops(self, tokens: int, scored_tokens: int) -> float:
        """Operations of a forward pass: 2ND, with the head on scored positions alone.

        Attention's products of queries and keys are left out, as is padding.
        """
        return 2.0 * (self.body * tokens + self.head * scored_tokens)

    def training_flops(self, tokens: int, scored_tokens: int) -> float:
        """Operations of forward and backward pass: 6ND, or 4ND where only an adapter is trained.

        Where activations are made again, another 2ND of the body.
        """
        passes = 3.0 if self.trained == self.total else 2.0
        again = self.forward_flops(tokens, 0) if self.checkpointing else 0.0
        return passes * self.forward_flops(tokens, scored_tokens) + again

    def memory(self, rows: int, longest: int, scored: int, chunk: int) -> dict[str, int]:
        """Bytes on one device in a training step, roughly; allocators and kernels want more.

        Activations are counted as eight vectors of the hidden and four of the intermediate size a token and layer.

        Args:
            rows: Rows of the batch on the device.
            longest: Tokens of its longest row.
            scored: Its scored tokens at most.
            chunk: Positions that the output head is applied to at once.
        """
        positions = rows * longest
        of_layer = positions * (8 * self.hidden + 4 * self.intermediate)
        kept = positions * self.hidden * self.layers + of_layer if self.checkpointing else of_layer * self.layers
        return {
            "weights": self.total * self.weight_bytes,
            "gradients": self.trained * self.weight_bytes,
            "optimizer moments": int(self.trained * self.moments * self.weight_bytes),
            "activations": kept * self.weight_bytes,
            # Logits and their gradient, in fp32.
            "logits chunk": 2 * 4 * min(chunk, scored) * self.vocabulary,
        }


def footprint(module: CausalLMModule, precision: str = "32-true") -> Footprint:
    """The sizes of a module that has not been given its weights yet.

    Args:
        module: Its configuration, adapter and optimizer count.
        precision: The Trainer's; ``bf16-true`` and ``16-true`` convert the weights.

    Raises:
        ValueError: transformers has no causal language model of the configuration, or the adapter does not fit.
    """
    model = shape_of(module.hf_config)
    total = sum(p.numel() for p in model.parameters())
    embeddings = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding))
    head = model.get_output_embeddings()  # type: ignore[operator]
    assert isinstance(head, nn.Module)
    weight = next(head.parameters())
    tied = any(weight is m.weight for m in model.modules() if isinstance(m, nn.Embedding))
    body = total - embeddings - (0 if tied else weight.numel())
    text = module.hf_config.get_text_config()
    whole = model if module.lora is None else add_lora(model, module.lora)  # type: ignore[arg-type]
    halved = precision in ("bf16-true", "16-true")
    return Footprint(
        total=sum(p.numel() for p in whole.parameters()),
        trained=sum(p.numel() for p in whole.parameters() if p.requires_grad),
        body=body,
        head=weight.numel(),
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        intermediate=int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size),
        vocabulary=int(text.vocab_size),
        weight_bytes=2 if halved else _BYTES[module.dtype_name],
        moments=optimizer_moments(module),
        checkpointing=module.execution_options.gradient_checkpointing,
    )


def shape_of(config: PretrainedConfig) -> nn.Module:
    """The model of a configuration with weights that have a shape and no memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


def optimizer_moments(module: CausalLMModule) -> float:
    """Numbers that the module's optimizer keeps for each trained one, found by one step on a small weight."""
    weight = nn.Linear(_PROBE, _PROBE, bias=False)
    optimizer = module.optimizer(parameter_groups(weight))
    weight.weight.grad = torch.zeros_like(weight.weight)
    optimizer.step()
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return sum(v.numel() for v in kept if v.numel() > 1) / weight.weight.numel()
