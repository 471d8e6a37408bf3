"""New instructions from seeds, by a chat model, with guards against what is useless or known.

References:
    TAPIR (arXiv 2405.13448), section 3: one seed and its task type a call. The guards follow in spirit those of Lion
    (Jiang et al. 2023) and Self-Instruct (Wang et al. 2022): ROUGE-L above 0.7 with any known instruction rejects.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, Usage
from lit_curriculum.difficulty.words import WordSplitter
from lit_curriculum.methods.tapir.roles import Expander, Expansion, NewInstruction, TaskItem
from lit_curriculum.methods.tapir.teacher.prompting import load_prompt
from lit_curriculum.utils.options import check_range

_TASK = re.compile(r"<task>(.*?)</task>", re.DOTALL)
_INPUT = re.compile(r"<input>(.*?)</input>", re.DOTALL)
_INPUT_NOTE = (
    " The task above comes with a text to work on; write such a text for yours as well, between <input> and </input>, "
    "after the task."
)
_MAX_LENGTH_RATIO = 4.0
"""Words of a new instruction over words of its seed at most, and the other way round."""
_ascii_words = WordSplitter("words")


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE-L compares; an apostrophe separates."""
    return _ascii_words(text.replace("'", " "))


def rouge_l(a: list[str], b: list[str]) -> float:
    """F-measure of the longest common subsequence of two lists of words, in [0, 1]."""
    common = _longest_common_subsequence(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


def _longest_common_subsequence(a: list[str], b: list[str]) -> int:
    # Bit-parallel (Hyyro 2004): a bit of `row` is 0 where the table grows; Python's integers are as wide as `a`.
    places: dict[str, int] = {}
    for position, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << position
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        matches = row & places.get(word, 0)
        row = (row + matches) | (row - matches)
    return len(a) - (row & full).bit_count()


class NearDuplicates:
    """All texts so far, and whether a new one resembles any of them.

    The longest common subsequence holds no more words than the two texts share, so pairs that share too few are left
    out by an inverted index; only the others are compared. The answer is that of comparing all.

    Args:
        threshold: A ROUGE-L above this is a resemblance.
        known: Texts to begin with.

    Raises:
        ValueError: the threshold is out of range.
    """

    def __init__(self, threshold: float = 0.7, known: Iterable[str] = ()) -> None:
        check_range("expander", "(0, 1]", dedupe_rouge=threshold)
        self.threshold = threshold
        self._texts: set[str] = set()
        self._words: list[list[str]] = []
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for text in known:
            self.add(text)

    def add(self, text: str) -> None:
        """Know one more text."""
        if text in self._texts:
            return
        self._texts.add(text)
        words = rouge_words(text)
        for word, count in Counter(words).items():
            self._postings.setdefault(word, []).append((len(self._words), count))
        self._words.append(words)

    def is_known(self, text: str) -> bool:
        """Whether exactly this text is known."""
        return text in self._texts

    def resembles(self, text: str) -> bool:
        """Whether the ROUGE-L with a known text is above the threshold."""
        words = rouge_words(text)
        shared: Counter[int] = Counter()
        for word, count in Counter(words).items():
            for number, other in self._postings.get(word, ()):
                shared[number] += min(count, other)
        return any(
            2 * common > self.threshold * (len(words) + len(self._words[number]))
            and rouge_l(words, self._words[number]) > self.threshold
            for number, common in shared.items()
        )


class PromptExpander(Expander):
    """Ask a chat model for a task of the same type and difficulty as a seed.

    What is rejected is counted by reason in :attr:`rejected`: ``refused`` (the server's error), ``cut_by_length``,
    ``unreadable`` (no single pair of tags), ``too_short``, ``starts_with_punctuation``, ``length`` (more than
    four times as long as the seed, or that much shorter), ``exact_duplicate`` and ``near_duplicate``.

    Args:
        client: The chat model.
        prompt: Prompt of the package, or a file with the places ``task``, ``question``, ``input_note``.
        temperature: Of the draws.
        max_tokens: Tokens of one reply at most.
        min_words: An instruction of fewer words is too short.
        dedupe_rouge: ROUGE-L above which a new instruction is too close to a known one, in (0, 1].
        attempts_per_item: Calls at most, as a multiple of the number of instructions wanted.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        client: ChatClient,
        prompt: str = "expand",
        temperature: float = 1.0,
        max_tokens: int = 512,
        min_words: int = 4,
        dedupe_rouge: float = 0.7,
        attempts_per_item: float = 3.0,
    ) -> None:
        check_range(self, "[1, inf)", attempts_per_item=attempts_per_item)
        NearDuplicates(dedupe_rouge)
        self.client = client
        self.prompt = load_prompt(prompt, {"task", "question", "input_note"})
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.min_words = min_words
        self.dedupe_rouge = dedupe_rouge
        self.attempts_per_item = attempts_per_item
        self.rejected: Counter[str] = Counter()
        """Replies that became no instruction, by reason."""

    @override
    def expand(self, seeds: Sequence[TaskItem], num: int, known: Sequence[str], seed: int = 0) -> Expansion:
        """See the base class; each wave asks for as many as are still missing, so few calls are in vain.

        Raises:
            ChatStoppedError: the client stopped. Its cache holds what was paid for.
        """
        near = NearDuplicates(self.dedupe_rouge, [*known, *(s.question for s in seeds)])
        accepted: list[NewInstruction] = []
        wasted = Usage()
        asked = 0
        limit = int(num * self.attempts_per_item)
        while seeds and len(accepted) < num and asked < limit:
            wave = range(asked, min(limit, asked + num - len(accepted)))
            parents = [seeds[i % len(seeds)] for i in wave]
            # The turn number in the seed lets one seed be asked again for something else.
            requests = [
                self.prompt.request(
                    {"task": p.task or "any", "question": p.question, "input_note": _INPUT_NOTE if p.input else ""},
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                    seed=seed + i // len(seeds),
                )
                for p, i in zip(parents, wave, strict=True)
            ]
            asked = wave.stop
            for parent, reply in zip(parents, self.client.chat_many(requests, "expander"), strict=True):
                found = self._check(parent, reply, near)
                if isinstance(found, str):
                    self.rejected[found] += 1
                    wasted += reply.usage
                    continue
                near.add(found.question)
                accepted.append(
                    NewInstruction(
                        parent_id=parent.id,
                        instruction=found.instruction,
                        input=found.input,
                        task=parent.task,
                        prompt_version=self.prompt.version,
                        model=self.client.model,
                        usage=reply.usage,
                    )
                )
        return Expansion(accepted, wasted, asked - len(accepted))

    def _check(self, parent: TaskItem, reply: ChatReply, near: NearDuplicates) -> TaskItem | str:
        """The new instruction, or the reason for its rejection."""
        if reply.finish_reason != "stop":
            return "cut_by_length" if reply.finish_reason == "length" else "refused"
        tasks, inputs = _TASK.findall(reply.text), _INPUT.findall(reply.text)
        if len(tasks) != 1 or len(inputs) > 1 or (parent.input and not inputs):
            return "unreadable"
        new = TaskItem(id="", instruction=tasks[0].strip(), input=inputs[0].strip() if parent.input else "")
        num_words = len(rouge_words(new.question))
        if len(rouge_words(new.instruction)) < self.min_words:
            return "too_short"
        if unicodedata.category(new.instruction[0])[0] in "PSC":
            return "starts_with_punctuation"
        ratio = num_words / max(1, len(rouge_words(parent.question)))
        if not 1 / _MAX_LENGTH_RATIO <= ratio <= _MAX_LENGTH_RATIO:
            return "length"
        if near.is_known(new.question):
            return "exact_duplicate"
        return "near_duplicate" if near.resembles(new.question) else new
