"""How long commands take to start, beside ``python -c "import torch"`` and ``python -c "import lightning"``.

python -m experiments.benchmarks.startup --out results/startup [--quick]

Every command is a separate process, and all take turns within a round, so a ratio is of two processes of the same
minute. The commands that read files do so on a run of two stages on 200 rows with a tiny model, which is made first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from experiments.common import Row, print_rows, summary, time_interleaved, write_results

CONFIGS = Path(__file__).parents[2] / "configs"
TORCH, LIGHTNING = "import torch", "import lightning"
AIMS = {"lit-curriculum --help": 0.1, "lit-curriculum explain": 1.2}
"""Largest ratio to ``import torch`` that we aim at."""


def make_run(folder: Path, num_rows: int = 200) -> dict[str, list[str]]:
    """Score and train a tiny model; return the commands on files of it, by name, and the options of the run."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from lit_curriculum.cli import main
    from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer

    tokenizer = build_tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [{"instruction": f"say {i}", "output": f"{i} " + "is a fish " * (1 + i % 4)} for i in range(num_rows)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = [
        *(f"--config={CONFIGS / layer}" for layer in ("base.yaml", "curriculum/iterit.yaml")),
        f"--model.source={folder / 'model'}", f"--data.path={folder / 'rows.jsonl'}",
        f"--data.cache_dir={folder / 'cache'}", "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
        f"--trainer.logger.init_args.save_dir={folder}", f"--trainer.default_root_dir={folder}",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        "--curriculum.policy.max_complexity=null",
    ]  # fmt: skip
    for command in (["score", f"--out={folder / 'scores'}", *run], ["fit", *run]):
        if main(command) != 0:
            raise SystemExit(f"lit-curriculum {command[0]} failed.")
    scores, trained = str(folder / "scores" / "scores.parquet"), str(folder / "version_0")
    return {
        "explain": ["explain", trained, "--stage", "1"],
        "merge": ["merge", scores, scores, f"--out={folder / 'merged.parquet'}"],
        "select": ["select", f"--scores={scores}", f"--out={folder / 'selection.jsonl'}", *run],
        "report": ["report", trained, f"--out={folder / 'report'}"],
        "plan": ["plan", *run],
    }


def run_python(arguments: list[str], status: int = 0) -> None:
    """Run Python to its end, without showing what it prints.

    Raises:
        SystemExit: it ends with another status.
    """
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise SystemExit(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")


def contenders(commands: Mapping[str, list[str]]) -> dict[str, Callable[[], None]]:
    """All processes to be timed, by name."""
    ours = ["-m", "lit_curriculum"]
    found: dict[str, Callable[[], None]] = {
        TORCH: partial(run_python, ["-c", "import torch"]),
        LIGHTNING: partial(run_python, ["-c", "import lightning"]),
        "import lit_curriculum": partial(run_python, ["-c", "import lit_curriculum"]),
        "import one policy": partial(run_python, ["-c", "from lit_curriculum import IterITPolicy"]),
        "lit-curriculum --help": partial(run_python, [*ours, "--help"]),
        "lit-curriculum --version": partial(run_python, [*ours, "--version"]),
        "a command that does not exist": partial(run_python, [*ours, "fitt"], 2),
        "lit-curriculum fit --help": partial(run_python, [*ours, "fit", "--help"]),
    }
    return found | {f"lit-curriculum {name}": partial(run_python, [*ours, *args]) for name, args in commands.items()}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/startup"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="one round, to see that it runs")
    given = parser.parse_args()
    rounds = 1 if given.quick else given.rounds
    with tempfile.TemporaryDirectory() as folder:
        timings = time_interleaved(contenders(make_run(Path(folder))), rounds)
    rows: list[Row] = []
    for name, timing in timings.items():
        rows.append(summary(name, timing.seconds, "s"))
        for other in (TORCH, LIGHTNING):
            if name not in (TORCH, LIGHTNING):
                ratios = [a / b for a, b in zip(timing.seconds, timings[other].seconds, strict=True)]
                rows.append(summary(f"{name}, over {other}", ratios, "times"))
    rows += [
        {"name": f"{name}, over {TORCH}: aim", "value": aim, "unit": "times at most"} for name, aim in AIMS.items()
    ]
    path = write_results(given.out, rows, {"rounds": rounds, "rows": 200, "quick": given.quick})
    print_rows(rows)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
