"""What lets a module with a Hugging Face model answer prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from lit_curriculum.models.generation import Decoding, TokenIds, generate_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION = [{"role": "user", "content": "x"}]
_REPLY = "rEpLy"


class GenerativeMixin:
    """Adds :meth:`generate` of :class:`~lit_curriculum.types.GenerativeModel` to a module that holds ``model``."""

    model: nn.Module | None

    def generate(
        self, prompts: Sequence[TokenIds], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[TokenIds]:
        """The new tokens of each prompt [L], without the prompt and without the end token.

        An answer ends with an end token of the model, with what closes an assistant's turn in the chat template of
        the data in use, or where the context does.

        Args:
            prompts: Token ids of each prompt, ending where the answer starts.
            max_new_tokens: Tokens at most of one answer.
            temperature: 0 takes the most likely token each time; above, answers are drawn.
            seed: What the draw of an answer depends on, beside its prompt: not on batch, order or rank.

        Raises:
            ValueError: a prompt is empty or fills the context, or an option is out of range.
        """
        assert self.model is not None, "configure_model has not been called"
        decoding = Decoding(
            max_new_tokens=max_new_tokens,
            end_ids=end_ids(self.model, self._data_tokenizer()),
            temperature=temperature,
            seed=seed,
            context_length=getattr(self, "context_length", None),
        )
        return generate_tokens(self.model, prompts, decoding)

    def _data_tokenizer(self) -> Any:
        return None


def end_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None) -> frozenset[int]:
    """Tokens that end an answer: those of the model's configurations, the tokenizer's own, and its turn's end.

    Args:
        model: A Hugging Face causal language model, or one wrapped for LoRA.
        tokenizer: With the chat template in use; none where it is not known.
    """
    found: set[int] = set()
    for config in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        value = getattr(config, "eos_token_id", None)
        found |= set(value) if isinstance(value, (list, tuple)) else set() if value is None else {int(value)}
    if tokenizer is not None:
        if tokenizer.eos_token_id is not None:
            found.add(int(tokenizer.eos_token_id))
        found |= _turn_end(tokenizer)
    return frozenset(found)


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The one token that closes an assistant's turn; none where the template closes it with plain text."""
    if not tokenizer.chat_template:
        return set()
    turns = [*_QUESTION, {"role": "assistant", "content": _REPLY}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    closing = text.rpartition(_REPLY)[2].strip()
    ids = tokenizer(closing, add_special_tokens=False)["input_ids"] if closing else []
    return {int(ids[0])} if len(ids) == 1 else set()
