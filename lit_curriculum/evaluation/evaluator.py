"""Judges a model on items of any kind: likelihoods in one stream, answers in one batched, cached generation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from math import exp
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from lit_curriculum.data.template import ChatTemplate
from lit_curriculum.difficulty.runner import TokenIds, answers_in_parts
from lit_curriculum.evaluation.instructions import check_instructions
from lit_curriculum.evaluation.items import EvalItem, EvalOptions, ItemResult
from lit_curriculum.evaluation.likelihood import (
    Likelihoods,
    candidate_losses,
    continuation_view,
    gold_wins,
    letter_tokens,
    letter_views,
    likelihoods,
    most_likely,
    per_character,
    plain_tokens,
    turn_view,
)
from lit_curriculum.evaluation.math_answer import verified_equivalent
from lit_curriculum.evaluation.parsers import PARSERS, is_right, reads_letters
from lit_curriculum.evaluation.sandbox import SandboxLimits, pass_at_k, program_of, run_program
from lit_curriculum.types import EncodedView, GenerativeModel
from lit_curriculum.utils.jsonl_log import JsonlLog
from lit_curriculum.utils.progress import Show, no_display

Judge = Callable[[Sequence[tuple[str, str, str]]], Sequence[float]]
"""From (question, reference, answer) to the answer's score in [0, 1]: 1 where it wins, 0.5 for a tie."""
_GENERATED = ("exact", "instructions", "code", "open")


