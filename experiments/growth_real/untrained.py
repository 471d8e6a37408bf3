"""What the model of the study says of the same held-out items before any training: where its rungs start from.

python -m experiments.growth_real.untrained --work runs/growth_real --seed 0 --out untrained-0.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from experiments.growth_real.run import CONFIGS
from experiments.growth_study.run import make_cli
from lit_curriculum.methods.doit.tracker import AbilityGrowthTracker


def main() -> None:
    """Validate the model once on a seed's items."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the study, with its data")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args()
    args = [f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/smollm2", "curriculum/uniform")]
    args += [
        f"--data.init_args.path={given.work / 'train.jsonl'}",
        f"--data.init_args.val_path={given.work / f'val-{given.seed}.jsonl'}",
        "--data.init_args.eval_batch_size=8", "--trainer.accelerator=cpu", "--trainer.precision=bf16-mixed",
        "--trainer.logger=false", "--trainer.callbacks=[]", "--trainer.enable_checkpointing=false",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    cli = make_cli(args, False)
    tracker = AbilityGrowthTracker(seed=given.seed, valid=False)
    cli.trainer.callbacks.append(tracker)  # type: ignore[attr-defined]
    cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    found = {
        r.ability: {"loss, nats per token": sum(r.item_nll) / r.total, "exact match": r.score, "items": r.total}
        for r in tracker.history
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
