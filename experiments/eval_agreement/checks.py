"""Do the checks of answers say what others say: IFEval's instructions, and the unit tests of HumanEval?

All 541 prompts of IFEval, four invented answers each, judged here (by the package if-verifiable) and by
lm-evaluation-harness's own implementation, instruction by instruction; and 164 published completions of HumanEval,
whose authors state pass@1 of 31.1 %, run here in the sandbox. No model is involved.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common import Row, print_rows, write_results
from experiments.eval_agreement.run import harness_version
from lit_curriculum.evaluation.instructions import check_instructions
from lit_curriculum.evaluation.sandbox import SandboxLimits, run_program
from lit_curriculum.evaluation.summary import wilson_interval

HARNESS = """
import json, sys
from lm_eval.tasks.ifeval.utils import process_results
for line in open(sys.argv[1], encoding="utf-8"):
    doc = json.loads(line)
    found = process_results(doc, [doc["answer"]])
    print(json.dumps([found["inst_level_strict_acc"], found["inst_level_loose_acc"]]))
"""


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", required=True, help="a Python with lm_eval and, under NLTK_DATA, punkt_tab")
    parser.add_argument("--ifeval", type=Path, required=True, help="file of IFEval's prompts")
    parser.add_argument("--humaneval", type=Path, required=True, help="file of HumanEval's tasks")
    parser.add_argument("--completions", type=Path, required=True, help="file of completions with their verdicts")
    parser.add_argument("--quick", action="store_true", help="10 prompts and 6 tasks")
    parser.add_argument("--out", type=Path, default=Path("results/eval_checks"))
    given = parser.parse_args()
    limit = 10 if given.quick else None
    rows = compare_instructions(read(given.ifeval)[:limit], given.harness)
    rows += run_completions(read(given.humaneval), read(given.completions)[: 6 if given.quick else None])
    files = [given.ifeval, given.humaneval, given.completions]
    config = {"quick": given.quick, "answers of a prompt": 4, "lm_eval": harness_version(given.harness)}
    write_results(given.out, rows, config, files)
    print_rows(rows)


def read(path: Path) -> list[dict[str, Any]]:
    """All records of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def answers(prompt: str, options: list[Mapping[str, Any]]) -> list[str]:
    """Four answers that between them follow and break most kinds of instruction."""
    words = [str(w) for o in options for k in ("keywords", "forbidden_words") for w in o.get(k) or ()]
    words += [str(o["keyword"]) for o in options if o.get("keyword")]
    starts = "".join(f"{o['prompt_to_repeat']}\n\n" for o in options if o.get("prompt_to_repeat"))
    ends = " ".join(str(o["end_phrase"]) for o in options if o.get("end_phrase"))
    obliging = (
        f"{starts}<<A title>>\n\n* one\n* two\n* three\n\n*highlighted* {' '.join(words * 2)}. SECTION 1 It is so. "
        f"SECTION 2 It is not so. [name] [place] [date]\n\n***\n\nP.S. My answer is yes.\n{ends}"
    )
    return [
        obliging.strip(),
        f'"{prompt.lower().replace(",", "")}"',
        f"Sure, here it is:\n{prompt.upper()}\n* * *\n{prompt}",
        json.dumps({"answer": words or prompt[:80]}),
    ]


def compare_instructions(prompts: list[dict[str, Any]], harness: str) -> list[Row]:
    """Shares of instructions on which both give the same verdict."""
    docs = [{**p, "answer": a} for p in prompts for a in answers(p["prompt"], p["kwargs"])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "docs.jsonl"
        path.write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
        command = [harness, "-c", HARNESS, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    theirs = [json.loads(line) for line in said if line.startswith("[[")]
    assert len(theirs) == len(docs)
    rows: list[Row] = []
    found = [check_instructions(d["prompt"], d["answer"], d["instruction_id_list"], d["kwargs"]) for d in docs]
    for place, name in enumerate(("strict", "loose")):
        pairs = [
            (kind, ours, other)
            for doc, followed, verdicts in zip(docs, found, theirs, strict=True)
            for kind, ours, other in zip(doc["instruction_id_list"], followed[place], verdicts[place], strict=True)
        ]
        differing = sorted({kind for kind, ours, other in pairs if ours != other})
        print(f"{name}: kinds with a different verdict: {', '.join(differing) or 'none'}")
        rows.append(share(f"ifeval, {name}: same verdict", sum(o == t for _, o, t in pairs), len(pairs)))
        rows.append(share(f"ifeval, {name}: followed, ours", sum(o for _, o, _ in pairs), len(pairs)))
        both_ways = {kind for kind, ours, _ in pairs if ours} & {kind for kind, ours, _ in pairs if not ours}
        rows.append({"name": f"ifeval, {name}: kinds with both verdicts", "value": len(both_ways), "unit": "kinds"})
    return rows


def run_completions(tasks: list[dict[str, Any]], completions: list[dict[str, Any]]) -> list[Row]:
    """Pass@1 of the completions, and on how many tasks the sandbox says what was published."""
    by_id = {task["task_id"]: task for task in tasks}
    passed = agreeing = 0
    for row in completions:
        task = by_id[row["task_id"]]
        program = f"{task['prompt']}{row['completion']}\n{task['test']}\ncheck({task['entry_point']})\n"
        ours = run_program(program, SandboxLimits()).passed
        passed += ours
        agreeing += ours == row["passed"]
    published = sum(bool(row["passed"]) for row in completions)
    return [
        share("humaneval completions: pass@1, ours", passed, len(completions)),
        share("humaneval completions: pass@1, published", published, len(completions)),
        share("humaneval completions: same verdict", agreeing, len(completions)),
    ]


def share(name: str, part: int, of: int) -> Row:
    """A share with its Wilson interval."""
    low, high = wilson_interval(part, of)
    return {"name": name, "value": part / of, "unit": "share", "low": low, "high": high, "n": of}


if __name__ == "__main__":
    main()
