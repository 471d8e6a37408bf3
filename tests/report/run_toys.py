"""Folders of runs that never ran, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_run(
    folder: Path, policy: str = "Uniform", seed: int = 0, losses: tuple[float, ...] = (3.0, 2.0),
    options: dict[str, Any] | None = None, examples: int = 20, data_hash: str = "d", status: str = "finished",
    tokens: int = 200,
) -> Path:  # fmt: skip
    """Two stages of half of ``examples`` each, one validation after each, 11 s a stage, one of it for the refresh."""
    folder.mkdir(parents=True)
    half = examples // 2
    stages = [
        {"stage": s, "step": 5 * s, "available": 40, "examples": half, "distinct": half, "tokens": tokens // 2,
         "overlap": None if s == 0 else 0.25, "scored_tokens": 50, "scoring_seconds": 0.75, "selecting_seconds": 0.25,
         "learning_seconds": 0.0, "training_seconds": 10.0}
        for s in range(2)
    ]  # fmt: skip
    card = {
        "format": 1,
        "status": status,
        "written": "2026-01-01T00:00:00+00:00",
        "data": {"examples": 40, "validation": 8, "hash": data_hash, "validation_hash": "v", "batch_size": 4,
                 "records_read": 41, "problems": {"empty_response": 1}},
        "model": {"class": "CausalLMModule", "source": None, "parameters": 1000, "trained_parameters": 1000},
        "machine": {"device": "cpu", "ranks": 1, "precision": "32-true", "packages": {"torch": "2"}},
        "policy": {"class": f"{policy}Policy", "options": options or {}},
        "metrics": {"nll": {"formula": "nll/1", "unit": "nats", "higher_is_harder": True}},
        "seed": seed,
        "stages": stages,
        "validations": [
            {"step": 5 * (k + 1), "training_seconds": 10.0 * (k + 1), "refresh_seconds": 1.0 * (k + 1),
             "metrics": {"val/loss": loss, "val/accuracy/sort": 0.1 * (k + 1)}}
            for k, loss in enumerate(losses)
        ],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(card))
    (folder / "selection").mkdir()
    for s in range(2):
        lines = [
            {"place": p, "index": s * 5 + p, "id": f"e{s * 5 + p}", "source": "f", "ability": ("add", "sort")[p % 2],
             "weight": 1.0, "scores": {"nll": None if p == 0 else float(p + s)}}
            for p in range(half)
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "selection" / f"stage-{s}.jsonl").write_text(text)
    return folder
