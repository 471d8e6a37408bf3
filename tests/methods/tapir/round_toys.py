"""Settings and a watching callback for rounds of distillation."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from lit_curriculum import (
    CurriculumObserver,
    StageReport,
)

TINY = {
    "model_type": "llama", "vocab_size": 102, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


class Watch(Callback, CurriculumObserver):
    """Keeps plans by id, losses, and answers generated."""

    def __init__(self) -> None:
        self.plans: dict[int, list[str]] = {}
        self.scalars: dict[int, dict[str, float]] = {}
        self.sizes: dict[int, int] = {}
        self.losses: list[float] = []

    def on_stage_planned(self, trainer: Any, report: StageReport) -> None:
        store = trainer.datamodule.train_store
        self.plans[report.stage] = [store[int(i)].id for i in report.plan.indices]
        self.scalars[report.stage] = dict(report.plan.scalars)
        self.sizes[report.stage] = len(store)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))
