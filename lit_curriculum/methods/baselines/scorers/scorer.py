"""A model that is loaded to score and released again, apart from the one in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from lit_curriculum.data.tokenize import Tokenizer
from lit_curriculum.models.loading import ModelSource
from lit_curriculum.utils import hub
from lit_curriculum.utils.options import check_choice

if TYPE_CHECKING:
    from lit_curriculum.models.causal_lm import CausalLMModule

ScorerDtype = Literal["float32", "bfloat16"]
ScorerModel: TypeAlias = "CausalLMModule"
"""A loaded scorer; its class, which imports Lightning, is imported when one is loaded."""


@dataclass(frozen=True)
class Scorer:
    """Source and dtype of a scorer; nothing is loaded before it is needed.

    Args:
        source: Folder, hub id or GGUF file of weights and tokenizer; see
            :func:`~lit_curriculum.utils.hub.resolve_source`.
        dtype: Of the weights and of the arithmetic; losses are taken in fp32 either way.

    Raises:
        ValueError: the dtype is none that is known.
    """

    source: str
    dtype: ScorerDtype = "float32"

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, get_args(ScorerDtype))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The scorer's own tokenizer."""
        return hub.load_tokenizer(self.source)

    def load(self) -> ScorerModel:
        """The model in evaluation mode, on the GPU of this process if there is one."""
        from lit_curriculum.models.causal_lm import CausalLMModule  # imports Lightning

        module = CausalLMModule(source=self.source, dtype=self.dtype)
        module.configure_model()
        return module.eval().to(self.device)

    @property
    def name(self) -> str:
        """The last part of the source, for people to read."""
        return self.source.rstrip("/").rsplit("/", 1)[-1]

    @property
    def context_length(self) -> int | None:
        """Tokens in the scorer's context; none where its configuration does not say."""
        return ModelSource(source=self.source).context_length

    @property
    def device(self) -> torch.device:
        """The current GPU if there is one, else the CPU."""
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
