"""Ratings by a scorer model, read from the probabilities of the digits instead of from one generated answer."""

from __future__ import annotations

import hashlib
import logging
import re
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import ChatTemplate, resolve_template
from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.methods.baselines.scorers.digit_answers import digit_answers
from lit_curriculum.methods.baselines.scorers.scorer import Scorer, ScorerDtype
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.types import EncodedView, Example, ExampleStore, FloatArray, Message

log = logging.getLogger(__name__)

Turns = Literal["sum", "mean", "last"]
_PLACE = re.compile(r"\{(instruction|response|lowest|highest)\}")


class DigitExpectation(TextMetric):
    """Expected rating: a model is asked for a digit, and the digits are weighed by their probabilities.

    With ``z_d`` the logit of digit ``d`` at the first position of the answer, the rating is ``sum_d d p_d`` with ``p``
    the softmax of the ``z_d`` alone. The form of Deita's scorers (which are trained for their prompts; any other
    model can be asked too). A conversation is rated turn by turn. Prompts that do not fit into the scorer's context
    are never cut: their examples have no score, and are logged. The scorer's answers are kept on disk as they come:
    rating that is killed goes on where it stopped, and the same data are not asked about twice.

    Args:
        source: Folder, hub id or GGUF file of the scorer's weights and tokenizer.
        prompt: ``complexity`` or ``quality`` (packaged), or a ``.txt`` file with ``{instruction}``, and where wanted
            ``{response}``, ``{lowest}`` and ``{highest}``. Blanks at its end are left out.
        lowest: Lowest digit.
        highest: Highest digit.
        turns: Ratings of several turns are added up (``sum``, as in Deita) or averaged (``mean``), or only the
            ``last`` turn is rated.
        template: Chat template that the prompt becomes a user's turn of (see
            :func:`~lit_curriculum.data.template.resolve_template`), or null: the answer follows the bare prompt.
        max_length: Largest number of tokens of a prompt; by default the scorer's context.
        token_budget: Padded tokens in one batch.
        dtype: Of the scorer's weights: ``float32`` or ``bfloat16``.
        attention: Attention implementation of transformers, or none for its choice.
        cache_dir: Where the scorer's answers are kept; by default the package's cache.

    Raises:
        ValueError: an option is out of range, the prompt does not exist, or (when it scores) a digit is not one
            token of the scorer.

    References:
        Liu et al. 2024, "What makes good data for alignment?" (Deita), arXiv 2312.15685, section 3.
    """

    runtime_options = frozenset({"token_budget", "cache_dir"})
    unit = "expected digit"
    loads_model = True

    def __init__(
        self,
        source: str,
        prompt: str = "complexity",
        lowest: int = 1,
        highest: int = 6,
        turns: Turns = "sum",
        template: str | None = "auto",
        max_length: int | None = None,
        token_budget: int = 2048,
        dtype: ScorerDtype = "float32",
        attention: str | None = None,
        cache_dir: str | None = None,
    ) -> None:
        if not 0 <= lowest < highest <= 9:
            raise ValueError(f"options lowest and highest must be digits, lowest first, got {lowest} and {highest}.")
        if token_budget < 1:
            raise ValueError(f"option token_budget must be at least 1 token, got {token_budget}.")
        self.scorer = Scorer(source, dtype, attention)
        self.prompt = prompt
        self.prompt_text = _read_prompt(prompt)
        self.digits = range(lowest, highest + 1)
        self.turns: Turns = turns
        self.template = template
        self.max_length = max_length
        self.token_budget = token_budget
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    @property
    def formula(self) -> str:
        name = f"{Path(self.prompt).stem}-{hashlib.sha256(self.prompt_text.encode()).hexdigest()[:8]}"
        template = "none" if self.template is None else self.template
        options = (
            self.scorer.source, self.scorer.dtype, name, f"{self.digits[0]}-{self.digits[-1]}", self.turns, template,
            "context" if self.max_length is None else str(self.max_length),
        )  # fmt: skip
        return f"digit-expectation/1({','.join(options)})"

    def score(self, examples: ExampleStore) -> FloatArray:
        return self.score_by(None, examples)

    def score_by(self, module: CausalLMModule | None, examples: ExampleStore) -> FloatArray:
        """Scores [N] by the scorer's ``module``, or by one that is loaded where it is needed."""
        tokenizer = self.scorer.tokenizer
        template = None if self.template is None else resolve_template(tokenizer, self.template)
        digit_ids = self._digit_ids(tokenizer, template)
        limit = choose_max_length(self.max_length, self.scorer.context_length, tokenizer)
        views: list[EncodedView] = []
        owner: list[int] = []
        unscorable: list[int] = []
        for i in range(len(examples)):
            found = [self._tokens(tokenizer, self._render(template, *pair)) for pair in self._pairs(examples[i])]
            if not found or max(len(ids) for ids in found) > limit:
                unscorable.append(i)
                continue
            views += [EncodedView(ids, np.zeros(len(ids), np.bool_)) for ids in found]
            owner += [i] * len(found)
        answers = digit_answers(self.scorer, module, views, digit_ids, self.token_budget, self.cache_dir)
        ratings = self.rate(torch.from_numpy(answers)).numpy()
        if unscorable:
            first = examples[unscorable[0]]
            log.warning(
                "%s does not rate %d of %d examples, first %s (%s): the prompt is longer than %d tokens, or there is "
                "no turn to rate.", self.scorer.source, len(unscorable), len(examples), first.id, first.source, limit,
            )  # fmt: skip
        total = np.bincount(owner, ratings, len(examples))
        count = np.bincount(owner, minlength=len(examples))
        share = total / np.maximum(count, 1) if self.turns == "mean" else total
        return np.where(count > 0, share, np.nan)

    def _pairs(self, example: Example) -> list[tuple[str, str]]:
        """The user's words since the last answer, and the answer, turn by turn."""
        pairs: list[tuple[str, str]] = []
        asked: list[str] = []
        for message in example.messages:
            if message.role == "user":
                asked.append(message.content)
            elif message.role == "assistant" and asked:
                pairs.append(("\n".join(asked), message.content))
                asked = []
        return pairs[-1:] if self.turns == "last" else pairs

    def _render(self, template: ChatTemplate | None, instruction: str, response: str) -> str:
        fields = {
            "instruction": instruction,
            "response": response,
            "lowest": str(self.digits[0]),
            "highest": str(self.digits[-1]),
        }
        # In one pass, so that braces in the texts themselves stay as they are.
        text = _PLACE.sub(lambda place: fields[place[1]], self.prompt_text)
        if template is None:
            return text
        return template.render((Message(role="user", content=text),), "option template", add_generation_prompt=True)

    def _tokens(self, tokenizer: PreTrainedTokenizerBase, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        # A rendered template brings its special tokens along; a bare prompt gets the tokenizer's own.
        ids = tokenizer(text, add_special_tokens=self.template is None, verbose=False)["input_ids"]
        return np.array(ids, dtype=np.int32)

    def _digit_ids(self, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None) -> list[int]:
        """The token that each digit is right behind the prompt.

        Raises:
            ValueError: one of them is not one token there.
        """
        text = self._render(template, "x", "x")
        # Without what a tokenizer puts at the end of every text, which would stand behind the digit.
        before = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        found = []
        for digit in self.digits:
            ids = list(tokenizer(f"{text}{digit}", add_special_tokens=False)["input_ids"])
            if len(ids) != len(before) + 1 or ids[:-1] != before or ids[-1] in found:
                raise ValueError(
                    f"the digit {digit} is not a token of its own for {self.scorer.source} behind the prompt "
                    f"{self.prompt!r}, so its probability cannot be read; choose another scorer, prompt or template."
                )
            found.append(ids[-1])
        return found

    def rate(self, probabilities: Tensor) -> Tensor:
        """Ratings [B] from the probabilities [B, K] of the digits, in fp64."""
        return probabilities @ torch.tensor(list(self.digits), dtype=torch.float64, device=probabilities.device)


def _read_prompt(prompt: str) -> str:
    folder = resources.files("lit_curriculum.methods.baselines.scorers").joinpath("prompts")
    names = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
    if prompt in names:
        text = folder.joinpath(f"{prompt}.txt").read_text(encoding="utf-8")
    elif prompt.endswith(".txt") and Path(prompt).is_file():
        text = Path(prompt).read_text(encoding="utf-8")
    else:
        raise ValueError(f"option prompt: {prompt} is none of {', '.join(names)} and no .txt file that exists.")
    if "{instruction}" not in text:
        raise ValueError(f"option prompt: {prompt} has no place {{instruction}}, so all examples would rate the same.")
    # Behind a blank, most tokenizers have no token that is the digit alone.
    return text.rstrip()
