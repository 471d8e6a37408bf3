"""What a run on real data is worth elsewhere: multiple choice, GSM8K, MATH and IFEval, on few items each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.ablation import Measures
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator
from lit_curriculum.evaluation.options import EvalOptions
from lit_curriculum.evaluation.summary import summarise
from lit_curriculum.evaluation.tasks import load_items
from lit_curriculum.models.causal_lm import CausalLMModule

FILES = {
    "multiple_choice": "mc_suite.jsonl.gz",
    "gsm8k": "gsm8k_test_dev.jsonl.gz",
    "math": "math500.jsonl.gz",
    "ifeval": "ifeval.jsonl.gz",
}
"""Format -> file; the first items of the suite of multiple choice are ARC's easy ones."""
GENERATED = tuple(name for name in FILES if name != "multiple_choice")
"""Tasks that need answers to be written, which a processor is slow at."""


def scores(
    model: CausalLMModule, template: str, folder: Path, tasks: Sequence[str], items: int, max_new_tokens: int
) -> Measures:
    """Share of right answers on the first ``items`` of every task.

    Args:
        model: After training, its trainer still attached.
        template: Name of the chat template of training.
        folder: Folder of the evaluation files.
        tasks: Names of :data:`FILES`.
        items: Of each.
        max_new_tokens: Tokens of a written answer at most.
    """
    tokenizer = model.trainer.datamodule.tokenizer  # type: ignore[attr-defined]
    options = EvalOptions(max_length=model.context_length or 2048, max_new_tokens=max_new_tokens)
    asked = [item for task in tasks for item in load_items(folder / FILES[task], task, items)]
    training = model.training
    model.eval()
    found = summarise(Evaluator(resolve_template(tokenizer, template), options).evaluate(model, asked))
    model.train(training)
    return {f"right answers, {score.task}": score.score for score in found}
