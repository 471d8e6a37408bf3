"""IFEval's checks on answers that follow instructions and on answers that do not."""

from __future__ import annotations

import random

import pytest

from lit_curriculum.evaluation.evaluator import check_items
from lit_curriculum.evaluation.instructions import check_instructions
from lit_curriculum.evaluation.tasks.benchmarks import ifeval


@pytest.fixture
def checks() -> None:
    pytest.importorskip("if_verifiable")


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize(
    ("name", "options", "good", "bad"),
    [
        ("punctuation:no_comma", {}, "No such mark here", "One, two"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one"),
        ("change_case:english_lowercase", {}, "all of it is small and plain english", "NOT AT ALL"),
        ("detectable_format:json_format", {}, '{"a": 1}', "a: 1"),
        ("keywords:existence", {"keywords": ["boat", "sea"]}, "The boat is on the sea.", "The boat."),
        ("startend:end_checker", {"end_phrase": "The end."}, "It was so. The end.", "It was so."),
    ],
)
def test_one_instruction(name: str, options: dict[str, object], good: str, bad: str) -> None:
    assert check_instructions("Do it.", good, [name], [options]).strict == (True,)
    assert check_instructions("Do it.", bad, [name], [options]).strict == (False,)


@pytest.mark.usefixtures("checks")
def test_loose_forgives_an_opening_line() -> None:
    found = check_instructions(
        "Do it.", "Sure, here it is:\nno such mark", ["punctuation:no_comma"], [{"num_words": None}]
    )
    assert (found.strict, found.loose) == ((False,), (True,))


@pytest.mark.usefixtures("checks")
def test_verdicts_do_not_depend_on_chance() -> None:
    option = {"let_relation": "at least", "letter": "#", "let_frequency": 2}  # the package draws a letter instead
    answers = ["aa", "ee", "qq", "zz"]
    before = random.getstate()
    found = {tuple(check_instructions("Do it.", a, ["keywords:letter_frequency"], [option]).strict for a in answers)
             for _ in range(8)}  # fmt: skip
    assert len(found) == 1
    assert random.getstate() == before


@pytest.mark.usefixtures("checks")
def test_unknown_instruction() -> None:
    with pytest.raises(ValueError, match="no instruction 'magic'"):
        check_instructions("Do it.", "Done.", ["magic"], [{}])


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_curriculum.evaluation.instructions.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"install lit-curriculum\[eval\]"):
        check_instructions("a", "b", [], [])


@pytest.mark.usefixtures("checks")
def test_items_that_cannot_be_judged_are_refused_before_anything_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"key": 7, "prompt": "Do it in two sentences.", "kwargs": [{"relation": "at least", "num_sentences": 2}]}
    item = ifeval({**record, "instruction_id_list": ["magic"]}, "f:1")
    with pytest.raises(ValueError, match=r"f:1: item 7: IFEval has no instruction 'magic'"):
        check_items([item])

    def missing(*_: object, **__: object) -> None:
        raise LookupError("Resource punkt_tab not found.")

    monkeypatch.setattr("nltk.tokenize.sent_tokenize", missing)
    monkeypatch.setattr("nltk.data.load", missing)
    monkeypatch.setattr("nltk.tokenize.punkt.find", missing, raising=False)
    counted = ifeval({**record, "instruction_id_list": ["length_constraints:number_sentences"]}, "f:2")
    with pytest.raises(ValueError, match=r"f:2: item 7: IFEval counts .* nltk that are not installed"):
        check_items([counted])
