"""The data module: records on disk or hub to batches of tokens, with the sampler that a curriculum drives."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from lit_curriculum.data.cache import build_store, requested_store
from lit_curriculum.data.collate import Item, StridedSampler, ViewDataset, collate
from lit_curriculum.data.encode import EncodeOptions, Encoder, TurnEnd, Unconditioned, choose_max_length
from lit_curriculum.data.examples import Split, read_examples
from lit_curriculum.data.formats import name_ability
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.records import identify
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.data.template import resolve_template
from lit_curriculum.data.tokenize import Boundary
from lit_curriculum.types import CONDITIONED, Example
from lit_curriculum.utils import hub


class InstructionDataModule(LightningDataModule):
    """Instruction data for a curriculum: :attr:`train_store` and the :attr:`sampler` that its training loader reads.

    Everything is read and tokenised once, by one process, into a cache; every process opens that. Subclasses with
    data from elsewhere override :meth:`load_examples` and :meth:`source_key`, or :meth:`build_tokenizer`.

    Args:
        path: File, folder or hub id of the training data, or several (see
            :func:`~lit_curriculum.data.records.read_records`).
        val_path: The same for the validation data.
        val_fraction: Share of the training data, in [0, 1), that becomes the validation data, chosen by content
            hash; only without ``val_path``.
        tokenizer: Folder or hub id of the tokenizer; by default the model's own.
        template: ``auto``, ``tokenizer``, the name of a packaged template or a ``.jinja`` file (see
            :func:`~lit_curriculum.data.template.resolve_template`).
        input_join: What stands between the fields instruction and input.
        ability_field: Field of a record that names its ability, such as ``category``; by default ``ability``, else
            ``task``.
        turn_end: See :class:`~lit_curriculum.data.encode.EncodeOptions`, as for the next two.
        boundary: Whether a view is tokenised whole or split at the borders of the responses.
        unconditioned: What stands before the responses in the view without the user's turns.
        max_length: Largest number of tokens of an example; by default the model's context, else the tokenizer's.
        batch_size: Examples in a training batch, all ranks together.
        eval_batch_size: Examples in a validation batch of each rank.
        num_workers: Processes of each loader.
        num_proc: Processes that tokenise; fast tokenizers use all cores in one process already.
        cache_dir: Where encoded data are kept; by default the package's folder in the user's cache.
        malformed: What to do about a record that cannot be read or lacks a field: ``error`` or ``skip``.
        empty_response: About a response without text: ``error`` or ``skip``.
        duplicate: About an example that says the same as an earlier one: ``keep``, ``skip`` or ``error``.
        too_long: About a response that does not fit in ``max_length``: ``error``, ``skip`` or ``truncate``.
        limit: Read only the first so many records of the training and of the validation data, for trials.
        pad_to_multiple_of: Batches are padded to a multiple of this many tokens.

    Raises:
        ValueError: an option is out of range.
    """

    train_store: EncodedStore
    sampler: CurriculumSampler

    def __init__(
        self,
        path: str | list[str],
        val_path: str | list[str] | None = None,
        val_fraction: float = 0.0,
        tokenizer: str | None = None,
        template: str = "auto",
        input_join: str = "\n\n",
        ability_field: str | None = None,
        turn_end: TurnEnd = "scored",
        boundary: Boundary = "whole",
        unconditioned: Unconditioned = "template",
        max_length: int | None = None,
        batch_size: int = 8,
        eval_batch_size: int = 16,
        num_workers: int = 0,
        num_proc: int = 1,
        cache_dir: str | None = None,
        malformed: Literal["error", "skip"] = "error",
        empty_response: Literal["error", "skip"] = "skip",
        duplicate: Literal["keep", "skip", "error"] = "keep",
        too_long: Literal["error", "skip", "truncate"] = "error",
        limit: int | None = None,
        pad_to_multiple_of: int = 1,
    ) -> None:
        super().__init__()
        self.paths = [path] if isinstance(path, str) else list(path)
        self.val_paths = [val_path] if isinstance(val_path, str) else list(val_path or [])
        if not 0.0 <= val_fraction < 1.0:
            raise ValueError(f"data.val_fraction must be in [0, 1), got {val_fraction}.")
        if val_fraction and self.val_paths:
            raise ValueError("data: give either val_path or val_fraction, not both.")
        counts = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "num_proc": num_proc}
        counts |= {"limit": 1 if limit is None else limit, "pad_to_multiple_of": pad_to_multiple_of}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"data.{name} must be at least 1, got {value}.")
        self.val_fraction = val_fraction
        self.tokenizer_source = tokenizer
        self.template, self.input_join, self.ability_field = template, input_join, ability_field
        self.turn_end: TurnEnd = turn_end
        self.boundary: Boundary = boundary
        self.unconditioned: Unconditioned = unconditioned
        self.max_length = max_length
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.num_proc = num_workers, num_proc
        self.cache_dir = cache_dir
        self.policy = ProblemPolicy(
            malformed=malformed, empty_response=empty_response, duplicate=duplicate, too_long=too_long
        )
        self.limit = limit
        self.pad_to_multiple_of = pad_to_multiple_of
        self.tokenizer: PreTrainedTokenizerBase | None = None
        """The tokenizer, with the chat template in use; known from :meth:`setup` on."""
        self.val_store: EncodedStore | None = None
        """The validation data; none where neither ``val_path`` nor ``val_fraction`` is given."""

    def build_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer named by the option, else the one of the module that is being trained.

        Raises:
            ValueError: there is neither.
        """
        if self.tokenizer_source is not None:
            return hub.load_tokenizer(self.tokenizer_source)
        module = self._module()
        source = getattr(module, "tokenizer_source", None)
        if source is None:
            raise ValueError("data.tokenizer is not set and the model names none; set it to a folder or hub id.")
        revision, trust = getattr(module, "revision", None), getattr(module, "trust_remote_code", False)
        return hub.load_tokenizer(source, revision=revision, trust_remote_code=trust)

    def splits(self) -> tuple[Split, ...]:
        """The splits that there are."""
        return ("train", "val") if self.val_paths or self.val_fraction else ("train",)

    def load_examples(self, split: Split, report: ProblemReport) -> Iterable[Example]:
        """The examples of ``split`` in the order of their indices; ``report`` takes ``num_read`` and the problems."""
        own_file = split == "val" and bool(self.val_paths)
        paths, part = (self.val_paths, None) if own_file else (self.paths, split)
        adapt = partial(name_ability, self.ability_field) if self.ability_field else None
        return read_examples(paths, self.policy, report, self.input_join, self.limit, part, self.val_fraction, adapt)

    def source_key(self, split: Split) -> str | None:
        """What changes whenever the data of ``split`` do, to be known without reading them; none where nothing is."""
        paths = self.val_paths if split == "val" and self.val_paths else self.paths
        if not paths:
            return None
        return json.dumps([*identify(paths), self.input_join, self.limit, self.val_fraction, self.ability_field])

    @property
    def problems(self) -> ProblemReport:
        """Account of all problems of the data that are open."""
        report = self.train_store.problems
        if self.val_store is not None:
            report.extend(self.val_store.problems)
        return report

    @override
    def prepare_data(self) -> None:
        encoder = self.encoder()
        for split in self.splits():
            self._open(split, encoder)

    @override
    def setup(self, stage: str) -> None:
        encoder = self.encoder()
        if getattr(self, "train_store", None) is None or self.train_store.encoding != encoder.fingerprint:
            self.train_store = self._open("train", encoder)
            self.val_store = self._open("val", encoder) if "val" in self.splits() else None
            counts = f"{len(self.train_store)} to train on, {len(self.val_store or ())} to validate on"
            rank_zero_info(
                f"data: {counts}, chat template {encoder.template.name}, at most {encoder.options.max_length} tokens; "
                f"{self.problems.summary()}"
            )
        wanted = (len(self.train_store), *self._world())
        sampler = getattr(self, "sampler", None)
        if sampler is None or (sampler.num_examples, sampler.num_replicas, sampler.rank) != wanted:
            self.sampler = CurriculumSampler(*wanted, self.batch_size)

    @override
    def train_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.train_store, self.sampler, self.batch_size // self._world()[0])

    @override
    def val_dataloader(self) -> DataLoader[Item] | list[DataLoader[Item]]:
        if self.val_store is None:
            return []
        return self._loader(self.val_store, StridedSampler(len(self.val_store), *self._world()), self.eval_batch_size)

    def _loader(self, store: EncodedStore, sampler: Sampler[Any], batch_size: int) -> DataLoader[Item]:
        return DataLoader(
            ViewDataset(store, CONDITIONED),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=partial(collate, pad_to_multiple_of=self.pad_to_multiple_of),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def _open(self, split: Split, encoder: Encoder) -> EncodedStore:
        cache_dir = hub.cache_dir() if self.cache_dir is None else Path(self.cache_dir)

        def build() -> EncodedStore:
            report = ProblemReport()
            examples = self.load_examples(split, report)
            return build_store(examples, encoder, self.policy, report, cache_dir, self.num_proc, option)

        option = "data.path" if split == "train" else "data.val_path" if self.val_paths else "data.val_fraction"
        key = self.source_key(split)
        request = None if key is None else [key, split, encoder.fingerprint, asdict(self.policy)]
        return requested_store(request, cache_dir, build)

    def encoder(self) -> Encoder:
        """What makes the tokens: tokenizer, chat template and options in use."""
        self.tokenizer = self.build_tokenizer()
        template = resolve_template(self.tokenizer, self.template)
        # So that whoever saves the tokenizer saves the template that the model was trained with.
        self.tokenizer.chat_template = template.text
        context_length = getattr(self._module(), "context_length", None)
        options = EncodeOptions(
            max_length=choose_max_length(self.max_length, context_length, self.tokenizer),
            turn_end=self.turn_end,
            boundary=self.boundary,
            unconditioned=self.unconditioned,
        )
        return Encoder(template, options)

    def _module(self) -> LightningModule | None:
        return self.trainer.lightning_module if self.trainer is not None else None

    def _world(self) -> tuple[int, int]:
        """Number of ranks and this process's rank."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
