"""The tokenizer of the embedded default: a token a character, nothing lost, both views render."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lit_curriculum.data.encode import EncodeOptions, Encoder
from lit_curriculum.data.template import resolve_template
from lit_curriculum.data.tiny_tokenizer import CHARACTERS, SPECIAL_TOKENS, TINY_VOCAB_SIZE, build_tiny_tokenizer
from lit_curriculum.types import Message

CONVERSATION = (Message(role="user", content="copy ab"), Message(role="assistant", content=" a  b\n"))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tiny_tokenizer()


def test_vocabulary_is_what_the_model_config_states(tokenizer: PreTrainedTokenizerFast) -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "configs" / "model" / "tiny.yaml").read_text())
    options = config["model"]["config"]
    assert len(tokenizer) == TINY_VOCAB_SIZE == options["vocab_size"] == 102
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(6))
    assert [options[f"{name}_token_id"] for name in ("pad", "bos", "eos")] == [
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    ]


@pytest.mark.parametrize(
    "text", ["", " ", "  a  b\n\n c. ", "3+5 = 8!", "(k[q]){", CHARACTERS, string.ascii_letters, "can 't , do n't"]
)
def test_text_round_trips_with_exact_offsets(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.decode(encoded["input_ids"]) == text
    assert encoded["offset_mapping"] == [(i, i + 1) for i in range(len(text))]
    assert encoded["input_ids"] == tokenizer.convert_tokens_to_ids(list(text))


def test_other_characters_are_unknown_one_by_one(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("aé😀\tb")["input_ids"]
    assert ids == [tokenizer.convert_tokens_to_ids(t) for t in ("a", "<unk>", "<unk>", "<unk>", "b")]


def test_template(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": m.role, "content": m.content} for m in CONVERSATION]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "<s><user>copy ab<assistant> a  b\n</s>"
    assert tokenizer.apply_chat_template(turns[1:], tokenize=False) == "<s><assistant> a  b\n</s>"
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<s><user>copy ab<assistant>"
    system = [{"role": "system", "content": "Be brief."}, *turns]
    assert tokenizer.apply_chat_template(system, tokenize=False).startswith("<s>Be brief.<user>copy ab<assistant>")


def test_both_views_score_the_response_and_the_end_of_the_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(resolve_template(tokenizer), EncodeOptions(max_length=64))
    example = encoder.encode([CONVERSATION])[0]
    for view, num_prompt in ((example.conditioned, 1 + 1 + len("copy ab") + 1), (example.unconditioned, 2)):
        assert view.scored.tolist() == [False] * num_prompt + [True] * (len(" a  b\n") + 1)
        assert tokenizer.decode(view.input_ids[view.scored]) == " a  b\n</s>"
    assert example.num_lost == 0


def test_saved_and_loaded_it_is_the_same(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "<s><user>  add 34+5\n<assistant>39</s>"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded.pad_token_id == 0
