"""``lit-curriculum evaluate``: any model on any tasks; a line for every item and a table with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from lit_curriculum import hub
from lit_curriculum.commands.evaluate_files import merge_evaluations, parse_shard, write_evaluation
from lit_curriculum.commands.evaluate_open import pair_scores, read_judge, refuse_without_reference, with_references
from lit_curriculum.data.encode import choose_max_length
from lit_curriculum.data.template import resolve_template
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.evaluation.evaluator import Evaluator
from lit_curriculum.evaluation.items import EvalItem
from lit_curriculum.evaluation.kept_answers import KeptAnswers
from lit_curriculum.evaluation.options import EvalOptions, MathRule
from lit_curriculum.evaluation.ranked import LogitStep, Norm
from lit_curriculum.evaluation.scorer import Scorer, ScorerDtype
from lit_curriculum.evaluation.summary import item_line, shard
from lit_curriculum.evaluation.tasks import FORMATS, load_items
from lit_curriculum.evaluation.tasks.few_shot import with_bbh_prompts, with_mmlu_shots
from lit_curriculum.models import checkpoint as checkpoints
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.export import load_module
from lit_curriculum.progress import display

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def evaluate_command(args: Sequence[str]) -> None:
    """Evaluate a model folder, hub id, GGUF file or checkpoint on files of tasks.

    Writes to ``--out``: ``items.jsonl`` (every item: score, gold, answer, reason), ``results.json`` and
    ``results.md`` (every task: score with its 95 % interval, chance, kappa, loss). Open prompts need ``--judge``.
    ``--shard I/N`` judges a part, and ``--merge DIR ...`` joins the parts.

    Raises:
        ValueError: a task is not given as FORMAT=FILE, or an option, a file or a judge is refused.
    """
    given = _parser().parse_args(list(args))
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
    kept = KeptAnswers(given.out / "answers.jsonl", fingerprint)
    evaluator = Evaluator(resolve_template(tokenizer, given.template), options, judge, display, kept)
    results = evaluator.evaluate(module, [items[place] for place in places])
    said = {"model": given.model, "tasks": given.task, "options": asdict(options), "num_items": len(items),
            "shard": None if given.shard is None else [number, parts]}  # fmt: skip
    lines = [{"place": place, **item_line(result)} for place, result in zip(places, results, strict=True)]
    print(write_evaluation(given.out, lines, said), end="")


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lit-curriculum evaluate", description="Evaluate a model on files of tasks.")
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
