"""The expander's guards, and the fast search for near duplicates against the exact slow one and against rouge-score."""

from __future__ import annotations

import numpy as np
import pytest

from lit_curriculum.chat.client import ChatRequest
from lit_curriculum.methods.tapir.roles import TaskItem, Usage
from lit_curriculum.methods.tapir.teacher.expander import NearDuplicates, PromptExpander, rouge_l, rouge_words
from tests.chat.scripted_client import ScriptedClient

SEED = TaskItem(id="s", instruction="Write a short poem about the wide sea", task="Writing")


def _reference_rouge_l(a: list[str], b: list[str]) -> float:
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    common = int(table[-1, -1])
    if common == 0:
        return 0.0
    precision, recall = common / len(b), common / len(a)
    return 2 * precision * recall / (precision + recall)


def random_texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(list("abcdefghijkl"), size=rng.integers(1, 40))) for _ in range(count // 2)]
    for text in texts[: count - len(texts)]:
        words = text.split()
        for place in rng.integers(len(words), size=len(words) // 2):
            words[place] = "z"
        texts.append(" ".join(words))
    return texts


def test_rouge_l_equals_the_table_and_the_maintained_package() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    texts = [*random_texts(60, 1), "Don't stop; it's 5 o'clock!", "", "Write: a, b and c."]
    for a, b in zip(texts, [*texts[7:], *texts[:7]], strict=True):
        fast = rouge_l(rouge_words(a), rouge_words(b))
        assert fast == pytest.approx(_reference_rouge_l(rouge_words(a), rouge_words(b)))
        assert fast == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure)


@pytest.mark.parametrize("threshold", [0.4, 0.7, 1.0])
def test_prefilter_finds_what_comparing_all_finds(threshold: float) -> None:
    texts = random_texts(160, 2)
    known, unseen = texts[40:120], texts[:40] + texts[120:]
    near = NearDuplicates(threshold, known)
    found = [near.resembles(t) for t in unseen]
    words = [rouge_words(t) for t in known]
    slow = [any(_reference_rouge_l(rouge_words(t), k) > threshold for k in words) for t in unseen]
    assert found == slow
    if threshold == 0.7:
        assert 0 < sum(found) < len(found)


def scripted(texts: list[str]) -> tuple[ScriptedClient, list[ChatRequest]]:
    asked: list[ChatRequest] = []

    def script(request: ChatRequest) -> str:
        asked.append(request)
        return texts[(len(asked) - 1) % len(texts)]

    return ScriptedClient(script), asked


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("A task without tags about the wide sea", "unreadable"),
        ("<task>Describe a small red boat</task><task>two of them</task>", "unreadable"),
        ("<task>Describe it now</task>", "too_short"),
        ("<task>- describe the small red boat</task>", "starts_with_punctuation"),
        ("<task>" + "describe the boats of all seas " * 8 + "</task>", "length"),
        ("<task>Write a short poem about the wide sea</task>", "exact_duplicate"),
        ("<task>Write a short poem about the wide lake</task>", "near_duplicate"),
        ("<task>" + "word " * 700 + "</task>", "cut_by_length"),
    ],
)
def test_each_guard_rejects_and_is_counted(reply: str, reason: str) -> None:
    client, _ = scripted([reply])
    expander = PromptExpander(client)
    assert expander.expand([SEED], 1, ["something else known"]).written == []
    assert expander.rejected == {reason: 3}
    assert client.num_calls == 3


def test_good_instructions_carry_their_origin_and_are_asked_for_by_task_and_seed() -> None:
    client, asked = scripted(
        [
            "<task>Describe the smell of rain on warm stones</task>",
            "nothing",
            "Sure: <task>Explain how a clock keeps its time</task>",
            "<task>Explain how a clock keeps its time</task>",
            "<task>List three uses for old newspapers at home</task>",
        ]
    )
    expander = PromptExpander(client)
    new = expander.expand(
        [SEED, TaskItem(id="t", instruction="Name six good uses for a brick", task="Other")], 3, []
    ).written
    assert [n.instruction.split()[0] for n in new] == ["Describe", "Explain", "List"]
    assert [n.parent_id for n in new] == ["s", "s", "s"]
    assert {n.task for n in new} == {"Writing"}
    assert new[0].usage.calls == 1
    assert new[0].prompt_version == "expand/1"
    assert expander.rejected == {"unreadable": 1, "exact_duplicate": 1}
    assert 'of the type "Writing"' in asked[0].messages[-1].content
    assert SEED.instruction in asked[0].messages[-1].content
    assert [r.seed for r in asked] == [0, 0, 1, 1, 2]
    assert all(r.temperature == 1.0 for r in asked)
    assert expander.expand([], 3, []) == ([], Usage(), 0)


def test_seed_with_an_input_field_gets_one() -> None:
    parent = TaskItem(
        id="i", instruction="Sum up the text below", input="Rain fell all day on the town", task="Writing"
    )
    client, asked = scripted(
        [
            "<task>Translate this text for me</task>",
            "<task>Translate this text for me</task><input>Snow came by night</input>",
        ]
    )
    new = PromptExpander(client).expand([parent], 1, []).written
    assert [(n.instruction, n.input) for n in new] == [("Translate this text for me", "Snow came by night")]
    assert "<input>" in asked[0].messages[-1].content


def test_options_out_of_range_are_refused() -> None:
    client, _ = scripted([""])
    with pytest.raises(ValueError, match=r"expander\.dedupe_rouge must be in \(0, 1\], got 0"):
        PromptExpander(client, dedupe_rouge=0.0)
    with pytest.raises(ValueError, match=r"PromptExpander.attempts_per_item must be at least 1"):
        PromptExpander(client, attempts_per_item=0.5)
