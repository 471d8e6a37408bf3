"""A selection on disk, trained on by Hugging Face's Trainer.

python -m experiments.examples.hf_trainer --selection RUN/selection --data FILE.jsonl --model FOLDER [--out DIR]

The selection comes from a Lightning run (``RUN/selection``) or from ``lit-curriculum select`` (a file). The only change
to a script that uses the Trainer is the class below, and the sampler that it is given.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Trainer, TrainingArguments

from lit_curriculum import SelectionSampler
from lit_curriculum.data.selection import content_hashes


class SelectionTrainer(Trainer):
    """A Trainer that takes its training rows from a sampler."""

    selection: SelectionSampler

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if len(rows) != self.selection.num_rows:  # type: ignore[arg-type]
            raise ValueError(
                f"the selection is of {self.selection.num_rows} rows, the training data have {len(rows)} now; "  # type: ignore[arg-type]
                "turn off packing and filters that change their number."
            )
        return self.selection


def tokenise(record: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Prompt and response of a record with ``instruction`` and ``output``; only the response has labels."""
    prompt = tokenizer(f"{record['instruction']}\n")["input_ids"]
    answer = [*tokenizer(record["output"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def pad(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded batch [B, L]."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = [row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows]
    mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    labels = [row["labels"] + [-100] * (width - len(row["labels"])) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


def main(args: Sequence[str] | None = None) -> Trainer:
    """Train one epoch that is all stages one after the other; the trainer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selection", type=Path, required=True, help="folder selection of a run, or a JSONL file")
    parser.add_argument("--data", type=Path, required=True, help="JSONL with instruction and output")
    parser.add_argument("--model", required=True, help="folder or hub id")
    parser.add_argument("--out", default="runs/hf_trainer")
    parser.add_argument("--batch_size", type=int, default=8)
    given = parser.parse_args(args)
    records = [json.loads(line) for line in given.data.read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    trainer = SelectionTrainer(
        model=AutoModelForCausalLM.from_pretrained(given.model),
        args=TrainingArguments(
            output_dir=given.out, num_train_epochs=1, per_device_train_batch_size=given.batch_size, report_to=[],
            save_strategy="no", use_cpu=not torch.cuda.is_available(), disable_tqdm=True,
        ),
        train_dataset=[tokenise(record, tokenizer) for record in records],
        data_collator=pad,
    )  # fmt: skip
    trainer.selection = SelectionSampler(given.selection, content_hashes(records), by="content_hash", joined=True)
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
