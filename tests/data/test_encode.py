"""Conversations to the tokens of both views, by hand and against renderings written out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from lit_curriculum.data.encode import EncodedExample, EncodeOptions, Encoder, choose_max_length
from lit_curriculum.data.template import ChatTemplate, resolve_template
from lit_curriculum.types import EncodedView, Message
from tests.data.toy_conversations import talk
from tests.data.toy_tokenizers import ALTERNATING, CHATML_WITH_DEFAULT_SYSTEM, TRIMMING, byte_level, metaspace

SPECIALS = ["<|im_start|>", "<|im_end|>"]  # ids 256 and 257 of the byte-level tokenizer


def encoder(text: str, tokenizer: PreTrainedTokenizerFast | None = None, **options: Any) -> Encoder:
    template = ChatTemplate(tokenizer or byte_level(specials=SPECIALS), "toy", text)
    return Encoder(template, EncodeOptions(**{"max_length": 1000, **options}))


def plain(**options: Any) -> Encoder:
    return Encoder(resolve_template(byte_level(), "plain"), EncodeOptions(**{"max_length": 1000, **options}))


def marked(view: EncodedView) -> str:
    """The view's text in upper case where it is scored; every token of the byte-level tokenizer is a byte."""
    names = {256: "<", 257: ">"}
    characters = [names.get(i) or chr(i) for i in view.input_ids.tolist()]
    return "".join(c.upper() if s else c.lower() for c, s in zip(characters, view.scored, strict=True))


def both(out: EncodedExample) -> tuple[str, str]:
    return marked(out.conditioned), marked(out.unconditioned)


def encode(which: Encoder, *messages: Message) -> EncodedExample:
    return which.encode([messages])[0]


def test_plain_ids_by_hand() -> None:
    out = encode(plain(), *talk("u:Q", "a:AB"))
    assert out.conditioned.input_ids.tolist() == [81, 10, 65, 66]
    assert out.conditioned.scored.tolist() == [False, False, True, True]
    # Nothing precedes the first token of the response alone, so it cannot be scored.
    assert out.unconditioned.input_ids.tolist() == [65, 66]
    assert out.unconditioned.scored.tolist() == [False, True]
    assert (out.num_tokens, out.num_lost) == (4, 0)
    assert out.conditioned.input_ids.dtype == np.int32


def test_chatml_ids_by_hand() -> None:
    text = "{% for m in messages %}{{ '<|im_start|>' + m['role'][0] + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    out = encode(encoder(text), *talk("u:Q", "a:A"))
    assert out.conditioned.input_ids.tolist() == [256, 117, 81, 257, 10, 256, 97, 65, 257, 10]
    assert out.conditioned.scored.astype(int).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert out.unconditioned.input_ids.tolist() == [256, 97, 65, 257, 10]
    assert out.unconditioned.scored.astype(int).tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(("turn_end", "shown"), [("scored", "AB>\n"), ("excluded", "AB>\n"), ("whole_suffix", "AB>\n")])
def test_turn_end(turn_end: str, shown: str) -> None:
    out = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM, turn_end=turn_end), *talk("u:q", "a:ab", "u:r", "a:c"))
    scored = {"scored": 3, "excluded": 2, "whole_suffix": 4}[turn_end]
    first = shown[:scored] + shown[scored:].lower()
    last = first.replace("AB", "C")
    head = "<system\nbe kind>\n"
    assert both(out) == (
        f"{head}<user\nq>\n<assistant\n{first}<user\nr>\n<assistant\n{last}",
        f"{head}<assistant\n{first}<assistant\n{last}",
    )


def test_system_and_user_turns_are_left_out_of_the_unconditioned_view() -> None:
    out = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM), *talk("s:obey", "u:q", "a:ab"))
    assert both(out) == ("<system\nobey>\n<user\nq>\n<assistant\nAB>\n", "<system\nbe kind>\n<assistant\nAB>\n")


def test_trimmed_response_is_scored_as_shown() -> None:
    tokenizer = byte_level(specials=["</s>"])
    tokenizer.bos_token = "!"
    out = encode(encoder(TRIMMING, tokenizer), *talk("u: q ", "a:  ab \n"))
    assert tokenizer.decode(out.conditioned.input_ids[out.conditioned.scored]) == "ab</s>"
    assert tokenizer.decode(out.unconditioned.input_ids) == "![assistant]ab</s>"


