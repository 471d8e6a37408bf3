"""A training run on N processes with a growth tracker, writing every rank's records; started by a test of ranks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from lit_curriculum import AbilityDataModule, AbilityGrowthTracker, CausalLMModule, CurriculumCallback, UniformPolicy
from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.records import Split
from lit_curriculum.types import Example
from tests.rank_run import CONFIG


class UnevenData(AbilityDataModule):
    """89 validation items: neither the ranks nor the batches divide them."""

    def load_examples(self, split: Split, report: ProblemReport) -> Iterator[Example]:
        return islice(super().load_examples(split, report), None if split == "train" else 89)

    def source_key(self, split: Split) -> str:
        return super().source_key(split) + "uneven"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--answers", choices=("teacher_forced", "generated"), default="teacher_forced")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--count", type=int, default=101, help="examples of a stage")
    parser.add_argument("--weights", type=Path, help="start from these, and train so slowly that ranks stay together")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tracker = AbilityGrowthTracker(answers=given.answers)
    trainer = Trainer(
        accelerator="cpu", devices=given.ranks, max_epochs=given.stages, logger=False, enable_checkpointing=False,
        strategy=DDPStrategy(process_group_backend="gloo") if given.ranks > 1 else "auto",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=given.out,
        reload_dataloaders_every_n_epochs=1, num_sanity_val_steps=0,
        callbacks=[CurriculumCallback(UniformPolicy(fraction=None, count=given.count)), tracker],
    )  # fmt: skip
    data = UnevenData(
        num_train=800, num_val_per_ability=9, batch_size=8, eval_batch_size=4, cache_dir=str(given.out.parent / "cache")
    )
    module = CausalLMModule(config=CONFIG, optimizer=partial(torch.optim.AdamW, lr=1e-5 if given.weights else 3e-3))
    module.configure_model()
    if given.weights is not None:
        module.load_state_dict(torch.load(given.weights, weights_only=True))
    trainer.fit(module, data)
    if given.weights is None:
        torch.save(module.state_dict(), given.out / "weights.pt")
    records = [asdict(r) for r in tracker.history]
    (given.out / f"rank-{trainer.global_rank}.json").write_text(json.dumps({"records": records}))


if __name__ == "__main__":
    main()
