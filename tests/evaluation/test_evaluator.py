"""The evaluator on items of every kind, with a model whose every answer and loss is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator, Judge
from lit_curriculum.evaluation.items import EvalItem, EvalOptions, ItemResult
from lit_curriculum.evaluation.summary import item_line, shard, summarise
from lit_curriculum.methods.baselines.scorers.scorer import Scorer
from lit_curriculum.types import Batch, Message, TokenNLL
from tests.data.toy_tokenizers import byte_level
from tests.methods.baselines.tiny_scorer import CHAT, save_scorer


class Parrot:
    """Says what ``answers`` hold for the text of a prompt; a letter costs one nat, and three letters cost other."""

    def __init__(self, answers: dict[str, str], cheap: str = "") -> None:
        self.answers = answers
        self.table = torch.full((256,), 3.0)
        for number, letter in enumerate(cheap):
            self.table[ord(letter)] = 0.1 * (number + 1)
        self.draws: list[tuple[float, int]] = []

    def generate(
        self, prompts: Sequence[NDArray[np.int32]], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[NDArray[np.int32]]:
        self.draws.append((temperature, seed))
        texts = [bytes(p.tolist()).decode() for p in prompts]
        said = [next(a for q, a in self.answers.items() if q in t) for t in texts]
        said = [a.replace("SEED", str(seed)) for a in said]
        return [np.frombuffer(a.encode(), np.uint8).astype(np.int32)[:max_new_tokens] for a in said]

    def token_nll(self, batch: Batch, /) -> TokenNLL:
        row, column = batch.scored.nonzero(as_tuple=True)
        nll = self.table[batch.input_ids[row, column]]
        return TokenNLL(nll, row, nll < 1.0)


def evaluator(judge: Judge | None = None, **options: Any) -> Evaluator:
    tokenizer = byte_level()
    tokenizer.chat_template = CHAT
    return Evaluator(resolve_template(tokenizer), EvalOptions(**({"max_length": 200} | options)), judge)


def ask(text: str, **more: Any) -> EvalItem:
    given: dict[str, Any] = {
        "id": text,
        "task": "t",
        "kind": "exact",
        "messages": (Message(role="user", content=text),),
    }
    return EvalItem(**(given | more))


def test_answers_are_parsed_and_gold_answers_have_losses() -> None:
    items = [ask("one", gold="7", parser="number"), ask("two", gold="8", parser="number", task="u", chance=0.25)]
    found = evaluator().evaluate(Parrot({"one": "so 7", "two": "so 7"}, cheap="7"), items)
    assert [r.score for r in found] == [1.0, 0.0]
    assert [(r.nll_sum, r.num_tokens) for r in found] == [(pytest.approx(0.1), 1), (3.0, 1)]
    line = item_line(found[1])
    assert (line["answer"], line["gold"], line["chance"], line["nll"]) == ("so 7", "8", 0.25, 3.0)


def test_stops_cut_an_answer_to_plain_text() -> None:
    item = EvalItem(id="1", task="t", kind="exact", prompt="Q: x\nA:", gold="4", parser="whole", meta={"until": ["\n"]})
    assert evaluator().evaluate(Parrot({"Q": " 4\nQ: y"}), [item])[0].score == 1.0


@pytest.mark.parametrize(
    ("said", "score", "reason"),
    [("B", 1.0, ""), ("C", 0.0, ""), ("E", 0.0, ""), ("I think it is A", 1.0, "most likely letter B"),
     ("", 1.0, "most likely letter B")],
)  # fmt: skip
def test_letters_decide_where_the_answer_is_no_character(said: str, score: float, reason: str) -> None:
    item = ask("pick", gold="B", parser="choice", meta={"logit_choices": ["A", "B", "C", "D"]})
    for step in ("first", "last"):
        found = evaluator(logit_step=step).evaluate(Parrot({"pick": said}, cheap="BCAD"), [item])[0]
        assert (found.score, found.reason) == (score, reason)


def test_ranked_choice_and_nll_items_in_one_stream_keep_their_order() -> None:
    items = [
        ask("r", kind="ranked", choices=("xx", "aa", "b"), gold_index=1),
        EvalItem(id="c", task="c", kind="choice", prompt="p", choices=(" aaaa", " x"), gold_index=0),
        EvalItem(id="n", task="n", kind="nll", prompt="p", gold="aa"),
        EvalItem(id="w", task="w", kind="choice", choice_prompts=("aa", "x"), choices=("b", "b"), gold_index=1),
    ]
    found = evaluator().evaluate(Parrot({}, cheap="ab"), items)
    assert [r.item.id for r in found] == ["r", "c", "n", "w"]
    assert [r.score for r in found] == [1.0, 1.0, 1.0, 0.0]
    assert found[0].reason == "perplexities 20.09, 1.105, 1.221"
    assert found[2].nll_sum == pytest.approx(0.2)
    assert found[1].extra == {"accuracy_per_character": (1.0, 1.0)}
    # By its sum the short candidate of one cheap letter ties with nothing: 0.2 against 0.2 of two letters.
    assert evaluator(ppl_norm="sum").evaluate(Parrot({}, cheap="ab"), items[:1])[0].score == 1.0


def test_a_context_that_leaves_no_room_for_the_gold_answer_loses_and_says_so() -> None:
    item = ask("long " * 50, kind="ranked", choices=("a", "b"), gold_index=0)
    found = evaluator(max_length=20).evaluate(Parrot({}, cheap="a"), [item])[0]
    assert (found.score, found.num_tokens, found.reason) == (0.0, 0, "the gold candidate was cut off")


def test_code_runs_only_where_that_was_asked_for() -> None:
    item = EvalItem(id="f", task="code", kind="code", prompt="def f():\n", meta={"tests": "assert f() == 1"})
    right = Parrot({"def f": "    return 1\nprint('more')"})
    with pytest.raises(ValueError, match=r"code: item f is judged by running the generated program"):
        evaluator().evaluate(right, [item])
    found = evaluator(run_code=True).evaluate(right, [item])[0]
    assert (found.score, found.reason) == (1.0, "1 of 1 pass; passed")
    some = Parrot({"def f": "    return SEED"})
    found = evaluator(run_code=True, code_samples=4, pass_at=2).evaluate(some, [item])[0]
    assert found.score == pytest.approx(1 - 3 / 6)
    assert some.draws[1:] == [(0.2, 0), (0.2, 1), (0.2, 2), (0.2, 3)]


def test_instructions_are_counted_by_prompt_and_by_instruction() -> None:
    pytest.importorskip("if_verifiable")
    meta = {"instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
            "kwargs": [{}, {"end_phrase": "end"}]}  # fmt: skip
    items = [ask("one", kind="instructions", meta=meta), ask("two", kind="instructions", meta=meta)]
    found = evaluator().evaluate(Parrot({"one": "the end", "two": "no, the end"}), items)
    row = summarise(found)[0]
    assert row.score == 0.5
    assert row.extra["instruction_strict"] == 0.75


def test_open_items_go_to_the_judge() -> None:
    asked: list[Any] = []

    def judge(pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        asked.extend(pairs)
        return [0.5]

    item = ask("write", kind="open", gold="theirs")
    with pytest.raises(ValueError, match="has no right answer; give the evaluator a judge"):
        evaluator().evaluate(Parrot({"write": "mine"}), [item])
    assert evaluator(judge).evaluate(Parrot({"write": "mine"}), [item])[0].score == 0.5
    assert asked == [("write", "theirs", "mine")]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ppl_norm": "max"}, "ppl_norm"), ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
     ({"pass_at": 2}, "pass_at 2 needs as many code_samples, got 1"), ({"logit_step": "mid"}, "logit_step"),
     ({"math": "exact"}, "math")],
)  # fmt: skip
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluator(**options)


def test_items_that_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="names the parser 'odd'; known are whole"):
        evaluator().evaluate(Parrot({"q": "a"}), [ask("q", parser="odd")])
    with pytest.raises(ValueError, match="has no gold token within max_length"):
        evaluator().evaluate(Parrot({}), [EvalItem(id="n", task="n", kind="nll", prompt="abc", gold="")])


def test_mathematics_can_be_verified_as_expressions() -> None:
    pytest.importorskip("math_verify")
    item = ask("sq", gold="x^2+2x+1", parser="math")
    model = Parrot({"sq": "It is \\boxed{(x+1)^2}"})
    assert [evaluator(math=m).evaluate(model, [item])[0].score for m in ("normalised", "verified")] == [0.0, 1.0]


def results(count: int) -> list[ItemResult]:
    generator = np.random.default_rng(0)
    return [
        ItemResult(
            item=ask(str(k), parser="whole", task=f"t{k % 3}", chance=1 / (2 + k % 2)),
            score=float(generator.random() < 0.4), nll_sum=float(generator.random()), num_tokens=1 + k % 5,
        )
        for k in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 200])
def test_shards_hold_every_item_once_and_tasks_are_means_over_items(world_size: int) -> None:
    every = results(101)
    shards = [shard(every, rank, world_size) for rank in range(world_size)]
    assert sorted(r.item.id for part in shards for r in part) == sorted(r.item.id for r in every)
    for row in summarise([r for part in shards for r in part]):
        own_items = [r for r in every if r.item.task == row.task]
        assert row.score == pytest.approx(sum(r.score for r in own_items) / len(own_items))
        assert row.nll == pytest.approx(sum(r.nll_sum for r in own_items) / sum(r.num_tokens for r in own_items))
        assert row.chance == pytest.approx(sum(r.item.chance for r in own_items) / len(own_items))
        assert row.interval.low <= row.score <= row.interval.high


def test_a_trained_model_of_any_kind_is_evaluated_without_a_trace(tmp_path: Path) -> None:
    scorer = Scorer(save_scorer(tmp_path))
    module = scorer.load().train()
    items = [
        ask("hello", gold="a", parser="whole"),
        ask("pick", kind="ranked", choices=("ab", "cd"), gold_index=0),
        ask("letter", gold="A", parser="choice"),
    ]
    state = torch.get_rng_state()
    judge = Evaluator(resolve_template(scorer.tokenizer), EvalOptions(max_length=512, max_new_tokens=8))
    first = judge.evaluate(module, items)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(m.training for m in module.modules())
    alone = [judge.evaluate(module, [item])[0] for item in items]
    assert [r.answer for r in alone] == [r.answer for r in first]
    assert [r.nll_sum for r in alone] == pytest.approx([r.nll_sum for r in first], abs=1e-5)


def test_whoever_waits_is_told_how_far_it_has_come() -> None:
    shown: list[tuple[str, str, list[tuple[int, int]]]] = []

    @contextmanager
    def show(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        steps: list[tuple[int, int]] = []
        shown.append((title, unit, steps))
        yield lambda done, total: steps.append((done, total))

    judged = evaluator(max_new_tokens=8)
    judged.show = show
    items = [ask(f"q{k}", kind="exact", gold="x", parser="whole") for k in range(600)]
    results = judged.evaluate(Parrot({f"q{k}": f"a{k}" for k in reversed(range(600))}), items)
    assert [r.answer for r in results] == [f"a{k}" for k in range(600)]
    assert [(title, unit) for title, unit, _ in shown] == [("Answers", " answers"), ("Likelihoods", " tok")]
    assert shown[0][2] == [(256, 600), (512, 600), (600, 600)]
    done, total = zip(*shown[1][2], strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[0]