class Evaluator:
    """Evaluates a model on items; the model's flags and the global random state stay as they were.

    Args:
        template: Chat template for items with messages, bound to the tokenizer.
        options: How items are judged.
        judge: For ``open`` items.
        show: Shows how far likelihoods and answers have come.
        kept: Where generated answers are kept, and found again; nowhere by default.
    """

    def __init__(
        self,
        template: ChatTemplate,
        options: EvalOptions,
        judge: Judge | None = None,
        show: Show = no_display,
        kept: GenerationCache | None = None,
    ) -> None:
        self.template = template
        self.tokenizer: PreTrainedTokenizerBase = template.tokenizer
        self.options = options
        self.judge = judge
        self.show = show
        self.kept = kept

    def evaluate(self, model: GenerativeModel, items: Sequence[EvalItem]) -> list[ItemResult]:
        """One result an item, in their order.

        Raises:
            ValueError: an item does not fit into the model's context, or
                :func:`check_items` refuses it.
        """
        check_items(items, self.options.run_code, self.judge is not None)
        scored = [k for k, item in enumerate(items) if item.kind in ("ranked", "choice", "nll")]
        spoken = [k for k, item in enumerate(items) if item.kind in _GENERATED]
        out: dict[int, ItemResult] = dict(zip(scored, self._scored(model, [items[k] for k in scored]), strict=True))
        out |= dict(zip(spoken, self._spoken(model, [items[k] for k in spoken]), strict=True))
        return [out[k] for k in range(len(items))]

    def _likelihoods(self, model: GenerativeModel, views: Sequence[EncodedView]) -> Likelihoods:
        device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else torch.device("cpu")
        with (self.show if views else no_display)("Likelihoods", " tok") as progress:
            return likelihoods(model, views, self.options.token_budget, device, progress)

    def _answers(
        self, model: GenerativeModel, prompts: Sequence[TokenIds], temperature: float, seed: int
    ) -> list[TokenIds]:
        limit, kept = self.options.max_new_tokens, self.kept

        def ask(part: list[TokenIds]) -> list[TokenIds]:
            return model.generate(part, limit, temperature, seed)

        def answer(part: list[TokenIds]) -> list[TokenIds]:
            return ask(part) if kept is None else kept.answer(part, f"{limit} {temperature} {seed}", ask)

        with (self.show if prompts else no_display)("Answers", " answers") as progress:
            return answers_in_parts(prompts, answer, progress)

    def _view(self, item: EvalItem, answer: str, prompt: str | None = None) -> EncodedView:
        if item.messages:
            where = f"{item.source}: item {item.id}"
            return turn_view(self.template, item.messages, answer, where, self.options.max_length)
        text = item.prompt if prompt is None else prompt
        assert text is not None
        return continuation_view(self.tokenizer, text, answer, self.options.max_length)

    def _scored(self, model: GenerativeModel, items: Sequence[EvalItem]) -> Iterable[ItemResult]:
        candidates = [item.choices or (item.gold,) for item in items]
        views = [
            self._view(item, answer, item.choice_prompts[c] if item.choice_prompts else None)
            for item, answers in zip(items, candidates, strict=True)
            for c, answer in enumerate(answers)
        ]
        found, low = self._likelihoods(model, views), 0
        for item, answers in zip(items, candidates, strict=True):
            part = found.rows(low, low + len(answers))
            low += len(answers)
            yield self._decide(item, part)

    def _decide(self, item: EvalItem, found: Likelihoods) -> ItemResult:
        gold = item.gold_index or 0
        nll, num = float(np.nan_to_num(found.nll_sum[gold])), int(found.num_scored[gold])
        if item.kind == "nll":
            if not found.num_scored[0]:
                raise ValueError(f"{item.source}: item {item.id} has no gold token within max_length; raise it.")
            return ItemResult(item=item, score=float(found.greedy[0]), answer=item.gold, nll_sum=nll, num_tokens=num)
        if item.kind == "ranked":
            choice = gold_wins(candidate_losses(found, self.options.ppl_norm), gold)
            cut = "the gold candidate was cut off" if not found.num_scored[gold] else ""
            losses = ", ".join(f"{exp(min(loss, 99.0)):.4g}" for loss in found.mean)
            return ItemResult(item=item, score=float(choice.correct), answer=str(choice.picked),
                              reason=cut or f"perplexities {losses}", nll_sum=nll, num_tokens=num)  # fmt: skip
        choice = most_likely(found.nll_sum, gold)
        by_character = most_likely(per_character(found, item.choices), gold)
        return ItemResult(
            item=item, score=float(choice.correct), answer=str(choice.picked),
            extra={"accuracy_per_character": (float(by_character.correct), 1.0)}, nll_sum=nll, num_tokens=num,
        )  # fmt: skip

    def _spoken(self, model: GenerativeModel, items: Sequence[EvalItem]) -> Iterable[ItemResult]:
        prompts = [self._prompt(item) for item in items]
        if not items:
            return []
        o = self.options
        tokens = self._answers(model, prompts, 0.0, o.seed)
        texts = [self._text(item, ids) for item, ids in zip(items, tokens, strict=True)]
        letters = self._letters(model, items, prompts, tokens, texts)
        exact = [k for k, item in enumerate(items) if item.kind == "exact"]
        found = self._likelihoods(model, [self._view(items[k], items[k].gold) for k in exact])
        losses = {k: (float(np.nan_to_num(found.nll_sum[n])), int(found.num_scored[n])) for n, k in enumerate(exact)}
        codes = self._run_code(model, items, prompts, texts)
        opened = [k for k, item in enumerate(items) if item.kind == "open"]
        asked = [(items[k].messages[-1].content, items[k].gold, texts[k]) for k in opened]
        judged = dict(zip(opened, self.judge(asked) if self.judge is not None and asked else (), strict=True))
        out = []
        for k, item in enumerate(items):
            nll, num = losses.get(k, (0.0, 0))
            score, reason = 0.0, ""
            extra: dict[str, tuple[float, float]] = {}
            if item.kind == "exact":
                score = float(self._right(item, letters.get(k, texts[k])))
                reason = f"most likely letter {letters[k]}" if k in letters else ""
            elif item.kind == "instructions":
                score, extra = _follow(item, texts[k])
            elif item.kind == "code":
                score, reason = codes[k]
            else:
                score = float(judged[k])
            out.append(ItemResult(item=item, score=score, nll_sum=nll, num_tokens=num, answer=texts[k],
                                  reason=reason, extra=extra))  # fmt: skip
        return out

    def _prompt(self, item: EvalItem) -> NDArray[np.int32]:
        if item.prompt is not None:
            return np.array(plain_tokens(self.tokenizer, item.prompt), dtype=np.int32)
        text = self.template.render(item.messages, f"{item.source}: item {item.id}", add_generation_prompt=True)
        return np.array(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)

    def _text(self, item: EvalItem, ids: NDArray[np.int32]) -> str:
        text = str(self.tokenizer.decode(ids.tolist(), skip_special_tokens=True))
        for stop in item.meta.get("until", ()):
            text = text.split(stop, 1)[0]
        return text

    def _right(self, item: EvalItem, text: str) -> bool:
        assert item.parser is not None
        if self.options.math == "verified" and item.parser in ("math", "doit_math"):
            parsed = PARSERS[item.parser][0](text)
            return parsed is not None and verified_equivalent(parsed, item.gold)
        return is_right(item.parser, text, item.gold)

    def _letters(
        self, model: GenerativeModel, items: Sequence[EvalItem], prompts: Sequence[NDArray[np.int32]],
        tokens: Sequence[NDArray[np.int32]], texts: Sequence[str],
    ) -> dict[int, str]:  # fmt: skip
        """The most likely letter of each item whose answer is not one character."""
        asked = [k for k, item in enumerate(items) if item.parser == "choice" and reads_letters(texts[k])]
        views, names = [], []
        for k in asked:
            letters = list(items[k].meta.get("logit_choices", "ABCD"))
            ids = letter_tokens(self.tokenizer, letters)
            ended = len(tokens[k]) < self.options.max_new_tokens
            views += letter_views(prompts[k], tokens[k], ended, ids, self.options.logit_step)
            names.append(letters)
        found, low, out = self._likelihoods(model, views), 0, {}
        for k, letters in zip(asked, names, strict=True):
            out[k] = letters[int(found.nll_sum[low : low + len(letters)].argmin())]
            low += len(letters)
        return out

    def _run_code(
        self, model: GenerativeModel, items: Sequence[EvalItem], prompts: Sequence[NDArray[np.int32]],
        first: Sequence[str],
    ) -> dict[int, tuple[float, str]]:  # fmt: skip
        """pass@k of each code item; a single sample is the greedy answer."""
        o, asked = self.options, [k for k, item in enumerate(items) if item.kind == "code"]
        drawn = {k: [first[k]] for k in asked}
        if o.code_samples > 1 and asked:
            drawn = {k: [] for k in asked}
            for sample in range(o.code_samples):
                tokens = self._answers(model, [prompts[k] for k in asked], o.code_temperature, o.seed + sample)
                for k, ids in zip(asked, tokens, strict=True):
                    drawn[k].append(self._text(items[k], ids))
        out = {}
        for k in asked:
            tests = str(items[k].meta["tests"])
            runs = [run_program(program_of(items[k].prompt, text, tests), SandboxLimits()) for text in drawn[k]]
            passed = sum(run.passed for run in runs)
            out[k] = (pass_at_k(len(runs), passed, o.pass_at), f"{passed} of {len(runs)} pass; {runs[0].reason}")
        return out


