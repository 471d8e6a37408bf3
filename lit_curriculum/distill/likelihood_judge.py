"""A pair judge that reads scores off a local model's probabilities, so that a small model's answer can be read always.

References:
    TAPIR (arXiv 2405.13448), section 3, for the pair of scores; the expected value over digit tokens is read as in
    Deita (Liu et al., arXiv 2312.15685, section 2), here within one judgement of two answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from typing_extensions import override

from lit_curriculum.distill.chat import Usage
from lit_curriculum.distill.local_client import LocalClient
from lit_curriculum.distill.prompting import load_prompt
from lit_curriculum.distill.roles import JudgeItem, Judgement, PairJudge
from lit_curriculum.doubles import in_double

_DIGITS = range(1, 10)


class LikelihoodJudge(PairJudge):
    """Asks for two scores from 1 to 9 and takes the expected value of each, in both orders, averaged.

    The model's reply is begun for it (``Score A:``); what counts are its probabilities of the nine digits. The most
    likely one stands in the reply when the second score is read. Scores are no whole numbers, and nothing is ever
    unreadable, which says nothing about how good they are.

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
            shares = in_double(output.logits[0, -1, digits]).softmax(dim=-1).tolist()
            found.append(sum(d * p for d, p in zip(_DIGITS, shares, strict=True)))
            text += f"{_DIGITS[shares.index(max(shares))]}\n"
        return (found[0], found[1]), len(known)

    def _digit_tokens(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens of ``text`` before a digit, and the token of each digit after it.

        Raises:
            ValueError: a digit is not one token of its own there.
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
