"""Instruction data without a trainer: where the records are, what becomes of them, and their encoded stores."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lit_curriculum.data.cache import build_store, known_store, request_digest, requested_store
from lit_curriculum.data.encode import (
    VERSION,
    EncodeOptions,
    Encoder,
    TurnEnd,
    Unconditioned,
    choose_max_length,
    encoding_fingerprint,
)
from lit_curriculum.data.formats import name_ability
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.records import Split, identify, read_examples
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.data.template import resolve_template, template_key
from lit_curriculum.data.tokenize import Boundary, Tokenizer
from lit_curriculum.types import Example
from lit_curriculum.utils import hub
from lit_curriculum.utils.files import write_atomic
from lit_curriculum.utils.options import check_range


class InstructionData:
    """Instruction data of a curriculum, read and tokenized once into a cache.

    Subclasses with data from elsewhere override :meth:`load_examples` and :meth:`source_key`, or
    :meth:`build_tokenizer`. :class:`~lit_curriculum.InstructionDataModule` gives them to a trainer.

    Args:
        path: File, folder or hub id of the training data, or several (see
            :func:`~lit_curriculum.data.records.read_records`).
        val_path: The same for the validation data.
        val_fraction: Share of the training data, in [0, 1), that becomes the validation data, chosen by content
            hash; only without ``val_path``.
        tokenizer: Folder or hub id of the tokenizer; by default the model's own.
        template: ``auto``, ``tokenizer``, the name of a packaged template or a ``.jinja`` file (see
            :func:`~lit_curriculum.data.template.resolve_template`).
        input_join: Text between the fields instruction and input.
        ability_field: Field of a record that names its ability, such as ``category``; by default ``ability``, else
            ``task``.
        turn_end: See :class:`~lit_curriculum.data.encode.EncodeOptions`, as for the next two.
        boundary: Whether a view is tokenised whole or split at the borders of the responses.
        unconditioned: What precedes the responses in the view without the user's turns.
        max_length: Largest number of tokens of an example; by default the model's context, else the tokenizer's.
        batch_size: Examples in a training batch, all ranks together.
        eval_batch_size: Examples in a validation batch of each rank.
        num_workers: Processes of each loader.
        cache_dir: Where encoded data are kept; by default the package's folder in the user's cache.
        malformed: What to do about a record that cannot be read or lacks a field: ``error`` or ``skip``.
        empty_response: About a response without text: ``error`` or ``skip``.
        duplicate: About an example with the same content as an earlier one: ``keep``, ``skip`` or ``error``.
        too_long: About a response that does not fit in ``max_length``: ``error``, ``skip`` or ``truncate``.
        limit: Read only the first so many records of the training and of the validation data, for trials.

    Raises:
        ValueError: an option is out of range.
    """

    train_store: EncodedStore

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
        cache_dir: str | None = None,
        malformed: Literal["error", "skip"] = "error",
        empty_response: Literal["error", "skip"] = "skip",
        duplicate: Literal["keep", "skip", "error"] = "keep",
        too_long: Literal["error", "skip", "truncate"] = "error",
        limit: int | None = None,
    ) -> None:
        super().__init__()
        self.paths = [path] if isinstance(path, str) else list(path)
        self.val_paths = [val_path] if isinstance(val_path, str) else list(val_path or [])
        check_range("data", "[0, 1)", val_fraction=val_fraction)
        if val_fraction and self.val_paths:
            raise ValueError("data: give either val_path or val_fraction, not both.")
        check_range("data", "[1, inf)", batch_size=batch_size, eval_batch_size=eval_batch_size, limit=limit)
        self.val_fraction = val_fraction
        self.tokenizer_source = tokenizer
        self.template, self.input_join, self.ability_field = template, input_join, ability_field
        self.turn_end: TurnEnd = turn_end
        self.boundary: Boundary = boundary
        self.unconditioned: Unconditioned = unconditioned
        self.max_length = max_length
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers = num_workers
        self.cache_dir = cache_dir
        self.policy = ProblemPolicy(
            malformed=malformed, empty_response=empty_response, duplicate=duplicate, too_long=too_long
        )
        self.limit = limit
        self.tokenizer: Tokenizer | None = None
        """The tokenizer with the chat template in use, once :meth:`encoder` has loaded it."""
        self.val_store: EncodedStore | None = None
        """The validation data; none where neither ``val_path`` nor ``val_fraction`` is given."""
        self.model: Any = None
        """What names tokenizer and context length where the options do not; in a run it is the trainer's module."""

    def build_tokenizer(self) -> Tokenizer:
        """The tokenizer named by the option, else the model's own.

        Raises:
            ValueError: there is neither.
        """
        if self.tokenizer_source is not None:
            return hub.load_tokenizer(self.tokenizer_source)
        model = self._model()
        source = getattr(model, "tokenizer_source", None)
        if source is None:
            raise ValueError("data.tokenizer is not set and the model names none; set it to a folder or hub id.")
        revision, trust = getattr(model, "revision", None), getattr(model, "trust_remote_code", False)
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

    def read(self) -> None:
        """Open :attr:`train_store` and :attr:`val_store`.

        Data that were encoded before are found without the tokenizer, so transformers is not imported for them.
        """
        found = self._known_stores()
        if found is None:
            encoder = self.encoder()
            found = {split: self._open(split, encoder) for split in self.splits()}
        self.train_store, self.val_store = found["train"], found.get("val")

    def encoder(self) -> Encoder:
        """What makes the tokens: tokenizer, chat template and options in use."""
        self.tokenizer = self.build_tokenizer()
        template = resolve_template(self.tokenizer, self.template)
        # A tokenizer is saved with the template that the model was trained with.
        self.tokenizer.chat_template = template.text
        context_length = getattr(self._model(), "context_length", None)
        options = EncodeOptions(
            max_length=choose_max_length(self.max_length, context_length, self.tokenizer),
            turn_end=self.turn_end,
            boundary=self.boundary,
            unconditioned=self.unconditioned,
        )
        encoder = Encoder(template, options)
        note = self._identity_note()
        if note is not None and not note.exists():
            write_atomic(note, json.dumps(encoder.identity))
        return encoder

    def _open(self, split: Split, encoder: Encoder) -> EncodedStore:
        def build() -> EncodedStore:
            report = ProblemReport()
            examples = self.load_examples(split, report)
            return build_store(examples, encoder, self.policy, report, self._cache(), option)

        option = "data.path" if split == "train" else "data.val_path" if self.val_paths else "data.val_fraction"
        return requested_store(self._request(split, encoder.fingerprint), self._cache(), build)

    def _known_stores(self) -> dict[Split, EncodedStore] | None:
        """The stores of all splits, where all were encoded before with the same tokenizer, template and options."""
        note = self._identity_note()
        if note is None or not note.exists():
            return None
        fingerprint = encoding_fingerprint(json.loads(note.read_text(encoding="utf-8")))
        found: dict[Split, EncodedStore] = {}
        for split in self.splits():
            store = known_store(self._request(split, fingerprint), self._cache())
            if store is None:
                return None
            found[split] = store
        return found

    def _request(self, split: Split, fingerprint: str) -> list[Any] | None:
        """What names the encoded data of ``split``; none where the data have no name."""
        key = self.source_key(split)
        return None if key is None else [key, split, fingerprint, asdict(self.policy)]

    def _identity_note(self) -> Path | None:
        """File with the identity of the encoder that these options make; none where they do not decide on it.

        Its name is made from the files of tokenizer and model, their versions of transformers and tokenizers, the
        template and the options.
        """
        model = self._model()
        source: Any = getattr(model, "model_source", model)
        if type(self).build_tokenizer is not InstructionData.build_tokenizer or not hasattr(source, "config_key"):
            return None
        if source is not model and (source.tokenizer_source, source.context_length) != (
            model.tokenizer_source, model.context_length,
        ):  # fmt: skip
            return None  # a subclass with a tokenizer or context of another origin
        if self.tokenizer_source is not None:
            tokenizer = hub.source_key(self.tokenizer_source)
        elif source.tokenizer_source is not None:
            tokenizer = hub.source_key(source.tokenizer_source, source.revision)
        else:
            return None
        length = source.config_key if self.max_length is None else self.max_length
        if tokenizer is None or length is None:
            return None
        versions = [VERSION, *(importlib.metadata.version(name) for name in ("transformers", "tokenizers"))]
        options = [self.turn_end, self.boundary, self.unconditioned, source.trust_remote_code]
        key = [versions, tokenizer, template_key(self.template), length, options]
        return self._cache() / "encodings" / request_digest(key)

    def _cache(self) -> Path:
        return hub.cache_dir() if self.cache_dir is None else Path(self.cache_dir)

    def _model(self) -> Any:
        """What names tokenizer and context length."""
        return self.model