def test_a_template_that_refuses_to_begin_with_the_assistant_names_the_way_out() -> None:
    tokenizer = byte_level(specials=["</s>"])
    tokenizer.bos_token, tokenizer.eos_token = "!", "</s>"
    message = r"^f:1: the view without the user's turns.* toy \(Roles must alternate\); set data\.unconditioned: header"
    with pytest.raises(ValueError, match=message):
        encoder(ALTERNATING, tokenizer).encode([talk("u:q", "a:ab")], ["f:1"])
    out = encode(encoder(ALTERNATING, tokenizer, unconditioned="header"), *talk("u:q", "a:ab", "u:r", "a:c"))
    assert tokenizer.decode(out.unconditioned.input_ids) == "! ab </s>! c </s>"
    assert tokenizer.decode(out.unconditioned.input_ids[out.unconditioned.scored]) == "ab </s>c </s>"
    assert out.unconditioned.scored.sum() == out.conditioned.scored.sum()


@pytest.mark.parametrize("turn_end", ["scored", "excluded"])
def test_header_and_bare(turn_end: str) -> None:
    messages = talk("u:q", "a:ab", "u:r", "a:c")
    first, last = ("AB>\n", "C>") if turn_end == "scored" else ("AB>\n".replace(">", ">"), "C")
    header = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM, unconditioned="header", turn_end=turn_end), *messages)
    assert header.unconditioned.scored.sum() == header.conditioned.scored.sum()
    assert marked(header.unconditioned) == f"<assistant\n{first}<assistant\n{last}"
    bare = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM, unconditioned="bare", turn_end=turn_end), *messages)
    assert marked(bare.unconditioned) == f"aB>\n{last}"
    assert bare.unconditioned.scored.sum() == bare.conditioned.scored.sum() - 1


def test_split_is_each_piece_apart() -> None:
    tokenizer = metaspace()
    template = resolve_template(tokenizer, "plain")
    whole, split = (Encoder(template, EncodeOptions(max_length=99, boundary=b)) for b in ("whole", "split"))
    messages = talk("u:hi", "a:hi you")
    # "▁hi \n hi ▁you" in one piece; apart, the response begins with "▁hi".
    assert encode(whole, *messages).conditioned.input_ids.tolist() == [4, 37, 6, 5]
    assert encode(split, *messages).conditioned.input_ids.tolist() == [4, 37, 4, 5]
    assert encode(split, *messages).conditioned.scored.tolist() == [False, False, True, True]
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("hi\n", "hi you")]
    assert encode(split, *messages).conditioned.input_ids.tolist() == ids[0] + ids[1]


def _reference_cut(whole: EncodedExample, limit: int) -> tuple[int, int]:
    """Scored tokens of both views if the conditioned one is cut, counted token by token (nothing at position 0)."""
    left = sum(1 for n, s in enumerate(whole.conditioned.scored) if s and n < limit)
    kept = 0
    for scored in whole.unconditioned.scored:
        kept += bool(scored and kept < left)
    return left, kept


@pytest.mark.parametrize("limit", range(20, 90))
def test_truncation_takes_the_same_tokens_from_both_views(limit: int) -> None:
    messages = talk("u:question", "a:abc", "u:r", "a:de")
    whole = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM), *messages)
    out = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM, max_length=limit), *messages)
    for view, full in ((out.conditioned, whole.conditioned), (out.unconditioned, whole.unconditioned)):
        length = len(view.input_ids)
        assert length <= limit
        assert view.input_ids.tolist() == full.input_ids[:length].tolist()
        assert view.scored.tolist() == full.scored[:length].tolist()
    counts = (int(out.conditioned.scored.sum()), int(out.unconditioned.scored.sum()))
    assert counts == _reference_cut(whole, limit)
    assert out.num_lost == 7 - counts[0]
    assert out.num_tokens == len(whole.conditioned.input_ids)


