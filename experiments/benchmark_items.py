"""What a run on real data is worth elsewhere: multiple choice, GSM8K, MATH and IFEval, on few items each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.ablation import Measures
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator, check_items
from lit_curriculum.evaluation.items import EvalItem, EvalOptions
from lit_curriculum.evaluation.summary import summarise
from lit_curriculum.evaluation.tasks.load import load_items
from lit_curriculum.models.causal_lm import CausalLMModule

FILES = {
    "multiple_choice": "mc_suite.jsonl.gz",
    "gsm8k": "gsm8k_test_dev.jsonl.gz",
    "math": "math500.jsonl.gz",
    "ifeval": "ifeval.jsonl.gz",
}
"""Format -> file; the first items of the suite of multiple choice are ARC's easy ones."""
GENERATED = tuple(name for name in FILES if name != "multiple_choice")
"""Tasks whose answers are generated, which is slow on a CPU."""


def load(folder: Path, tasks: Sequence[str], items: int) -> list[EvalItem]:
    """The first ``items`` of every task.

    Raises:
        ValueError: a file is missing, or its items could not be judged here.
    """
    asked = [item for task in tasks for item in load_items(folder / FILES[task], task, items)]
    check_items(asked)
    return asked


def scores(model: CausalLMModule, template: str, asked: Sequence[EvalItem], max_new_tokens: int) -> Measures:
    """Share of right answers of every task.

    Args:
        model: After training, its trainer still attached.
        template: Name of the chat template of training.
        asked: The items of all tasks.
        max_new_tokens: Tokens of a written answer at most.
    """
    tokenizer = model.trainer.datamodule.tokenizer  # type: ignore[attr-defined]
    options = EvalOptions(max_length=model.context_length or 2048, max_new_tokens=max_new_tokens)
    training = model.training
    model.eval()
    found = summarise(Evaluator(resolve_template(tokenizer, template), options).evaluate(model, asked))
    model.train(training)
    return {f"right answers, {score.task}": score.score for score in found}


@dataclass(frozen=True)
class Elsewhere:
    """Benchmarks that a trained model is tried on."""

    folder: Path
    tasks: Sequence[str]
    items: int
    max_new_tokens: int

    @property
    def config(self) -> dict[str, Any]:
        """What has to be equal for cells to be compared."""
        return {"tasks": list(self.tasks), "items of a task": self.items, "max_new_tokens": self.max_new_tokens}

    @cached_property
    def asked(self) -> list[EvalItem]:
        """The items; what cannot be judged is refused."""
        return load(self.folder, self.tasks, self.items)

    def measures(self, model: CausalLMModule, template: str) -> Measures:
        """What the model is worth there."""
        return scores(model, template, self.asked, self.max_new_tokens)
