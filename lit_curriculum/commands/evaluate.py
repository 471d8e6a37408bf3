"""``lit-curriculum evaluate``: evaluate a model on files of tasks, with every item and 95 % intervals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import resolve_template
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.evaluation.evaluator import Evaluator, GenerationCache, Judge
from lit_curriculum.evaluation.items import EvalItem, EvalOptions, MathRule
from lit_curriculum.evaluation.likelihood import LogitStep, Norm
from lit_curriculum.evaluation.summary import TaskScore, item_line, result_of, shard, summarise
from lit_curriculum.evaluation.tasks.few_shot import with_bbh_prompts, with_mmlu_shots
from lit_curriculum.evaluation.tasks.load import FORMATS, load_items
from lit_curriculum.evaluation.tasks.read import need, read_records
from lit_curriculum.methods.baselines.scorers.scorer import Scorer, ScorerDtype
from lit_curriculum.methods.tapir.roles import JudgeItem, PairJudge
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.export import load_module, read_checkpoint
from lit_curriculum.utils import hub
from lit_curriculum.utils.command_parser import CommandParser, parse_shard
from lit_curriculum.utils.files import write_atomic
from lit_curriculum.utils.progress import Show, display, no_display

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_evaluation(out: Path, lines: Sequence[Mapping[str, Any]], info: Mapping[str, Any]) -> str:
    """Write ``items.jsonl``, ``results.json`` and ``results.md``.

    Args:
        out: Folder.
        lines: One an item, from :func:`~lit_curriculum.evaluation.summary.item_line`.
        info: What was evaluated, and how.

    Returns:
        The table.
    """
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomic(out / "items.jsonl", text)
    rows = summarise([result_of(line) for line in lines])
    whole = {**info, "rows": [asdict(row) for row in rows]}
    write_atomic(out / "results.json", json.dumps(whole, indent=1, allow_nan=True) + "\n")
    table = as_table(rows)
    write_atomic(out / "results.md", table)
    return table


def merge_evaluations(parts: Sequence[Path], out: Path) -> str:
    """Merge the shards of an evaluation; the table is that of a single process.

    Args:
        parts: Folders that ``evaluate --shard`` has written, in any order.
        out: Folder to write.

    Raises:
        ValueError: a folder holds no shard, the shards are of different evaluations, or one is missing or there twice.
    """
    info = []
    for part in parts:
        path = part / "results.json"
        if not path.is_file():
            raise ValueError(f"--merge: {part} holds no results.json; give the folders that evaluate --shard wrote.")
        one = json.loads(path.read_text(encoding="utf-8"))
        if not one.get("shard"):
            raise ValueError(f"--merge: {part} is of a whole evaluation and not of a shard.")
        info.append(one)
    for part, one in zip(parts, info, strict=True):
        differing = [n for n in ("model", "tasks", "options", "num_items") if one[n] != info[0][n]]
        if differing or one["shard"][1] != info[0]["shard"][1]:
            what = differing[0] if differing else "number of shards"
            raise ValueError(f"--merge: {part} and {parts[0]} differ in {what}; merge shards of one evaluation.")
    numbers, wanted = sorted(one["shard"][0] for one in info), list(range(1, info[0]["shard"][1] + 1))
    if numbers != wanted:
        raise ValueError(f"--merge: shards {numbers} are not each of {wanted} once; give every shard once.")
    # Bytes, since str.splitlines() would split an answer at U+2028.
    lines = [json.loads(line) for part in parts for line in (part / "items.jsonl").read_bytes().splitlines()]
    lines.sort(key=lambda line: int(line["place"]))
    whole = {k: v for k, v in info[0].items() if k != "rows"} | {"shard": None}
    return write_evaluation(out, lines, whole)


def as_table(rows: Sequence[TaskScore]) -> str:
    """Format the scores of tasks as a Markdown table, in percent."""
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


_PART = 64
"""Pairs that the judge is given at a time."""


def read_judge(path: Path) -> PairJudge:
    """Make the judge that a yaml file describes by ``class_path`` and ``init_args``, with its chat client.

    Raises:
        ValueError: there is no such file, or it names no pair judge or an option that the judge does not have.
    """
    if not path.is_file():
        raise ValueError(f"--judge: there is no file {path}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PairJudge, "judge", required=True)
    try:
        config = parser.parse_object({"judge": yaml.safe_load(path.read_text(encoding="utf-8"))})
    except (ArgumentError, yaml.YAMLError) as error:
        raise ValueError(f"--judge {path.name} describes no pair judge: {' '.join(str(error).split())}") from error
    judge: PairJudge = parser.instantiate(config).judge
    return judge


def with_references(items: Sequence[EvalItem], path: Path) -> list[EvalItem]:
    """Add reference answers to open items.

    Args:
        items: Of any kind.
        path: Lines with ``id`` and ``answer``, such as the ``items.jsonl`` of another model's evaluation.

    Raises:
        ValueError: the file is missing or a line lacks a field.
    """
    answers = {str(need(r, "id", where)): str(need(r, "answer", where)) for where, r in read_records(path)}
    return [replace(i, gold=answers[i.id]) if i.kind == "open" and i.id in answers else i for i in items]


def refuse_without_reference(items: Sequence[EvalItem]) -> None:
    """Refuse open items without a reference answer.

    Raises:
        ValueError: an open item has no reference answer.
    """
    bare = [item for item in items if item.kind == "open" and not item.gold]
    if bare:
        raise ValueError(
            f"{bare[0].source}: item {bare[0].id} and {len(bare) - 1} more have no answer to compare with; give "
            "--reference FILE with their id and answer, such as another model's items.jsonl."
        )


def pair_scores(judge: PairJudge, kept: Path, show: Show = no_display) -> Judge:
    """Turn a pair judge into a score function: 1 where the answer beats the reference, 0.5 for a tie.

    Args:
        judge: Rates both answers.
        kept: File that the answers are written to before the judge is asked, so that they are not lost with it.
        show: Shows how far the judge has come.

    Raises:
        ValueError: (when it judges) the judge's answer on a pair could not be read; a guess would hide that.
    """

    def scores(pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        names = ("question", "reference", "answer")
        lines = [json.dumps(dict(zip(names, pair, strict=True)), ensure_ascii=False) for pair in pairs]
        write_atomic(kept, "".join(f"{line}\n" for line in lines))
        found = []
        with show("Judgements", " answers") as progress:
            for start in range(0, len(pairs), _PART):
                found += judge.judge([JudgeItem(*pair) for pair in pairs[start : start + _PART]])
                if progress is not None:
                    progress(len(found), len(pairs))
        broken = sum(not one.valid for one in found)
        if broken:
            raise ValueError(
                f"the judge {judge.version} gave no readable answer on {broken} of {len(found)} pairs; the answers are "
                f"in {kept}."
            )
        gaps = [one.score_student - one.score_teacher for one in found]
        return [1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps]

    return scores


def evaluate_command(args: Sequence[str]) -> None:
    """``lit-curriculum evaluate``: evaluate a model folder, hub id, GGUF file or checkpoint on files of tasks.

    Writes to ``--out``: ``items.jsonl`` (every item: score, gold, answer, reason), ``results.json`` and
    ``results.md`` (every task: score with its 95 % interval, chance, kappa, loss). Open prompts need ``--judge``.
    ``--shard I/N`` judges a part, and ``--merge DIR ...`` joins the parts.

    Raises:
        ValueError: a task is not given as FORMAT=FILE, or an option, a file or a judge is refused.
    """
    given = _parser().parse_args(args)
    if given.merge:
        print(merge_evaluations(given.merge, given.out), end="")
        return
    for name in ("model", "task"):
        if getattr(given, name) is None:
            raise ValueError(f"evaluate needs --{name}; only --merge does without.")
    items = [item for text in given.task for item in _task(text, given)]
    if given.reference is not None:
        items = with_references(items, given.reference)
    judge = None
    if given.judge is not None:
        refuse_without_reference(items)
        judge = pair_scores(read_judge(given.judge), given.out / "open_answers.jsonl", display)
    number, parts = (1, 1) if given.shard is None else parse_shard(given.shard)
    places = shard(range(len(items)), number - 1, parts)
    module, tokenizer = load(given.model, given.dtype)
    options = EvalOptions(
        max_length=choose_max_length(given.max_length, module.context_length, tokenizer),
        max_new_tokens=given.max_new_tokens, token_budget=given.token_budget, logit_step=given.logit_step,
        ppl_norm=given.ppl_norm, math=given.math, run_code=given.run_code, code_samples=given.code_samples,
        code_temperature=given.code_temperature, pass_at=given.pass_at, seed=given.seed,
    )  # fmt: skip
    fingerprint = model_fingerprint(module)
    assert fingerprint is not None, "an evaluated model is whole"
    kept = GenerationCache(given.out / "answers.jsonl", fingerprint)
    evaluator = Evaluator(resolve_template(tokenizer, given.template), options, judge, display, kept)
    results = evaluator.evaluate(module, [items[place] for place in places])
    info = {"model": given.model, "tasks": given.task, "options": asdict(options), "num_items": len(items),
            "shard": None if given.shard is None else [number, parts]}  # fmt: skip
    lines = [{"place": place, **item_line(result)} for place, result in zip(places, results, strict=True)]
    print(write_evaluation(given.out, lines, info), end="")


def load(source: str, dtype: ScorerDtype = "float32") -> tuple[CausalLMModule, PreTrainedTokenizerBase]:
    """Load a model in evaluation mode, on the GPU if there is one, and its tokenizer with its chat template.

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
        template = read_checkpoint(Path(source))[1]["chat_template"]
        if template is not None:
            tokenizer.chat_template = template
    else:
        scorer = Scorer(source, dtype)
        module, tokenizer = scorer.load(), scorer.tokenizer
    # Without a trainer the module does not know the template, whose end of turn ends an answer.
    module._data_tokenizer = lambda: tokenizer  # type: ignore[method-assign]
    return module.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _task(text: str, given: argparse.Namespace) -> list[EvalItem]:
    form, sep, path = text.partition("=")
    if not sep:
        raise ValueError(f"--task {text} must be FORMAT=FILE, with a format of {', '.join(FORMATS)}.")
    items = load_items(Path(path), form, given.limit)
    if form == "mmlu" and given.shots:
        return with_mmlu_shots(items, Path(path), given.shots)
    if form == "bbh" and given.bbh_prompts is not None:
        return with_bbh_prompts(items, given.bbh_prompts)
    return items


def _parser() -> CommandParser:
    parser = CommandParser("evaluate", "Evaluate a model on files of tasks.")
    parser.add_argument("--model", help="folder, hub id, GGUF file, or .ckpt file of a run")
    parser.add_argument("--task", action="append", help="FORMAT=FILE or FORMAT=FOLDER; repeat for more tasks")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--limit", type=int, default=None, help="first so many items of each file")
    parser.add_argument("--shots", type=int, default=0, help="MMLU: rows of dev shown before each question")
    parser.add_argument("--bbh_prompts", type=Path, help="BBH: file of task and prompt, worked examples with reasoning")
    parser.add_argument("--shard", help="I/N: judge only this part of the items, for several machines or processes")
    parser.add_argument("--merge", type=Path, nargs="+", help="join the folders of all shards into --out instead")
    parser.add_argument("--judge", type=Path, help="yaml of a pair judge (class_path, init_args) for open prompts")
    parser.add_argument("--reference", type=Path, help="lines of id and answer that open prompts are compared with")
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
