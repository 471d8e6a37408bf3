"""``lit-curriculum evaluate``: any model on any tasks; a line for every item and a table with intervals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from lit_curriculum import hub
from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import resolve_template
from lit_curriculum.distill.roles import JudgeItem, PairJudge
from lit_curriculum.evaluation.evaluator import Evaluator, Judge
from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.options import EvalOptions, MathRule
from lit_curriculum.evaluation.ranked import LogitStep, Norm
from lit_curriculum.evaluation.scorer import Scorer, ScorerDtype
from lit_curriculum.evaluation.summary import TaskScore, item_line, summarise
from lit_curriculum.evaluation.tasks import FORMATS, load_items
from lit_curriculum.models import checkpoint as checkpoints
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.export import load_module

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def evaluate_command(args: Sequence[str]) -> None:
    """Evaluate a model folder, hub id, GGUF file or checkpoint on files of tasks.

    Writes to ``--out``: ``items.jsonl`` (every item: score, gold, answer, reason), ``results.json`` and
    ``results.md`` (every task: score with its 95 % interval, chance, kappa, loss).

    Raises:
        ValueError: a task is not given as FORMAT=FILE, or an option or a file is refused.
    """
    given = _parser().parse_args(list(args))
    tasks = [_task(text, given.limit) for text in given.task]
    items = [item for found in tasks for item in found]
    module, tokenizer = load(given.model, given.dtype)
    options = EvalOptions(
        max_length=choose_max_length(given.max_length, module.context_length, tokenizer),
        max_new_tokens=given.max_new_tokens, token_budget=given.token_budget, logit_step=given.logit_step,
        ppl_norm=given.ppl_norm, math=given.math, run_code=given.run_code, code_samples=given.code_samples,
        code_temperature=given.code_temperature, pass_at=given.pass_at, seed=given.seed,
    )  # fmt: skip
    results = Evaluator(resolve_template(tokenizer, given.template), options).evaluate(module, items)
    rows = summarise(results)
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "items.jsonl").open("w", encoding="utf-8") as file:
        for result in results:
            file.write(json.dumps(item_line(result), ensure_ascii=False) + "\n")
    said = {"model": given.model, "tasks": given.task, "options": asdict(options), "rows": [asdict(r) for r in rows]}
    (given.out / "results.json").write_text(json.dumps(said, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    table = as_table(rows)
    (given.out / "results.md").write_text(table, encoding="utf-8")
    print(table, end="")


def load(source: str, dtype: ScorerDtype = "float32") -> tuple[CausalLMModule, PreTrainedTokenizerBase]:
    """A model on the GPU if there is one, in evaluation mode, and its tokenizer with the chat template in use.

    Args:
        source: Folder, hub id or GGUF file, or a ``.ckpt`` file of a run.
        dtype: Of the weights; a checkpoint keeps its own.

    Raises:
        ValueError: the source cannot be read, or a checkpoint does not say where its tokenizer comes from.
    """
    if source.endswith(".ckpt"):
        module = load_module(Path(source)).eval()
        if module.tokenizer_source is None:
            raise ValueError(f"{source} does not say where its tokenizer comes from; export it as a folder first.")
        tokenizer = hub.load_tokenizer(module.tokenizer_source, revision=module.revision)
        template = checkpoints.read(Path(source))[1]["chat_template"]
        if template is not None:
            tokenizer.chat_template = template
    else:
        scorer = Scorer(source, dtype)
        module, tokenizer = scorer.load(), scorer.tokenizer
    # Without a trainer the module does not know the template, whose end of turn ends an answer.
    module._data_tokenizer = lambda: tokenizer  # type: ignore[method-assign]
    return module.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def pair_scores(judge: PairJudge) -> Judge:
    """A pair judge as what the evaluator asks: 1 where the answer beats the reference, 0.5 for a tie.

    Raises:
        ValueError: (when it judges) the judge's answer on a pair could not be read; a guess would hide that.
    """

    def scores(pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        found = judge.judge([JudgeItem(*pair) for pair in pairs])
        broken = sum(not one.valid for one in found)
        if broken:
            raise ValueError(f"the judge {judge.version} gave no readable answer on {broken} of {len(found)} pairs.")
        gaps = [one.score_student - one.score_teacher for one in found]
        return [1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps]

    return scores


def as_table(rows: Sequence[TaskScore]) -> str:
    """Rows of tasks as a table in Markdown; scores in percent."""
    lines = [
        "| task | items | score, % | 95 % interval | chance, % | kappa | loss, nats per token | further |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        further = ", ".join(f"{name} {100 * value:.1f} %" for name, value in row.extra.items())
        loss = f"{row.nll:.3f}" if row.nll == row.nll else ""
        lines.append(
            f"| {row.task} | {row.num_items} | {100 * row.score:.1f} | {100 * row.interval.low:.1f} to "
            f"{100 * row.interval.high:.1f} | {100 * row.chance:.1f} | {row.kappa:.3f} | {loss} | {further} |"
        )
    return "\n".join(lines) + "\n"


def _task(text: str, limit: int | None) -> list[EvalItem]:
    form, sep, path = text.partition("=")
    if not sep:
        raise ValueError(f"--task {text} must be FORMAT=FILE, with a format of {', '.join(FORMATS)}.")
    return load_items(Path(path), form, limit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lit-curriculum evaluate", description="Evaluate a model on files of tasks.")
    parser.add_argument("--model", required=True, help="folder, hub id, GGUF file, or .ckpt file of a run")
    parser.add_argument("--task", action="append", required=True, help="FORMAT=FILE; repeat for more tasks")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--limit", type=int, default=None, help="first so many items of each file")
    parser.add_argument("--template", default="auto", help="chat template: auto, a packaged name or a .jinja file")
    parser.add_argument("--dtype", choices=get_args(ScorerDtype), default="float32", help="of the weights")
    parser.add_argument("--max_length", type=int, default=None, help="tokens that are scored at most")
    parser.add_argument("--max_new_tokens", type=int, default=256, help="tokens of an answer at most")
    parser.add_argument("--token_budget", type=int, default=2048, help="padded tokens in a batch of likelihoods")
    parser.add_argument(
        "--logit_step", choices=get_args(LogitStep), default="first", help="step that letters are read at"
    )
    parser.add_argument("--ppl_norm", choices=get_args(Norm), default="mean", help="candidates by mean or summed loss")
    parser.add_argument("--math", choices=get_args(MathRule), default="normalised", help="how answers are compared")
    parser.add_argument("--run_code", action="store_true", help="run generated programs, in a sandboxed process")
    parser.add_argument("--code_samples", type=int, default=1, help="programs drawn for each item")
    parser.add_argument("--code_temperature", type=float, default=0.2, help="of those draws")
    parser.add_argument("--pass_at", type=int, default=1, help="the k of pass@k")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    return parser
