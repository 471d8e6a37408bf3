"""Task taxonomies, and two task classifiers: linear over hashed words (the offline default), and a zero-shot prompt.

References:
    TAPIR (arXiv 2405.13448): a trained classifier sorts instructions into task types.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from typing_extensions import override

from lit_curriculum.chat.client import ChatClient
from lit_curriculum.methods.tapir.roles import TaskClassifier, TaskPrediction
from lit_curriculum.methods.tapir.teacher.prompting import load_prompt
from lit_curriculum.types import FloatArray

FOLDER = Path(__file__).parent / "taxonomies"
_TYPE = re.compile(r"<type>(.*?)</type>", re.DOTALL)
_NUM_FEATURES = 1 << 15
"""Size of the linear classifier's hash table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """Task types with target shares that sum to 1."""

    version: str
    types: tuple[str, ...]
    ratios: Mapping[str, float]
    """Share of each type in the expanded data, Pr(T)."""
    fallback: str
    """Type of what fits no other."""


def load_taxonomy(source: str = "tapir_33") -> Taxonomy:
    """A taxonomy of the package by its name (``tapir_33``, ``tapir_32``), or a yaml file of your own by its path.

    The file holds ``version``, ``types``, ``fallback`` and ``shares``: the shares of some types, as fractions or
    decimals. The other types have what is left in equal parts; where all have one, the shares are made to sum to 1.

    Raises:
        ValueError: there is no such file, or it is not of this form.

    References:
        TAPIR (arXiv 2405.13448): a sixth each for math, reasoning and code, the rest evenly.
    """
    path = FOLDER / f"{source}.yaml"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        raise ValueError(f"tasks.file: {source!r} is neither a taxonomy of the package nor a file; give its path.")
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or {"version", "types", "fallback", "shares"} - set(content):
        raise ValueError(f"{path}: a taxonomy needs version, types, fallback and shares.")
    types = tuple(str(t) for t in content["types"])
    if len(set(types)) != len(types) or content["fallback"] not in types:
        raise ValueError(f"{path}: types must be different and hold the fallback {content['fallback']!r}.")
    try:
        shares = {str(t): Fraction(str(s)) for t, s in content["shares"].items()}
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: shares are fractions such as 1/6 or decimals; {error}.") from error
    unknown = set(shares) - set(types)
    given = sum(shares.values(), Fraction(0))
    if unknown or given > Fraction(101, 100) or min(shares.values(), default=Fraction(0)) < 0:
        raise ValueError(
            f"{path}: shares are of listed types, at least 0, and sum to 1 at most; they sum to {float(given):g}, and "
            f"unlisted are {sorted(unknown)}."
        )
    rest = [t for t in types if t not in shares]
    if rest:
        shares |= {t: (1 - given) / len(rest) for t in rest}
    total = sum(shares.values(), Fraction(0))
    if total <= 0:
        raise ValueError(f"{path}: the shares sum to nothing.")
    ratios = {t: float(shares[t] / total) for t in types}
    return Taxonomy(version=str(content["version"]), types=types, ratios=ratios, fallback=str(content["fallback"]))


class LinearTaskClassifier(TaskClassifier):
    """Logistic regression on hashed words and pairs of words; small, offline, and trained in seconds.

    Args:
        source: Folder of a saved classifier; null for one that is to be trained.

    Raises:
        ValueError: the folder holds no classifier.
    """

    def __init__(self, source: str | None = None) -> None:
        self.types: tuple[str, ...] = ()
        self._weight: FloatArray = np.zeros((0, _NUM_FEATURES))
        self._bias: FloatArray = np.zeros(0)
        self.source = source
        if source is not None:
            self._load(Path(source))

    @override
    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Learn from labelled texts.

        Raises:
            ValueError: there are fewer than two different labels.
        """
        from sklearn.linear_model import LogisticRegression

        if len(set(labels)) < 2:
            raise ValueError("tasks.classifier: the labelled texts need at least two different types.")
        model = LogisticRegression(C=10.0, max_iter=1000)
        model.fit(self._features(texts), list(labels))
        self.types = tuple(str(t) for t in model.classes_)
        weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
        # For two classes scikit-learn keeps one row, the log-odds of the second.
        if len(self.types) == 2:
            weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
        self._weight, self._bias = weight, bias

    @override
    def predict(self, texts: Sequence[str]) -> TaskPrediction:
        """The most likely type of each text.

        Raises:
            ValueError: nothing was learnt or loaded.
        """
        self.check_ready()
        if not texts:
            return TaskPrediction([], [])
        logits = np.asarray(self._features(texts) @ self._weight.T) + self._bias
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        best = shares.argmax(axis=1)
        return TaskPrediction([self.types[i] for i in best], [float(p[i]) for p, i in zip(shares, best, strict=True)])

    @override
    def check_ready(self) -> None:
        if not self.types:
            raise ValueError(
                "tasks.classifier: the linear classifier is not trained; call fit or name a saved one as source."
            )

    def save(self, folder: str | Path) -> None:
        """Write ``linear.json`` (types) and ``linear.npz`` (weights) into a folder."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "linear.json").write_text(json.dumps({"types": self.types}), encoding="utf-8")
        np.savez_compressed(path / "linear.npz", weight=self._weight.astype(np.float32), bias=self._bias)

    def _load(self, folder: Path) -> None:
        """Load types and weights of a saved classifier.

        Raises:
            ValueError: the folder holds none.
        """
        if not (folder / "linear.json").is_file() or not (folder / "linear.npz").is_file():
            raise ValueError(f"tasks.classifier.source: the folder {folder} holds no saved linear classifier.")
        self.types = tuple(json.loads((folder / "linear.json").read_text(encoding="utf-8"))["types"])
        with np.load(folder / "linear.npz", allow_pickle=False) as arrays:
            self._weight, self._bias = arrays["weight"].astype(np.float64), arrays["bias"]

    def _features(self, texts: Sequence[str]) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(n_features=_NUM_FEATURES, ngram_range=(1, 2), alternate_sign=False).transform(texts)


class PromptClassifier(TaskClassifier):
    """Asks a chat model for the type, without any training; what it answers otherwise counts as the fallback type.

    Args:
        client: The chat model.
        taxonomy: Taxonomy of the package, or a file; see :func:`load_taxonomy`.
        prompt: Prompt of the package, or a file with the places ``types``, ``instruction``, ``fallback``.
    """

    def __init__(self, client: ChatClient, taxonomy: str = "tapir_33", prompt: str = "classify") -> None:
        self.client = client
        self.taxonomy = load_taxonomy(taxonomy)
        self.prompt = load_prompt(prompt, {"types", "instruction", "fallback"})

    @override
    def predict(self, texts: Sequence[str]) -> TaskPrediction:
        values = {"types": ", ".join(self.taxonomy.types), "fallback": self.taxonomy.fallback}
        requests = [
            self.prompt.request({**values, "instruction": text}, temperature=0.0, max_tokens=64) for text in texts
        ]
        names = {name.casefold(): name for name in self.taxonomy.types}
        labels: list[str] = []
        num_failed = 0
        replies = self.client.chat_many(requests, "classifier")
        for reply in replies:
            tagged = [t.strip().casefold() for t in _TYPE.findall(reply.text)]
            label = names.get(tagged[0]) if len(tagged) == 1 and reply.finish_reason != "error" else None
            num_failed += label is None
            labels.append(label if label is not None else self.taxonomy.fallback)
        usages = [reply.usage for reply in replies]
        return TaskPrediction(labels, [math.nan] * len(labels), usages, num_failed)
