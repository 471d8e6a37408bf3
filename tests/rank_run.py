"""One training run on N processes, writing what every rank saw; started as a command by the tests of ranks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from lit_curriculum import (
    AbilityDataModule,
    AtomicCheckpointIO,
    CampusPolicy,
    CausalLMModule,
    ClusterDraw,
    CoveragePolicy,
    CurriculumCallback,
    CurriculumObserver,
    CurriculumPolicy,
    DifficultyMetric,
    GradientVectors,
    HiddenStates,
    HiddenStateVectors,
    InstructionFollowingDifficulty,
    IterITPolicy,
    LearnedScorer,
    Length,
    LossSamplingPolicy,
    NegativeLogLikelihood,
    OnlineMixturePolicy,
    OrderedPolicy,
    Pairwise,
    PatternPolicy,
    ReferenceLoss,
    Reweighting,
    StageReport,
    TapirPolicy,
    TapirRounds,
    TargetRows,
    TargetSimilarity,
    TopMetricPolicy,
    UniformPolicy,
    WarmStartPolicy,
)
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.teacher.procedural import (
    ProceduralClassifier,
    ProceduralExpander,
    ProceduralJudge,
    ProceduralRefiner,
    ProceduralTeacher,
)
from lit_curriculum.models.lr_schedules import WarmupCosine

CONFIG = {
    "model_type": "llama", "vocab_size": 102, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


class Witness(Callback, CurriculumObserver):
    """Plans, and per batch the examples of this rank and the loss."""

    def __init__(self, stop_after: int | None) -> None:
        self.plans: list[list[int]] = []
        self.batches: list[list[int]] = []
        self.losses: list[float] = []
        self.stop_after = stop_after

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self.plans.append(report.plan.indices.tolist())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append([int(i) for i, w in zip(batch.index, batch.weight, strict=True) if w > 0])
        # Every rank's loss is scaled so that the mean over ranks is the loss of the global batch.
        self.losses.append(float(trainer.strategy.reduce(outputs["loss"].detach().clone(), reduce_op="mean")))
        if self.stop_after is not None and trainer.global_step >= self.stop_after:
            trainer.should_stop = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--strategy", choices=("ddp", "fsdp2"), default="ddp")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stages", type=int, default=5)
    parser.add_argument("--resume", default=None)
    parser.add_argument("--stop_after", type=int, default=None)
    parser.add_argument("--num_train", type=int, default=120)
    parser.add_argument("--scorer", choices=("reweighting", "pairwise"), default=None)
    parser.add_argument("--campus", action="store_true")
    parser.add_argument("--tapir", action="store_true")
    parser.add_argument("--baseline", choices=("infobatch", "rho_loss", "doremi"), default=None)
    parser.add_argument("--selection", choices=("less", "rds_plus", "clusters"), default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.strategy == "fsdp2":
        strategy: Any = ModelParallelStrategy(data_parallel_size=given.ranks, tensor_parallel_size=1)
    else:
        strategy = DDPStrategy(process_group_backend="gloo") if given.ranks > 1 else "auto"
    module = CausalLMModule(config=CONFIG, optimizer=_adam, lr_schedule=WarmupCosine)
    witness = Witness(given.stop_after)
    # 21 of 120 examples: neither the stage nor its last batch divides by the number of ranks.
    policy: CurriculumPolicy = IterITPolicy(fraction=None, count=21, refresh_factor=2.0)
    metrics: dict[str, DifficultyMetric] = {"ifd": InstructionFollowingDifficulty()}
    if given.scorer is not None:
        learned = LearnedScorer(Reweighting(num_losses=60), steps=20)
        if given.scorer == "pairwise":  # answers and hidden states are dealt out over the ranks
            learned = LearnedScorer(Pairwise(num_answers=11, max_new_tokens=8), HiddenStates(), steps=20)
        policy = OrderedPolicy("learned", fraction=None, count=21)
        metrics = {"loss": NegativeLogLikelihood(), "learned": learned}
    if given.campus:
        policy = CampusPolicy(["length", "loss", "learned"], learned=["learned"], num_bands=3)
        metrics = {
            "length": Length(field="both"),
            "loss": NegativeLogLikelihood(),
            "learned": LearnedScorer(steps=20),
        }
    rounds: list[Callback] = []
    if given.tapir:
        policy = TapirPolicy(count=30, warmup_stages=1, targets={"sort": 0.5, "add": 0.25, "copy": 0.25})
        metrics = {"mfd": ModelFittingDifficulty()}
        rounds = [
            TapirRounds(
                ProceduralJudge(), ProceduralTeacher(), ProceduralExpander(), ProceduralRefiner(),
                ProceduralClassifier(), pool_sizes=[130, 140, 150], max_new_tokens=6, rejudge="each",
            )
        ]  # fmt: skip
    if given.baseline is not None:
        metrics = {"loss": NegativeLogLikelihood(), "reference": ReferenceLoss(passes=1.0)}
        policy = PatternPolicy("loss", "shuffle", "hard_to_easy", None, 21, "each_stage", "reference")
    if given.baseline == "doremi":
        policy = OnlineMixturePolicy("loss", "doremi", "reference", probe=2, fraction=0.25)
    if given.baseline == "infobatch":
        policy, module.weighting = LossSamplingPolicy("loss", budget_passes=2.5), "absolute"
    if given.selection is not None:
        vectors = GradientVectors(64) if given.selection == "less" else HiddenStateVectors()
        aggregate: Any = "group_max" if given.selection == "less" else "round_robin"
        targets = TargetRows(per_group=1)
        metrics = {"like": TargetSimilarity(vectors, targets, aggregate, first_stage=1, token_budget=256)}
        policy = WarmStartPolicy(UniformPolicy(None, 21), TopMetricPolicy("like", fraction=None, count=21))
    if given.selection == "clusters":
        metrics, policy = {}, CoveragePolicy(ClusterDraw(6), fraction=None, count=21)
    free = "loss" if given.baseline == "infobatch" else None
    curriculum = CurriculumCallback(policy, metrics, token_budget=256, training_loss_metric=free)
    trainer = Trainer(
        accelerator="cpu", devices=given.ranks, strategy=strategy, max_epochs=given.stages, logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=given.out,
        reload_dataloaders_every_n_epochs=1, num_sanity_val_steps=0, limit_val_batches=0,
        plugins=[AtomicCheckpointIO()] if given.strategy == "ddp" else [],
        callbacks=[curriculum, *rounds, witness, ModelCheckpoint(given.out, save_last=True, every_n_train_steps=2)],
    )  # fmt: skip
    data = AbilityDataModule(
        num_train=given.num_train, num_val_per_ability=1, batch_size=8, cache_dir=str(given.out.parent / "cache")
    )
    trainer.fit(module, data, ckpt_path=given.resume, weights_only=True)
    found = {"plans": witness.plans, "batches": witness.batches, "losses": witness.losses}
    (given.out / f"rank-{trainer.global_rank}.json").write_text(json.dumps(found))


def _adam(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=3e-3)


if __name__ == "__main__":
    main()
