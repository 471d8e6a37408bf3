"""Pair judges over a chat model: by its written scores, and by its probabilities of digits.

References:
    TAPIR (arXiv 2405.13448), section 3: the teacher scores its own and the student's answer from 1 to 10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, ChatRequest, Usage
from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement, PairJudge
from lit_curriculum.methods.tapir.teacher.prompting import load_prompt
from lit_curriculum.utils.float64 import to_float64
from lit_curriculum.utils.options import check_range

Scores = tuple[float, float]
_DIGITS = range(1, 10)
_LINE = re.compile(r"^\s*\**Score ([AB])\s*:\**\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*\**\s*\.?\s*$", re.MULTILINE)


def parse_scores(text: str) -> Scores | None:
    """Scores of answers A and B, or none where the text does not hold exactly one line for each, from 1 to 10."""
    found = [(name, float(value)) for name, value in _LINE.findall(text)]
    if sorted(name for name, _ in found) != ["A", "B"] or not all(1.0 <= value <= 10.0 for _, value in found):
        return None
    scores = dict(found)
    return scores["A"], scores["B"]


class PromptJudge(PairJudge):
    """Ask a chat model to rate two answers in both orders, so that a constant bias to one place cancels in the mean.

    An answer that cannot be read is asked for again with other seeds, at a temperature of 0.7. Where that fails too,
    the item is marked invalid; it never gets an imputed score.

    Args:
        client: The chat model.
        prompt: Prompt of the package, or a file with the places ``instruction``, ``answer_a``, ``answer_b``.
        max_tokens: Tokens of one judgement at most.
        retries: Further attempts at an unreadable judgement.

    Raises:
        ValueError: ``retries`` is negative.
    """

    def __init__(self, client: ChatClient, prompt: str = "judge", max_tokens: int = 512, retries: int = 2) -> None:
        check_range(self, "[0, inf)", retries=retries)
        self.client = client
        self.prompt = load_prompt(prompt, {"instruction", "answer_a", "answer_b"})
        self.max_tokens, self.retries = max_tokens, retries

    @property
    @override
    def version(self) -> str:
        return f"{self.prompt.version} orders=2 {self.client.model}"

    @override
    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        slots = [(number, swapped) for number in range(len(items)) for swapped in (0, 1)]
        scores: dict[tuple[int, int], Scores | None] = dict.fromkeys(slots)
        replies: dict[tuple[int, int], ChatReply] = {}
        usage = [Usage() for _ in items]
        open_slots = slots
        for attempt in range(self.retries + 1):
            requests = [self._request(items[number], bool(swapped), attempt) for number, swapped in open_slots]
            for slot, reply in zip(open_slots, self.client.chat_many(requests, "judge"), strict=True):
                replies[slot] = reply
                usage[slot[0]] += reply.usage
                parsed = None if reply.finish_reason == "error" else parse_scores(reply.text)
                scores[slot] = parsed if parsed is None or not slot[1] else parsed[::-1]
            open_slots = [slot for slot in open_slots if scores[slot] is None]
            if not open_slots:
                break
        return [
            _average([scores[n, s] for s in (0, 1)], [replies[n, s].text for s in (0, 1)], cost)
            for n, cost in enumerate(usage)
        ]

    def _request(self, item: JudgeItem, swapped: bool, attempt: int) -> ChatRequest:
        first, second = (item.candidate, item.reference) if swapped else (item.reference, item.candidate)
        return self.prompt.request(
            {"instruction": item.instruction, "answer_a": first, "answer_b": second},
            temperature=0.7 if attempt else 0.0,
            max_tokens=self.max_tokens,
            seed=attempt,
        )


def _average(scores: Sequence[Scores | None], raw: Sequence[str], usage: Usage) -> Judgement:
    """Mean over orders of (teacher, student); invalid where one order is missing, as half a pair would be biased."""
    read = [s for s in scores if s is not None]
    valid = len(read) == len(scores)
    teacher, student = (sum(column) / len(column) for column in zip(*read, strict=True)) if valid else (math.nan,) * 2
    return Judgement(score_teacher=teacher, score_student=student, valid=valid, raw=tuple(raw), usage=usage)


class LikelihoodJudge(PairJudge):
    """Asks for two scores from 1 to 9 and takes the expected value of each, in both orders, averaged.

    The model's reply is begun for it (``Score A:``); what counts are its probabilities of the nine digits. The most
    likely one is put in the reply before the second score is read. Scores are no whole numbers, and every reply is
    readable; that is no evidence of their quality.

    Args:
        client: A model in this process.
        prompt: Prompt of the package, or a file with the places ``instruction``, ``answer_a``, ``answer_b``; it has to
            ask for a line ``Score A: N`` and a line ``Score B: N``.

    Raises:
        ValueError: at the first item, the tokenizer writes digits as parts of other tokens.
    """

    def __init__(self, client: LocalClient, prompt: str = "judge_scores") -> None:
        self.client = client
        self.prompt = load_prompt(prompt, {"instruction", "answer_a", "answer_b"})

    @property
    @override
    def version(self) -> str:
        return f"{self.prompt.version} expected digits {self.client.model}"

    @override
    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        return [self._judge(item) for item in items]

    def _judge(self, item: JudgeItem) -> Judgement:
        first, tokens = self._scores(item.instruction, item.reference, item.candidate)
        second, more = self._scores(item.instruction, item.candidate, item.reference)
        return Judgement(
            score_teacher=(first[0] + second[1]) / 2,
            score_student=(first[1] + second[0]) / 2,
            valid=True,
            raw=tuple(f"Score A: {a:.4f}\nScore B: {b:.4f}" for a, b in (first, second)),
            usage=Usage(calls=2, prompt_tokens=tokens + more),
        )

    def _scores(self, instruction: str, answer_a: str, answer_b: str) -> tuple[tuple[float, float], int]:
        """Expected scores of A and B, and the tokens that were read."""
        model, tokenizer = self.client.load()
        values = {"instruction": instruction, "answer_a": answer_a, "answer_b": answer_b}
        request = self.prompt.request(values, temperature=0.0, max_tokens=1)
        turns = [{"role": m.role, "content": m.content} for m in request.messages]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        found: list[float] = []
        known: list[int] = []
        cache: Any = None
        for name in "AB":
            text += f"Score {name}: "
            ids, digits = self._digit_tokens(text)
            if ids[: len(known)] != known:
                known, cache = [], None
            fresh = torch.tensor([ids[len(known) :]], device=model.device)
            with torch.inference_mode():
                output = model(input_ids=fresh, past_key_values=cache, use_cache=True)
            known, cache = ids, output.past_key_values
            shares = to_float64(output.logits[0, -1, digits]).softmax(dim=-1).tolist()
            found.append(sum(d * p for d, p in zip(_DIGITS, shares, strict=True)))
            text += f"{_DIGITS[shares.index(max(shares))]}\n"
        return (found[0], found[1]), len(known)

    def _digit_tokens(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens of ``text`` before a digit, and the token of each digit after it.

        Raises:
            ValueError: a digit is not one token there.
        """
        _, tokenizer = self.client.load()
        rows = [tokenizer(f"{text}{d}", add_special_tokens=False)["input_ids"] for d in _DIGITS]
        before = {tuple(row[:-1]) for row in rows}
        if len(before) != 1 or len({row[-1] for row in rows}) != len(rows):
            raise ValueError(
                f"client.source: the tokenizer of {self.client.source} does not write every digit as one token, so its "
                f"scores cannot be read off probabilities; use PromptJudge."
            )
        return list(before.pop()), [int(row[-1]) for row in rows]
