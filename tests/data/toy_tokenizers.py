"""Tokenizers made in code, small enough to write their ids by hand."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHATML_WITH_DEFAULT_SYSTEM = (
    "{% for m in messages %}"
    "{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Like those of Qwen and SmolLM2: the first turn of a conversation without a system turn gets one."""
TRIMMING = (
    "{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + ']' + (m['content'] | trim) + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
"""Like those of Llama 3: contents lose the blanks around them."""
ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""Like that of Llama 2: refuses to begin with the assistant, and its header of a response is a blank."""
TWO_CLOSINGS = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|eos|>' }}{% endif %}"
)
"""Like that of Phi 3: the last turn is closed by one token more than the others."""


def byte_level(merges: Sequence[tuple[str, str]] = (), specials: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE: id = byte for the 256 bytes, then the merges in order, then the special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {b: chr(b) for b in printable}
    names |= {b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in names)}
    vocab = {names[b]: b for b in range(256)}
    for first, second in merges:
        vocab[first + second] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def trimming_byte_level() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose offsets leave out blanks, as GPT-2's do."""
    tokenizer = byte_level(merges=[("Ġ", "h")])
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def metaspace() -> PreTrainedTokenizerFast:
    """Unigram with the mark of a blank before words, as SentencePiece has it; begins every text with ``<s>``."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -3.0), ("▁hi", -2.0), ("▁you", -2.0), ("hi", -4.0)]
    pieces += [(c, -9.0) for c in "abcdefghijklmnopqrstuvwxyz#[]/\n"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
