"""Read the folder of a run: its card and its selections; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.report.ledger import FOLDER, INFO, Ledger

CARD = "run.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class StageSelection:
    """What one stage trained on, in training order."""

    index: NDArray[np.int64]
    """[M] indices of the examples."""
    ids: tuple[str, ...]
    abilities: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]
    """Metric -> [M] score that the decision was made on; NaN where there was none."""


@dataclass(frozen=True)
class Run:
    """One run of a curriculum.

    Args:
        folder: The folder that holds ``run.json``.
        card: What :class:`~lit_curriculum.RunCard` wrote.
    """

    folder: Path
    card: Mapping[str, Any]

    @property
    def policy(self) -> str:
        """The policy's class, without the word policy."""
        return str(self.card["policy"]["class"]).removesuffix("Policy")

    @property
    def seed(self) -> int:
        """Seed of the curriculum."""
        return int(self.card["seed"])

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Cost of every stage."""
        return list(self.card["stages"])

    @property
    def validations(self) -> list[dict[str, Any]]:
        """Every validation, oldest first."""
        return list(self.card["validations"])

    @property
    def examples(self) -> int:
        """Examples trained on, repeats counted."""
        return sum(s["examples"] for s in self.stages)

    @property
    def tokens(self) -> int:
        """Tokens trained on, padding left out."""
        return sum(s["tokens"] for s in self.stages)

    @property
    def scored_tokens(self) -> int:
        """Tokens that the model was run over to score."""
        return sum(s["scored_tokens"] for s in self.stages)

    @property
    def training_seconds(self) -> float:
        """Wall time in training batches."""
        return float(sum(s["training_seconds"] for s in self.stages))

    @property
    def refresh_seconds(self) -> float:
        """Wall time in scoring, selecting and training the metrics' own parameters."""
        return float(sum(s["scoring_seconds"] + s["selecting_seconds"] + s["learning_seconds"] for s in self.stages))

    def final(self, measure: str) -> float:
        """The last validation's value of ``measure``; NaN where there is none."""
        values = [v["metrics"][measure] for v in self.validations if measure in v["metrics"]]
        return float(values[-1]) if values else float("nan")

    @cached_property
    def ledger(self) -> Ledger | None:
        """The run's ledger, where it kept one and has planned a stage."""
        if not (self.folder / FOLDER / INFO).exists():
            return None
        found = Ledger(self.folder)
        return found if found.stages else None

    @cached_property
    def selections(self) -> list[StageSelection]:
        """What each stage trained on, where ``SelectionLog`` wrote it; else empty."""
        paths = [self.folder / "selection" / f"stage-{s['stage']}.jsonl" for s in self.stages]
        return [_read_selection(p) for p in paths if p.exists()]


def _read_selection(path: Path) -> StageSelection:
    with path.open("rb") as file:  # splitlines() would split a text at U+2028
        lines = [json.loads(line) for line in file]
    names = list(lines[0]["scores"]) if lines else []
    scores = {n: np.array([line["scores"][n] for line in lines], dtype=float) for n in names}
    return StageSelection(
        index=np.array([line["index"] for line in lines], dtype=np.int64),
        ids=tuple(line["id"] for line in lines),
        abilities=tuple(line["ability"] or "other" for line in lines),
        scores=scores,
    )


def read_run(folder: Path) -> Run:
    """Open the folder of a run, or the folder above where it holds just one.

    Raises:
        FileNotFoundError: there is no ``run.json``.
        ValueError: there are several runs, or the file is of another version.
    """
    if not (folder / CARD).exists():
        below = sorted(folder.glob(f"*/{CARD}"))
        if len(below) > 1:
            names = ", ".join(p.parent.name for p in below)
            raise ValueError(f"{folder} holds {len(below)} runs ({names}); name the ones to report on.")
        if not below:
            raise FileNotFoundError(
                f"{folder}: there is no {CARD}; a run writes it where lit_curriculum.RunCard is among "
                "trainer.callbacks (configs/base.yaml lists it)."
            )
        folder = below[0].parent
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if card.get("format") != FORMAT:
        raise ValueError(f"{folder / CARD} is of format {card.get('format')}, and this version reads {FORMAT}.")
    for part in ("policy", "data", "stages"):
        if part not in card:
            raise ValueError(f"{folder / CARD} has no {part}: the run ended before its first stage; nothing to report.")
    return Run(folder, card)


def label_runs(runs: Sequence[Run]) -> list[str]:
    """A short name for each run's condition: its policy, and the options in which runs of that policy differ.

    Runs that differ by nothing but the seed get the same label.
    """
    options = [_settings(run) for run in runs]
    labels = []
    for run, own in zip(runs, options, strict=True):
        peers = [o for r, o in zip(runs, options, strict=True) if r.policy == run.policy]
        differing = [k for k in own if any(p.get(k) != own[k] for p in peers)]
        shown = ", ".join(f"{k}={_short(own[k])}" for k in sorted(differing))
        labels.append(f"{run.policy} ({shown})" if shown else run.policy)
    return labels


def _settings(run: Run) -> dict[str, Any]:
    metrics = {f"metric {k}": v["formula"] for k, v in run.card.get("metrics", {}).items()}
    return {**run.card["policy"]["options"], **metrics}


def _short(value: Any) -> str:
    text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
