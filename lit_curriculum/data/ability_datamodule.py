"""The data module of the embedded default: generated abilities and a tokenizer made in code."""

from __future__ import annotations

import json
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from lit_curriculum.data.abilities import VERSION, check_options, generate
from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.problems import ProblemReport
from lit_curriculum.data.records import Split
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.types import Example


class AbilityDataModule(InstructionDataModule):
    """Ten generated abilities with planted truth (see :func:`~lit_curriculum.data.abilities.generate`).

    Nothing is downloaded. Planted duplicates and noise stay in the data and are marked in ``Example.meta``.

    Args:
        num_train: Number of training examples, duplicates included.
        num_val_per_ability: Number of validation examples of each of the ten abilities.
        levels: Highest level of difficulty, from 1 to 6.
        duplicate_share: Share of the training examples that are copies of an earlier one, in [0, 1).
        noise_share: Share of the original training examples with a planted wrong response, in [0, 1).
        data_seed: The data depend on it, whatever the seed of the run.
        max_length: Largest number of tokens of an example; the longest that can arise has fewer than 64.
        batch_size: Examples in a training batch, all ranks together.
        eval_batch_size: Examples in a validation batch of each rank.
        num_workers: Processes of each loader.
        cache_dir: Where encoded data are kept; by default the package's folder in the user's cache.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        num_train: int = 6000,
        num_val_per_ability: int = 100,
        levels: int = 4,
        duplicate_share: float = 0.05,
        noise_share: float = 0.05,
        data_seed: int = 0,
        max_length: int = 64,
        batch_size: int = 32,
        eval_batch_size: int = 250,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(
            path=[],
            max_length=max_length,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            cache_dir=cache_dir,
        )
        check_options(num_train, num_val_per_ability, levels, duplicate_share, noise_share)
        self.num_train = num_train
        self.num_val_per_ability = num_val_per_ability
        self.levels = levels
        self.duplicate_share = duplicate_share
        self.noise_share = noise_share
        self.data_seed = data_seed

    @override
    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        return build_tiny_tokenizer()

    @override
    def splits(self) -> tuple[Split, ...]:
        return ("train", "val")

    @override
    def load_examples(self, split: Split, report: ProblemReport) -> Iterator[Example]:
        train, val = generate(
            num_train=self.num_train,
            num_val_per_ability=self.num_val_per_ability,
            seed=self.data_seed,
            levels=self.levels,
            duplicate_share=self.duplicate_share,
            noise_share=self.noise_share,
        )
        for example in train if split == "train" else val:
            report.num_read += 1
            first = example.meta["is_duplicate_of"]
            if first is not None:
                report.add(self.policy, "duplicate", example.source, example.id, f"says the same as {split}-{first}")
            yield example

    @override
    def source_key(self, split: Split) -> str:
        options = [self.num_train, self.num_val_per_ability, self.levels, self.duplicate_share, self.noise_share]
        return json.dumps(["abilities", VERSION, *options, self.data_seed])
