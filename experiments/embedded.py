"""The embedded default as experiments run it: generated abilities, the tiny model, and nothing beside the loop."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback

from experiments.common import SILENT
from lit_curriculum import CurriculumCallback
from lit_curriculum.commands.run import CurriculumCLI

CONFIGS = Path(__file__).parents[1] / "configs"


def embedded_run(
    folder: str, seed: int, examples: int, stages: int, callbacks: list[Callback], held_out: int = 1
) -> CurriculumCLI:
    """A run that is ready to fit, silent and without logger, checkpoints and validation.

    Args:
        folder: For whatever the run writes.
        seed: Of data and run; initial weights are the same for all.
        examples: To train on.
        stages: Of the curriculum.
        callbacks: The curriculum's and others, in place of the configured ones.
        held_out: Validation examples of each ability, for :func:`held_out_loss`.
    """
    args = [f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/tiny", "data/abilities")]
    args += [*SILENT, "--trainer.accelerator=cpu", "--trainer.callbacks=[]"]
    args += [f"--trainer.default_root_dir={folder}", f"--trainer.max_epochs={stages}"]
    args += [f"--data.num_train={examples}", f"--data.num_val_per_ability={held_out}"]
    args += [f"--data.data_seed={seed}", f"--seed_everything={seed}", "--model.init_seed=0"]
    cli = CurriculumCLI(args, run=False)
    others = [c for c in cli.trainer.callbacks if not isinstance(c, CurriculumCallback)]  # type: ignore[attr-defined]
    cli.trainer.callbacks = [*others, *callbacks]  # type: ignore[attr-defined]
    return cli


def held_out_loss(cli: CurriculumCLI) -> float:
    """Mean loss of a finished run on its validation examples, in nats per token."""
    cli.trainer.limit_val_batches = 1.0
    return float(cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0]["val/loss"])
