"""A task classifier over a Hugging Face encoder, fine-tuned here.

References:
    TAPIR (arXiv 2405.13448): the authors fine-tune a DeBERTa v3 on instructions with known types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from lit_curriculum.methods.tapir.roles import TaskClassifier, TaskPrediction
from lit_curriculum.models.loading import isolated_rng
from lit_curriculum.types import make_generator
from lit_curriculum.utils.hub import load_tokenizer, progress_if_interactive, resolve_source
from lit_curriculum.utils.options import check_range

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class HFTaskClassifier(TaskClassifier):
    """A sequence classification model of transformers: loads a trained one, or trains one on labelled texts.

    Args:
        source: Folder or hub id of an encoder, or of a trained classifier.
        max_length: Tokens of a text that are read; the rest is cut off.
        epochs: Passes over the labelled texts.
        batch_size: Texts in a batch.
        learning_rate: Of AdamW; it rises over the first tenth of the steps and then falls to 0 in a line.
        device: Where the model runs.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        source: str = "microsoft/deberta-v3-base",
        max_length: int = 256,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 2e-5,
        device: str = "cpu",
    ) -> None:
        check_range(self, "[1, inf)", max_length=max_length, epochs=epochs, batch_size=batch_size)
        check_range(self, "(0, inf)", learning_rate=learning_rate)
        self.source = source
        self.max_length = max_length
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self._model: PreTrainedModel | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None

    @override
    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Fine-tune all weights on labelled texts, starting from ``source``.

        Raises:
            ValueError: there are fewer than two different labels, or the source cannot be read.
        """
        types = sorted(set(labels))
        if len(types) < 2:
            raise ValueError("tasks.classifier: the labelled texts need at least two different types.")
        places = {name: place for place, name in enumerate(types)}
        with isolated_rng(0):
            model, tokenizer = self._load(types)
            model.train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=self.learning_rate, weight_decay=0.01)
            num_steps = self.epochs * -(-len(texts) // self.batch_size)
            warm_up = max(1, num_steps // 10)
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda s: min((s + 1) / warm_up, (num_steps - s) / max(1, num_steps - warm_up))
            )
            for epoch in range(self.epochs):
                order = make_generator(0, epoch, "task-classifier").permutation(len(texts))
                for start in range(0, len(texts), self.batch_size):
                    rows = order[start : start + self.batch_size]
                    target = torch.tensor([places[labels[r]] for r in rows], device=self.device)
                    logits = self._logits(model, tokenizer, [texts[r] for r in rows])
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    schedule.step()
        self._model, self._tokenizer = model.train(False), tokenizer

    @override
    def predict(self, texts: Sequence[str]) -> TaskPrediction:
        """The most likely type of each text.

        Raises:
            ValueError: ``source`` is no trained classifier and none was trained here.
        """
        model, tokenizer = self._ready()
        names = {int(place): str(name) for place, name in (model.config.id2label or {}).items()}
        labels = [""] * len(texts)
        probabilities = [0.0] * len(texts)
        with torch.inference_mode():
            for rows in _by_length(texts, self.batch_size):
                logits = self._logits(model, tokenizer, [texts[r] for r in rows])
                best = logits.float().softmax(dim=-1).max(dim=-1)
                for row, place, share in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True):
                    labels[row], probabilities[row] = names[place], share
        return TaskPrediction(labels, probabilities)

    def save(self, folder: str | Path) -> None:
        """Write the model (safetensors) and its tokenizer into a folder, which then serves as ``source``."""
        model, tokenizer = self._ready()
        with progress_if_interactive():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    @override
    def check_ready(self) -> None:
        self._ready()

    def _ready(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._model is None or self._tokenizer is None:
            model, tokenizer = self._load(None)
            self._model, self._tokenizer = model.train(False), tokenizer
        return self._model, self._tokenizer

    def _load(self, types: Sequence[str] | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model of ``source``: with a new head for ``types``, or with the head it was saved with."""
        from transformers import AutoModelForSequenceClassification

        extra: dict[str, Any] = {}
        if types is not None:
            extra = {
                "num_labels": len(types),
                "id2label": dict(enumerate(types)),
                "label2id": {name: place for place, name in enumerate(types)},
                "ignore_mismatched_sizes": True,
            }
        try:
            with progress_if_interactive():
                model, report = AutoModelForSequenceClassification.from_pretrained(
                    resolve_source(self.source), dtype=torch.float32, output_loading_info=True, **extra
                )
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"tasks.classifier.source: no model can be read from {self.source}: {why}") from error
        if types is None and report["missing_keys"]:
            raise ValueError(
                f"tasks.classifier.source: {self.source} is no trained classifier (it has no head); call fit first."
            )
        return model.to(self.device), load_tokenizer(self.source)

    def _logits(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Tensor:
        """[B, number of types] logits of B texts."""
        encoded = tokenizer(
            list(texts), truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
        ).to(self.device)
        logits: Tensor = model(**encoded).logits
        return logits


def _by_length(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Row numbers of each batch, texts of like length together."""
    order = sorted(range(len(texts)), key=lambda r: len(texts[r]))
    return (order[start : start + size] for start in range(0, len(order), size))
