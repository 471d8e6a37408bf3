"""A selection on disk, trained on by TRL's SFTTrainer (pip install trl).

python -m experiments.examples.trl_sft --selection RUN/selection --data FILE.jsonl --model FOLDER [--out DIR]

The same method as for Hugging Face's Trainer, of which SFTTrainer is one. Packing has to be off: it makes new rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from experiments.examples.hf_trainer import SelectionTrainer
from lit_curriculum import SelectionSampler
from lit_curriculum.data.selection import content_hashes


class SelectionSFTTrainer(SelectionTrainer, SFTTrainer):  # type: ignore[misc]
    """An SFTTrainer that takes its training rows from a sampler."""


def main(args: Sequence[str] | None = None) -> Any:
    """Train one epoch that is all stages one after the other; the trainer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selection", type=Path, required=True, help="folder selection of a run, or a JSONL file")
    parser.add_argument("--data", type=Path, required=True, help="JSONL with instruction and output")
    parser.add_argument("--model", required=True, help="folder or hub id")
    parser.add_argument("--out", default="runs/trl_sft")
    parser.add_argument("--batch_size", type=int, default=8)
    given = parser.parse_args(args)
    records = [json.loads(line) for line in given.data.read_text(encoding="utf-8").splitlines()]
    rows = [{"prompt": f"{r['instruction']}\n", "completion": r["output"]} for r in records]
    trainer = SelectionSFTTrainer(
        model=given.model,
        args=SFTConfig(
            output_dir=given.out, num_train_epochs=1, per_device_train_batch_size=given.batch_size, report_to=[],
            save_strategy="no", use_cpu=not torch.cuda.is_available(), disable_tqdm=True, packing=False,
            bf16=torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    trainer.selection = SelectionSampler(given.selection, content_hashes(records), by="content_hash", joined=True)
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
