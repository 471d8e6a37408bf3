"""Worked examples before a question: MMLU's rows of dev, and BIG-Bench Hard's prompts with reasoning."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.tasks.read import list_files, need, read_records

_BBH_RULE = "-----"
"""What parts the canary of the published prompts from the prompt."""
_BBH_QUESTION = "\n\nQ: "


def with_mmlu_shots(items: Sequence[EvalItem], path: Path, shots: int) -> list[EvalItem]:
    """MMLU's items, each after the first ``shots`` rows of dev of its subject with their letters.

    Args:
        items: From :func:`~lit_curriculum.evaluation.tasks.benchmarks.mmlu`.
        path: The file, or folder of files, that they are from; it holds the rows of dev too.
        shots: Worked examples; the benchmark's authors take 5.

    Raises:
        ValueError: a subject has fewer rows of dev.
    """
    shown: dict[str, list[str]] = defaultdict(list)
    for file in list_files(path):
        for where, record in read_records(file):
            if record.get("split") == "dev":
                letter = string.ascii_uppercase[int(need(record, "answer", where))]
                options = zip(string.ascii_uppercase, need(record, "choices", where), strict=False)
                body = "\n".join(f"{name}. {option}" for name, option in options)
                question = str(need(record, "question", where)).strip()
                shown[f"mmlu/{need(record, 'subject', where)}"].append(f"{question}\n{body}\nAnswer: {letter}\n\n")
    out = []
    for item in items:
        found = shown[item.task][:shots]
        if len(found) < shots:
            raise ValueError(f"{item.source}: {item.task} has {len(found)} rows of dev, {shots} shots were asked for.")
        assert item.prompt is not None
        head, question = item.prompt.split("\n\n", 1)
        out.append(replace(item, prompt=f"{head}\n\n{''.join(found)}{question}"))
    return out


def with_bbh_prompts(items: Sequence[EvalItem], path: Path) -> list[EvalItem]:
    """BBH's items as plain text behind the worked examples of their task, to be reasoned about step by step.

    Args:
        items: From :func:`~lit_curriculum.evaluation.tasks.benchmarks.bbh`, with ``input`` in the question.
        path: Records of ``task`` and ``prompt``.

    Raises:
        ValueError: there is no prompt for a task.

    References:
        Suzgun et al. 2022, arXiv 2210.09261, section 2.
    """
    prompts = {}
    for where, record in read_records(path):
        text = str(need(record, "prompt", where))
        prompts[f"bbh/{need(record, 'task', where)}"] = text.split(_BBH_RULE, 1)[-1].strip()
    out = []
    for item in items:
        if item.task not in prompts:
            raise ValueError(f"{item.source}: {path.name} has no prompt for {item.task}; give one for every task.")
        question = item.messages[-1].content.rsplit("\n", 1)[0]
        prompt = f"{prompts[item.task]}{_BBH_QUESTION}{question}\nA: Let's think step by step.\n"
        out.append(replace(item, messages=(), prompt=prompt, meta={**item.meta, "until": [_BBH_QUESTION.rstrip()]}))
    return out