def test_only_blanks_behind_the_last_scored_token_lose_nothing() -> None:
    which = encoder(CHATML_WITH_DEFAULT_SYSTEM)
    length = len(encode(which, *talk("u:q", "a:ab")).conditioned.input_ids)
    out = encode(encoder(CHATML_WITH_DEFAULT_SYSTEM, max_length=length - 1), *talk("u:q", "a:ab"))
    assert out.num_lost == 0
    assert marked(out.conditioned).endswith("AB>")


def test_a_longer_unconditioned_view_cuts_both() -> None:
    # An empty system turn of one's own is shorter than the default one of the view without it.
    messages = talk("s:", "u:q", "a:abcdefgh")
    conditioned, unconditioned = (len(v.input_ids) for v in encode(encoder(CHATML_WITH_DEFAULT_SYSTEM), *messages)[:2])
    text = CHATML_WITH_DEFAULT_SYSTEM.replace("Be kind", "Be very kind and answer at length")
    out = encode(encoder(text, max_length=50), *messages)
    assert conditioned <= 50
    assert unconditioned <= 50
    assert len(out.unconditioned.input_ids) <= 50
    assert out.conditioned.scored.sum() == out.unconditioned.scored.sum() < 9
    assert out.num_lost == 9 - out.conditioned.scored.sum()


def test_bare_truncated_keeps_the_same_response_tokens() -> None:
    out = encode(plain(max_length=5), *talk("u:qq", "a:abcdef"))
    assert both(out) == ("qq\nAB", "aB")
    assert out.num_lost == 4
    nothing = encode(plain(max_length=3), *talk("u:qq", "a:abcdef"))
    assert (len(nothing.conditioned.input_ids), len(nothing.unconditioned.input_ids), nothing.num_lost) == (0, 0, 6)


def test_a_batch_equals_one_at_a_time() -> None:
    which = encoder(CHATML_WITH_DEFAULT_SYSTEM, max_length=60)
    conversations = [
        talk("u:" + "q" * n, "a:" + "ab" * (n + 1), *(("u:r", "a:é\n") if n % 2 else ())) for n in range(9)
    ]
    for one, out in zip(conversations, which.encode(conversations), strict=True):
        alone = encode(which, *one)
        for a, b in ((alone.conditioned, out.conditioned), (alone.unconditioned, out.unconditioned)):
            assert a.input_ids.tolist() == b.input_ids.tolist()
            assert a.scored.tolist() == b.scored.tolist()
    assert which.encode([]) == []


def test_fingerprint_sees_every_option_and_survives_pickling() -> None:
    base = encoder(CHATML_WITH_DEFAULT_SYSTEM)
    others = [
        encoder(TRIMMING),
        encoder(CHATML_WITH_DEFAULT_SYSTEM, byte_level()),
        *(
            encoder(CHATML_WITH_DEFAULT_SYSTEM, **option)
            for option in (
                {"max_length": 9},
                {"turn_end": "excluded"},
                {"boundary": "split"},
                {"unconditioned": "bare"},
            )
        ),
    ]
    assert len({e.fingerprint for e in (base, *others)}) == 7
    assert pickle.loads(pickle.dumps(base)).fingerprint == base.fingerprint
    assert encoder(CHATML_WITH_DEFAULT_SYSTEM).fingerprint == base.fingerprint


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_length": 1}, r"data\.max_length must be at least 2, got 1"),
        ({"turn_end": "none"}, r"data\.turn_end must be one of scored, excluded, whole_suffix, got 'none'"),
        ({"boundary": "none"}, r"data\.boundary must be one of whole, split"),
        ({"unconditioned": "none"}, r"data\.unconditioned must be one of template, header, bare"),
    ],
)
def test_options_out_of_range(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain(**option)


def test_a_tokenizer_without_offsets_needs_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    with pytest.raises(ValueError, match=r"data\.tokenizer: .* not a fast tokenizer .*set data\.boundary: split"):
        plain()
    assert plain(boundary="split").options.boundary == "split"


def test_max_length_comes_from_option_model_or_tokenizer() -> None:
    tokenizer = byte_level()
    assert choose_max_length(7, 5, tokenizer) == 7
    assert choose_max_length(None, 5, tokenizer) == 5
    with pytest.raises(ValueError, match=r"data\.max_length is not set, and neither"):
        choose_max_length(None, None, tokenizer)
    tokenizer.model_max_length = 3
    assert choose_max_length(None, None, tokenizer) == 3
