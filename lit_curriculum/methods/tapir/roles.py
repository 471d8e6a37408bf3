"""Interfaces of TAPIR's roles (judge, teacher, expander, refiner, classifier) and the records that pass between them.

All traffic between models is text. Every role takes a batch and returns a batch, so the chat client alone decides on
concurrency.

References:
    Yue et al., Distilling Instruction-following Abilities of Large Language Models with Task-aware Curriculum
    Planning, arXiv 2405.13448, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from lit_curriculum.chat.client import ChatClient as ChatClient
from lit_curriculum.chat.client import ChatReply as ChatReply
from lit_curriculum.chat.client import ChatRequest as ChatRequest
from lit_curriculum.chat.client import ChatStoppedError as ChatStoppedError
from lit_curriculum.chat.client import Usage as Usage
from lit_curriculum.utils.options import Configured

Origin = Literal["raw", "expanded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskItem:
    """An instruction with its task; a seed for the expander, a question for the teacher, a row for the refiner."""

    id: str
    instruction: str
    input: str = ""
    output: str = ""
    task: str = ""

    @property
    def question(self) -> str:
        """Instruction and input field, as a model is asked."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


class JudgeItem(NamedTuple):
    """What a pair judge compares."""

    instruction: str
    reference: str
    """The teacher's answer."""
    candidate: str
    """The student's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Scores of a pair of answers, 1 to 10; NaN where the judge's answer could not be read."""

    score_teacher: float
    score_student: float
    valid: bool
    raw: tuple[str, ...] = ()
    """What the judge wrote, one text for each order."""
    usage: Usage = field(default_factory=Usage)


class PairJudge(Configured, ABC):
    """Rates a reference and a candidate answer on one scale."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Id of the prompt or rule that the scores come from, with the model's name."""

    @abstractmethod
    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        """One judgement for each item; an item that can't be judged is marked invalid, never guessed."""


class TaskPrediction(NamedTuple):
    """Task types of some texts."""

    labels: list[str]
    probabilities: list[float]
    """Of the label, in [0, 1]; NaN where the classifier gives none."""
    usages: Sequence[Usage] = ()
    """What each label has cost; empty where none has cost anything."""
    num_failed: int = 0
    """Answers that named no type, so that the label is the fallback."""


class TaskClassifier(Configured, ABC):
    """From an instruction (with its input, without an answer) to its task type."""

    @abstractmethod
    def predict(self, texts: Sequence[str]) -> TaskPrediction:
        """The most likely type of each text."""

    def check_ready(self) -> None:
        """Called before a run that will ask it begins.

        Raises:
            ValueError: it was never trained.
        """
        return

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Learn from labelled texts.

        Raises:
            ValueError: this classifier cannot be trained.
        """
        del texts, labels
        raise ValueError(f"tasks.classifier: {type(self).__name__} has nothing to train; use predict alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstruction:
    """An instruction that the expander wrote."""

    parent_id: str
    instruction: str
    input: str
    task: str
    """The type that was asked for; a classifier may see it otherwise."""
    prompt_version: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)


class Expansion(NamedTuple):
    """What the expander wrote, and what it threw away."""

    written: list[NewInstruction]
    rejected: Usage = Usage()
    """What the replies have cost that became no instruction."""
    num_rejected: int = 0


class Expander(Configured, ABC):
    """Writes new instructions of the same task and difficulty as seeds."""

    @abstractmethod
    def expand(self, seeds: Sequence[TaskItem], num: int, known: Sequence[str], seed: int = 0) -> Expansion:
        """At most ``num`` new instructions; fewer where the attempts allowed were rejected.

        Args:
            seeds: Used in turn, each as often as needed; the new instruction has its seed's ``task``.
            num: New instructions wanted.
            known: All instructions so far (with inputs); a new one resembles none of them.
            seed: What the draws depend on beside the seeds.
        """


class Answer(NamedTuple):
    """A teacher's answer."""

    text: str
    complete: bool
    """False where it was cut by length or refused."""
    usage: Usage


class Teacher(Configured, ABC):
    """Answers instructions."""

    @abstractmethod
    def answer(self, items: Sequence[TaskItem]) -> list[Answer]:
        """One answer for each item."""


class Refinement(NamedTuple):
    """An answer after refinement."""

    output: str
    refined: bool
    """False where the mode leaves this task alone or the rewriting failed; then ``output`` is unchanged."""
    usage: Usage
    failed: bool = False
    """True where a rewriting was asked for and could not be used."""


class Refiner(Configured, ABC):
    """Rewrites answers in the style that their task asks for."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Id of the prompts and of the style table."""

    @abstractmethod
    def refine(self, items: Sequence[TaskItem]) -> list[Refinement]:
        """One refinement for each item, from its ``output``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceRow:
    """Provenance of one example of a TAPIR run; exported as JSON lines and Parquet."""

    id: str
    parent_id: str = ""
    origin: Origin = "raw"
    round: int = 0
    """0 for the raw data, r for what round r added."""
    instruction: str
    input: str = ""
    output: str
    output_before_refine: str = ""
    task: str = ""
    task_prob: float = float("nan")
    student_output: str = ""
    score_teacher: float = float("nan")
    score_student: float = float("nan")
    gap: float = float("nan")
    judge_raw: tuple[str, ...] = ()
    judge_version: str = ""
    """Prompt or rule, and model, that the scores come from."""
    refined: bool = False
    weight: float = 0.0
    """Sum of the loss weights with which the stage at hand takes the example: in sampling mode the number of its draws,
    in weight mode that times its weight, 0 where it is not drawn. Over all rows it adds up to the stage's rows."""
    prompt_version: str = ""
    """Of all prompts or rules that wrote the instruction or the output, in their order."""
    model: str = ""
    """All models that wrote them."""
    cost_calls: int = 0
    """Calls that this example has cost in all roles, its judging and sorting included; tokens likewise."""
    cost_prompt_tokens: int = 0
    cost_completion_tokens: int = 0

    def paid(self, usage: Usage) -> ProvenanceRow:
        """The row with ``usage`` added to its costs."""
        return replace(
            self,
            cost_calls=self.cost_calls + usage.calls,
            cost_prompt_tokens=self.cost_prompt_tokens + usage.prompt_tokens,
            cost_completion_tokens=self.cost_completion_tokens + usage.completion_tokens,
        )
