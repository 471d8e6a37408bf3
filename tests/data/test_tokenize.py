"""Which tokens are scored, for tokenizers that merge across borders, trim offsets, or mark blanks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lit_curriculum.data.tokenize import Span, ViewText, tokenize, tokenizer_fingerprint, tokens_in_spans
from tests.data.toy_tokenizers import byte_level, metaspace, trimming_byte_level


def _reference_scored(offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[bool]:
    """Token by token and character by character."""
    inside = {c for start, end in spans for c in range(start, end)}
    flags, reached = [], 0
    for start, end in offsets:
        characters = range(start, end) if start < end else range(min(start, reached), end)
        # An empty token is scored where the span continues on both sides of it.
        flags.append(any(c in inside for c in characters) or (not characters and {end - 1, end} <= inside))
        reached = max(reached, end)
    return flags


def one(tokenizer: PreTrainedTokenizerFast, text: str, *spans: Span, boundary: str = "whole") -> list[tuple[int, int]]:
    view = tokenize(tokenizer, [ViewText(text, spans)], boundary)[0]  # type: ignore[arg-type]
    assert view.input_ids.dtype == np.int32
    assert view.scored.dtype == np.bool_
    return list(zip(view.input_ids.tolist(), view.scored.astype(int).tolist(), strict=True))


def test_bytes_by_hand() -> None:
    assert one(byte_level(), "Q:A.", (2, 3)) == [(81, 0), (58, 0), (65, 1), (46, 0)]
    assert one(byte_level(), "Q:A.B", (2, 3), (4, 5)) == [(81, 0), (58, 0), (65, 1), (46, 0), (66, 1)]
    # Two bytes of one character are two tokens with the same offsets.
    assert one(byte_level(), ":é.", (1, 2)) == [(58, 0), (195, 1), (169, 1), (46, 0)]


def test_a_token_that_straddles_the_border_is_scored_when_whole_and_parted_when_split() -> None:
    tokenizer = byte_level(merges=[("a", "b")])
    assert one(tokenizer, "xabc", (2, 4)) == [(120, 0), (256, 1), (99, 1)]
    assert one(tokenizer, "xabc", (2, 4), boundary="split") == [(120, 0), (97, 0), (98, 1), (99, 1)]
    # So is one that reaches out of the span at its end; the one behind it is not.
    assert one(tokenizer, "xabc", (0, 2)) == [(120, 1), (256, 1), (99, 0)]
    assert one(tokenizer, "xabc", (0, 1)) == [(120, 1), (256, 0), (99, 0)]


def test_split_at_several_borders_skips_empty_pieces() -> None:
    view = ViewText("aBcD", ((0, 0), (1, 2), (3, 4)))
    assert one(byte_level(), view.text, *view.spans, boundary="split") == [(97, 0), (66, 1), (99, 0), (68, 1)]
    assert one(byte_level(), "AB", (0, 2), boundary="split") == [(65, 1), (66, 1)]
    assert one(byte_level(), "", boundary="split") == []


def test_offsets_without_blanks() -> None:
    tokenizer = trimming_byte_level()
    offsets = tokenizer("a h  h", return_offsets_mapping=True)["offset_mapping"]
    assert offsets == [(0, 1), (2, 3), (4, 4), (5, 6)]
    # The token of the blank at 3 says it holds nothing; the one of " h" at 4 hides its blank.
    assert one(tokenizer, "a h  h", (3, 6)) == [(97, 0), (256, 0), (32, 1), (256, 1)]
    assert one(tokenizer, "a h  h", (0, 3)) == [(97, 1), (256, 1), (32, 0), (256, 0)]


def test_marks_of_blanks_by_hand() -> None:
    # "▁hi", "#", "▁you": the mark of the blank belongs to the word behind it.
    assert one(metaspace(), "hi# you", (4, 7)) == [(4, 0), (33, 0), (5, 1)]
    assert one(metaspace(), "hi# you", (3, 7)) == [(4, 0), (33, 0), (5, 1)]
    # Split, the first token of each piece has the mark of a blank before it.
    assert one(metaspace(), "hi#hi", (3, 5)) == [(4, 0), (33, 0), (6, 1)]
    assert one(metaspace(), "hi#hi", (3, 5), boundary="split") == [(4, 0), (33, 0), (4, 1)]
    # No beginning of text is added.
    assert one(metaspace(), "<s>hi</s>", (3, 9))[0] == (1, 0)


@pytest.mark.parametrize("seed", range(30))
def test_spans_equal_the_reference_on_random_offsets(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cuts = np.sort(generator.integers(0, 30, 12))
    offsets = [(int(a), int(b)) for a, b in pairwise(cuts)]
    # Some tokens lose their blanks, some say that they hold nothing.
    offsets = [(b if generator.random() < 0.2 else a, b) for a, b in offsets]
    borders = np.sort(generator.choice(31, 4, replace=False)).tolist()
    spans = [(borders[0], borders[1]), (borders[2], borders[3])]
    assert tokens_in_spans(np.array(offsets), spans).tolist() == _reference_scored(offsets, spans)


@pytest.mark.parametrize("text", ["Once upon a time", "  x é漢\n\n y ", "a\u00a0b", "Tom said: 'No!'"])
def test_stories260k_scores_exactly_the_characters_of_the_span(shared_data: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "models" / "stories260k")
    for start in range(len(text)):
        view = tokenize(tokenizer, [ViewText(f"<s>{text}</s>", ((start + 3, len(text) + 3),))], "whole")[0]
        assert view.input_ids[0] == 1
        assert not view.scored[0]
        assert view.input_ids[-1] == 2
        assert not view.scored[-1]
        shown = tokenizer.decode(view.input_ids[view.scored])
        # A merge may reach back over the border, never forward.
        assert shown.endswith(text[start:]) or text[start:].strip() in shown
        offsets = tokenizer(f"<s>{text}</s>", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert view.scored.tolist() == _reference_scored(offsets, [(start + 3, len(text) + 3)])


def test_fingerprint_is_stable_and_sees_vocabulary_and_special_tokens() -> None:
    tokenizer = byte_level()
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["x", "yy"], padding=False, truncation=True, max_length=1)
    assert tokenizer_fingerprint(tokenizer) == before == tokenizer_fingerprint(byte_level())
    assert tokenizer_fingerprint(byte_level(merges=[("a", "b")])) != before
    tokenizer.eos_token = "a"
    assert tokenizer_fingerprint(tokenizer) != before


def test_fingerprint_without_a_fast_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    assert tokenizer_fingerprint(byte_level()) == tokenizer_fingerprint(byte_level())
    assert tokenizer_fingerprint(byte_level()) != tokenizer_fingerprint(byte_level(merges=[("a", "b")]))
