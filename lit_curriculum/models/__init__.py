"""Language models as Lightning modules."""

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.lora import LoRA
from lit_curriculum.models.token_nll import nll_of_logits

__all__ = ["CausalLMModule", "LoRA", "nll_of_logits"]
