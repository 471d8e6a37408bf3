"""Language models as Lightning modules."""

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.lora import LoRA

__all__ = ["CausalLMModule", "LoRA"]
