"""Which metric tracks true difficulty where it is known: MATH, Evol-Instruct, GSM8K, and the generated abilities?"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from experiments.common import Row, print_rows, write_results
from experiments.true_difficulty import tables
from experiments.true_difficulty.figure import draw
from experiments.true_difficulty.sources import FILES, TWO_SIDED, TrueRow, write_rows
from lit_curriculum.cli import main as command
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.data.abilities import generate
from lit_curriculum.difficulty.score_store import StoredScores, read_scores
from lit_curriculum.types import FloatArray

CONFIGS = Path(__file__).parents[2] / "configs"
METRICS = Path(__file__).parent / "metrics.yaml"
LOWER_IS_HARDER = ("compression_instruction", "compression_response")
EMBEDDED = {"num_train": 2000, "levels": 4, "duplicate_share": 0.0, "noise_share": 0.05}


def main() -> None:
    """Score what is not scored yet, and make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, default=Path("results/true_difficulty"))
    parser.add_argument("--work", type=Path, default=Path("runs/true_difficulty"), help="folder of the scores")
    parser.add_argument("--model", default="smollm2", help="a file of configs/model, for the real rows")
    parser.add_argument("--autocast", default="bfloat16", help="of scoring the real rows: none or bfloat16")
    parser.add_argument("--rows", type=int, default=297, help="of each real source")
    parser.add_argument("--max_characters", type=int, default=800, help="of instruction and response together")
    parser.add_argument("--epochs", type=int, default=6, help="passes of the tiny model over the generated rows")
    parser.add_argument("--seeds", type=int, default=5, help="of data, weights and order of the generated rows")
    parser.add_argument("--resamples", type=int, default=1000, help="of the real rows")
    parser.add_argument("--quick", action="store_true", help="15 rows a source, one pass, few resamples")
    given = parser.parse_args()
    num_rows, epochs, resamples = (15, 1, 50) if given.quick else (given.rows, given.epochs, given.resamples)
    num_seeds = 1 if given.quick else given.seeds
    work = given.work / ("quick" if given.quick else f"{num_rows}-{given.max_characters}-{given.autocast}-{epochs}")
    found: dict[str, dict[str, dict[str, tables.Measured]]] = {}
    for source, (file, read) in FILES.items():
        rows = read(given.data / file, num_rows, given.max_characters)
        scores = real_scores(work / file.split(".")[0], rows, given.model, given.autocast)
        measure = tables.areas if source in TWO_SIDED else tables.correlations
        found[source] = measure(rows, scores, resamples)
    by_level, by_noise = [], []
    for seed in range(num_seeds):
        levels, noise, scores = embedded(work / f"embedded-{seed}", epochs, seed)
        # What chance in weights, data and order does is more than what the draw of the rows does.
        by_level.append(tables.correlations(levels, {k: v[: len(levels)] for k, v in scores.items()}, 0))
        by_noise.append(tables.areas(noise, {k: v[len(levels) :] for k, v in scores.items()}, 0))
    found["generated levels"], found["planted noise"] = tables.over_seeds(by_level), tables.over_seeds(by_noise)

    rows_out: list[Row] = [row for source, metrics in found.items() for row in tables.results(source, metrics)]
    options = {
        "rows": num_rows, "max_characters": given.max_characters, "model": given.model, "epochs": epochs,
        "autocast": given.autocast, "resamples": resamples, "seeds": num_seeds, "embedded": EMBEDDED,
    }  # fmt: skip
    write_results(given.out, rows_out, options, [given.data / file for file, _ in FILES.values()])
    (given.out / "table.md").write_text(tables.markdown(found), encoding="utf-8")
    draw(found, given.out / "true_difficulty.png")
    print_rows(rows_out)


def real_scores(folder: Path, rows: list[TrueRow], model: str, autocast: str) -> dict[str, FloatArray]:
    """Scores of rows by id, in their order; more is harder."""
    write_rows(folder / "rows.jsonl", rows)
    if not (folder / "scores.parquet").exists():
        _command([
            "score", *(f"--config={CONFIGS / layer}.yaml" for layer in ("base", f"model/{model}")),
            f"--config={METRICS}", f"--data.path={folder / 'rows.jsonl'}", f"--out={folder}",
            "--trainer.accelerator=cpu", "--data.duplicate=keep", f"--autocast={autocast}",
            "--trainer.enable_progress_bar=false",
        ])  # fmt: skip
    stored = read_scores(folder / "scores.parquet")
    place = {str(name): k for k, name in enumerate(stored.table.column("id").to_pylist())}
    order = np.array([place[r.id] for r in rows])
    return {name: values[order] for name, values in _oriented(stored).items()}


def embedded(folder: Path, epochs: int, seed: int) -> tuple[list[TrueRow], list[TrueRow], dict[str, FloatArray]]:
    """Rows with a level (noise apart), then rows with and without planted noise; scores of the first, then the second.

    Levels of different abilities are taken for comparable, which they are by name alone; the ability noise has none.
    """
    layers = [f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/tiny", "data/abilities")]
    drawn = {**EMBEDDED, "data_seed": seed}
    options = [*(f"--data.{name}={value}" for name, value in drawn.items()), "--trainer.accelerator=cpu"]
    options += [f"--seed_everything={seed}"]
    before, after = folder / "before", folder / "after"
    weights = folder / "trained.ckpt"
    if not weights.exists():
        cli = CurriculumCLI(
            [
                *layers, *options, f"--trainer.max_epochs={epochs}", f"--trainer.default_root_dir={folder}",
                "--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.enable_progress_bar=false",
                "--trainer.enable_model_summary=false", "--trainer.enable_checkpointing=false",
                "--trainer.limit_val_batches=0",
            ],
            run=False,
        )  # fmt: skip
        cli.trainer.fit(cli.model, cli.datamodule)
        # Only when all passes are done: what a stopped run leaves must not be taken for the trained model.
        cli.trainer.save_checkpoint(weights)
    for out, checkpoint in ((before, []), (after, [f"--checkpoint={weights}"])):
        if not (out / "scores.parquet").exists():
            _command(["score", *layers, *options, f"--config={METRICS}", f"--out={out}", *checkpoint])
    now, start = read_scores(after / "scores.parquet"), read_scores(before / "scores.parquet")
    scores = _oriented(now)
    scores["delta_loss"] = start.values("nll") - now.values("nll")  # what training has gained on the row
    train, _ = generate(num_val_per_ability=1, seed=seed, **EMBEDDED)  # type: ignore[arg-type]
    place = {h.decode(): k for k, h in enumerate(now.content_hashes)}
    clean = [e for e in train if not e.meta["is_noise"] and e.ability != "noise"]
    noisy = [e for e in train if e.ability != "noise"]
    levels = [TrueRow(id=e.id, instruction="", response="", truth=float(e.meta["level"]), group=e.id) for e in clean]
    noise = [TrueRow(id=e.id, instruction="", response="", truth=float(e.meta["is_noise"]), group=e.id) for e in noisy]
    order = np.array([place[e.content_hash] for e in [*clean, *noisy]])
    return levels, noise, {name: values[order] for name, values in scores.items()}


def _oriented(stored: StoredScores) -> dict[str, FloatArray]:
    """Scores of every metric, turned so that more is harder, and the summed loss in nats."""
    scores = {name: stored.values(name) * (-1 if name in LOWER_IS_HARDER else 1) for name in stored.metrics}
    return scores | {"nll_sum": scores["nll"] * scores["length_response"]}


def _command(args: list[str]) -> None:
    if command(args):
        raise SystemExit(f"lit-curriculum {args[0]} failed; see above.")


if __name__ == "__main__":
    main()