def check_items(items: Sequence[EvalItem], run_code: bool = False, has_judge: bool = False) -> None:
    """Refuse what could only fail after the model has answered.

    Args:
        items: What is to be judged.
        run_code: Whether generated programs may be run.
        has_judge: Whether somebody judges open answers.

    Raises:
        ValueError: an item needs code to be run, a judge, or a package or word data that are not installed, or names
            an unknown parser or instruction.
    """
    for item in items:
        where = f"{item.source or item.task}: item {item.id}"
        if item.kind == "code" and not run_code:
            raise ValueError(f"{where} is judged by running the generated program; set run_code to allow that.")
        if item.kind == "open" and not has_judge:
            raise ValueError(f"{where} has no right answer; give the evaluator a judge.")
        if item.kind == "exact" and item.parser not in PARSERS:
            raise ValueError(f"{where} names the parser {item.parser!r}; known are {', '.join(PARSERS)}.")
        if item.kind == "instructions":
            try:
                # Some checks load data only when they are made.
                check_instructions(
                    item.messages[-1].content, "An answer. Another.", item.meta["instruction_id_list"],
                    item.meta["kwargs"],
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error


def _follow(item: EvalItem, text: str) -> tuple[float, dict[str, tuple[float, float]]]:
    """Whether all instructions are followed, strictly; and the three other measures of IFEval."""
    ids = item.meta["instruction_id_list"]
    found = check_instructions(item.messages[-1].content, text, ids, item.meta["kwargs"])
    return float(all(found.strict)), {
        "prompt_loose": (float(all(found.loose)), 1.0),
        "instruction_strict": (float(sum(found.strict)), float(len(ids))),
        "instruction_loose": (float(sum(found.loose)), float(len(ids))),
    }


class GenerationCache:
    """Answers by model, prompt and options of generation, in a :class:`~lit_curriculum.utils.jsonl_log.JsonlLog`.

    Args:
        path: The file; it and its folder are made where they do not exist.
        model: Fingerprint of the weights.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.model = model
        self._log: JsonlLog[str, list[int]] = JsonlLog(path, lambda row: (row["key"], row["tokens"]), "answer")

    def answer(
        self, prompts: Sequence[TokenIds], options: str, ask: Callable[[list[TokenIds]], list[TokenIds]]
    ) -> list[TokenIds]:
        """An answer to each prompt; only what is not in the file is asked, and it is there when this returns.

        Args:
            prompts: Token ids; an answer may not depend on what else is asked.
            options: All that the answers depend on besides model and prompt.
            ask: Makes an answer for each prompt.
        """
        keys, known = [self._key(prompt, options) for prompt in prompts], self._log.entries
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        found = ask(list(missing.values())) if missing else []
        self._log.append([{"key": k, "tokens": t.tolist()} for k, t in zip(missing, found, strict=True)])
        return [np.array(known[key], dtype=np.int32) for key in keys]

    def _key(self, prompt: TokenIds, options: str) -> str:
        said = f"{self.model} {options} ".encode() + np.ascontiguousarray(prompt, dtype=np.int32).tobytes()
        return hashlib.blake2b(said, digest_size=16).hexdigest()
