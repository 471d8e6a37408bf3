"""A pair judge over a chat model: both orders, averaged.

References:
    TAPIR (arXiv 2405.13448), section 3: the teacher scores its own and the student's answer from 1 to 10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from typing_extensions import override

from lit_curriculum.distill.chat import ChatClient, ChatReply, ChatRequest, Usage
from lit_curriculum.distill.prompting import load_prompt
from lit_curriculum.distill.roles import JudgeItem, Judgement, PairJudge

Scores = tuple[float, float]
_LINE = re.compile(r"^\s*\**Score ([AB])\s*:\**\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*\**\s*\.?\s*$", re.MULTILINE)


def parse_scores(text: str) -> Scores | None:
    """Scores of answers A and B, or none where the text does not hold exactly one line for each, from 1 to 10."""
    found = [(name, float(value)) for name, value in _LINE.findall(text)]
    if sorted(name for name, _ in found) != ["A", "B"] or not all(1.0 <= value <= 10.0 for _, value in found):
        return None
    scores = dict(found)
    return scores["A"], scores["B"]


class PromptJudge(PairJudge):
    """Asks a chat model to rate two answers in both orders, so that a constant bias to one place cancels in the mean.

    An answer that can't be read is asked for again with other seeds; where that fails too the item is marked
    invalid and counted in :attr:`num_invalid`. It never gets a made-up score.

    Args:
        client: The chat model.
        prompt: Prompt of the package, or a file with the places ``instruction``, ``answer_a``, ``answer_b``.
        orders: 2 asks in both orders, 1 only with the teacher's answer first.
        max_tokens: Tokens of one judgement at most.
        retries: Further attempts at an unreadable judgement.
        retry_temperature: Temperature of these; a greedy model would repeat itself.
        seed: Of the first attempt.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        client: ChatClient,
        prompt: str = "judge",
        orders: int = 2,
        max_tokens: int = 512,
        retries: int = 2,
        retry_temperature: float = 0.7,
        seed: int = 0,
    ) -> None:
        if orders not in (1, 2):
            raise ValueError(f"judge.orders must be 1 or 2, got {orders}.")
        if retries < 0:
            raise ValueError(f"judge.retries must be at least 0, got {retries}.")
        self.client = client
        self.prompt = load_prompt(prompt, {"instruction", "answer_a", "answer_b"})
        self.orders = orders
        self.max_tokens = max_tokens
        self.retries = retries
        self.retry_temperature = retry_temperature
        self.seed = seed
        self.num_invalid = 0
        """Items set aside so far."""
        self.num_unreadable = 0
        """Judgements that could not be read so far, those of later attempts included."""

    @property
    @override
    def version(self) -> str:
        return f"{self.prompt.version} orders={self.orders} {self.client.model}"

    @override
    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        slots = [(number, swapped) for number in range(len(items)) for swapped in range(self.orders)]
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
            self.num_unreadable += len(open_slots)
            if not open_slots:
                break
        judgements = [
            _average([scores[n, s] for s in range(self.orders)], [replies[n, s].text for s in range(self.orders)], cost)
            for n, cost in enumerate(usage)
        ]
        self.num_invalid += sum(not j.valid for j in judgements)
        return judgements

    def _request(self, item: JudgeItem, swapped: bool, attempt: int) -> ChatRequest:
        first, second = (item.candidate, item.reference) if swapped else (item.reference, item.candidate)
        return self.prompt.request(
            {"instruction": item.instruction, "answer_a": first, "answer_b": second},
            temperature=self.retry_temperature if attempt else 0.0,
            max_tokens=self.max_tokens,
            seed=self.seed + attempt,
        )


def _average(scores: Sequence[Scores | None], raw: Sequence[str], usage: Usage) -> Judgement:
    """Mean over orders of (teacher, student); invalid where one order is missing, as half a pair would be biased."""
    read = [s for s in scores if s is not None]
    valid = len(read) == len(scores)
    teacher, student = (sum(column) / len(column) for column in zip(*read, strict=True)) if valid else (math.nan,) * 2
    return Judgement(score_teacher=teacher, score_student=student, valid=valid, raw=tuple(raw), usage=usage)
