"""A character-level tokenizer made in code, so that the embedded default needs no download."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<user>", "<assistant>")
"""Special tokens; their ids are their positions here."""
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))
"""Characters that are tokens: the newline and printable ASCII; any other becomes ``<unk>``."""
TINY_VOCAB_SIZE = len(SPECIAL_TOKENS) + len(CHARACTERS)
"""Number of tokens, 102; ``vocab_size`` in ``configs/model/tiny.yaml`` is the same number."""
TINY_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message.role == 'user' %}<user>{% elif message.role == 'assistant' %}<assistant>{% endif %}"
    "{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A marker before each user and assistant turn, end of sequence after each assistant turn; none around system text."""


def build_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token a character, exact offsets, and its chat template.

    Nothing is normalised, stripped or added, so text without unknown characters survives encoding and decoding
    unchanged. The template renders a lone assistant turn too: the view without an instruction.
    """
    vocabulary = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
        clean_up_tokenization_spaces=False,
        chat_template=TINY_CHAT_TEMPLATE,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )
