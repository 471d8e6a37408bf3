"""Ratings by a scorer model, read from its probabilities of the digits."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import ChatTemplate, resolve_template
from lit_curriculum.data.tokenize import Tokenizer
from lit_curriculum.difficulty.base import TextMetric
from lit_curriculum.difficulty.batching import pack_by_tokens, pack_unknown, sequence_digest
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.summary_cache import open_cache
from lit_curriculum.methods.baselines.scorers.scorer import Scorer, ScorerDtype, ScorerModel
from lit_curriculum.models.execution.token_nll import check_headless, next_token_logits
from lit_curriculum.types import Batch, EncodedView, Example, ExampleStore, FloatArray, IntArray, Message
from lit_curriculum.utils.distributed import broadcast_object, rank_and_world, scatter
from lit_curriculum.utils.float64 import to_float64
from lit_curriculum.utils.progress import display

_log = logging.getLogger(__name__)

_PLACE = re.compile(r"\{(instruction|response|lowest|highest)\}")
_TOKEN_BUDGET = 2048
"""Padded tokens in one batch."""


class DigitExpectation(TextMetric):
    """Expected rating: a model is asked for a digit, and the digits are weighed by their probabilities.

    With ``z_d`` the logit of digit ``d`` at the first position of the answer, the rating is ``sum_d d p_d`` with ``p``
    the softmax of the ``z_d`` alone. The form of Deita's scorers (which are trained for their prompts; any other
    model can be asked too), with digits from 1 to 6 and the ratings of a conversation's turns added up. Prompts that do
    not fit into the scorer's context are never cut: their examples have no score, and are logged. The scorer's answers
    are kept on disk as they come: rating that was killed resumes, and the same data are rated only once.

    Args:
        source: Folder, hub id or GGUF file of the scorer's weights and tokenizer.
        prompt: ``complexity`` or ``quality`` (packaged), or a ``.txt`` file with ``{instruction}``, and where wanted
            ``{response}``, ``{lowest}`` and ``{highest}``. Blanks at its end are left out.
        template: Chat template that the prompt becomes a user's turn of (see
            :func:`~lit_curriculum.data.template.resolve_template`), or null: the answer follows the bare prompt.
        dtype: Of the scorer's weights: ``float32`` or ``bfloat16``.
        cache_dir: Where the scorer's answers are kept; by default the package's cache.

    Raises:
        ValueError: the prompt does not exist, or (when it scores) a digit is not one token of the scorer.

    References:
        Liu et al. 2024, "What makes good data for alignment?" (Deita), arXiv 2312.15685, section 3.
    """

    runtime_options = frozenset({"cache_dir"})
    unit = "expected digit"
    loads_model = True
    digits: ClassVar[range] = range(1, 7)
    turns: ClassVar[str] = "sum"
    """Whether the ratings of several turns are a ``sum`` (Deita) or a ``mean`` (SelectIT)."""

    def __init__(
        self,
        source: str,
        prompt: str = "complexity",
        template: str | None = "auto",
        dtype: ScorerDtype = "float32",
        cache_dir: str | None = None,
    ) -> None:
        self.scorer = Scorer(source, dtype)
        self.prompt, self.prompt_text, self.template = prompt, _read_prompt(prompt), template
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    @property
    def formula(self) -> str:
        name = f"{Path(self.prompt).stem}-{hashlib.sha256(self.prompt_text.encode()).hexdigest()[:8]}"
        template = "none" if self.template is None else self.template
        options = (
            self.scorer.source, self.scorer.dtype, name, f"{self.digits[0]}-{self.digits[-1]}", self.turns, template,
            "context",
        )  # fmt: skip
        return f"digit-expectation/1({','.join(options)})"

    def score(self, examples: ExampleStore) -> FloatArray:
        return self.score_by(None, examples)

    def score_by(self, module: ScorerModel | None, examples: ExampleStore) -> FloatArray:
        """Scores [N] by the scorer's ``module``, or by one that is loaded where it is needed."""
        tokenizer = self.scorer.tokenizer
        template = None if self.template is None else resolve_template(tokenizer, self.template)
        digit_ids = self._digit_ids(tokenizer, template)
        limit = choose_max_length(None, self.scorer.context_length, tokenizer)
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
        answers = digit_answers(self.scorer, module, views, digit_ids, self.cache_dir)
        ratings = self.rate(torch.from_numpy(answers)).numpy()
        if unscorable:
            first = examples[unscorable[0]]
            _log.warning(
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
        return pairs

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

    def _tokens(self, tokenizer: Tokenizer, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        # A rendered template brings its special tokens along; a bare prompt gets the tokenizer's own.
        ids = tokenizer(text, add_special_tokens=self.template is None, verbose=False)["input_ids"]
        return np.array(ids, dtype=np.int32)

    def _digit_ids(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> list[int]:
        """The token that each digit is right behind the prompt.

        Raises:
            ValueError: one of them is not one token there.
        """
        text = self._render(template, "x", "x")
        # Without what a tokenizer puts at the end of every text, which would come after the digit.
        before = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        found = []
        for digit in self.digits:
            ids = list(tokenizer(f"{text}{digit}", add_special_tokens=False)["input_ids"])
            if len(ids) != len(before) + 1 or ids[:-1] != before or ids[-1] in found:
                raise ValueError(
                    f"the digit {digit} is not one token for {self.scorer.source} after the prompt "
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


def digit_answers(
    scorer: Scorer,
    module: ScorerModel | None,
    prompts: Sequence[EncodedView],
    digit_ids: Sequence[int],
    home: Path | None = None,
) -> FloatArray:
    """Probabilities [U, K] of the tokens ``digit_ids``, among these alone, right behind each prompt.

    Answers are kept on disk. A second call with the same prompts, also after a kill, runs the model only on what is
    missing; all answers are the same to the last bit.

    Args:
        scorer: The model.
        module: It, where it is loaded already.
        prompts: Token ids of each; nothing of them is scored.
        digit_ids: K of them.
        home: Folder that the answers are kept in; by default the package's cache.

    Raises:
        ValueError: an answer is NaN or infinite.
    """
    answers = np.zeros((len(prompts), len(digit_ids)))
    if not prompts:
        return answers
    module = scorer.load() if module is None else module
    model, device, rank = module.model, scorer.device, rank_and_world()[0]
    assert model is not None
    headless = check_headless(model)
    fingerprint = model_fingerprint(module)
    assert fingerprint is not None, "a scorer is whole on every process"
    summary = f"digit-probabilities/1({','.join(map(str, digit_ids))})"
    names = b"".join(sequence_digest(prompt) for prompt in prompts)
    digests = np.frombuffer(names, dtype=np.uint64).reshape(-1, 2)
    own = hashlib.blake2b(f"{_TOKEN_BUDGET} ".encode() + names, digest_size=8).hexdigest()
    cache = open_cache(own, fingerprint, device, "none", rank, home, same_data_only=True)
    known, kept = broadcast_object(cache.known([summary], digests), device)
    if known.any():
        answers[known] = kept[summary]
    lengths: IntArray = np.array([len(prompt.input_ids) for prompt in prompts], dtype=np.int64)
    batches = pack_unknown(known, lambda items: pack_by_tokens(lengths[items], _TOKEN_BUDGET))

    def ask(mine: list[IntArray]) -> list[FloatArray]:
        found: list[FloatArray] = []
        done, total = 0, int(sum(lengths[rows].sum() for rows in mine))
        with display(f"Rating with {scorer.name}", " tok") as progress:
            for rows in mine:
                batch = Batch.from_views([(int(i), 1.0, prompts[i]) for i in rows]).to(device)
                found.append(digit_probabilities(model, batch, headless, digit_ids).cpu().numpy())
                # What shows that the model is broken is not kept.
                if np.isfinite(found[-1]).all():
                    cache.append(digests[rows], {summary: found[-1]})
                done += int(lengths[rows].sum())
                progress(done, total)
        return found

    try:
        for rows, found in zip(batches, scatter(batches, ask, together=False), strict=True):
            answers[rows] = found
    finally:
        cache.close()
    if not np.isfinite(answers).all():
        raise ValueError(f"{scorer.source} gives NaN or infinite logits; its weights are broken.")
    return answers


@torch.no_grad()
def digit_probabilities(model: nn.Module, batch: Batch, headless: bool, digit_ids: Sequence[int]) -> Tensor:
    """[B, K] probabilities, among these tokens alone, of the token that follows each row, in fp64."""
    return to_float64(next_token_logits(model, batch, headless)[:, list(digit_ids)]).softmax(dim=1)
