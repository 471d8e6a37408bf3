"""Parameter groups and the number of optimizer steps in a run."""

from __future__ import annotations

import math
from typing import Any, Protocol

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters as groups for an optimizer; those with fewer than two dimensions have no weight decay."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class HorizonAware(Protocol):
    """A learning-rate schedule whose number of optimizer steps can be set."""

    def set_horizon(self, total_steps: int, /) -> None:
        """Take ``total_steps`` optimizer steps as the length of the run."""
        ...


def fix_horizon(schedule: HorizonAware, total_steps: int | None) -> None:
    """Set the length of the run in ``schedule``, unless its options have.

    Args:
        schedule: Its attribute ``total_steps``, where set, is kept.
        total_steps: The number of optimizer steps, if it is known.

    Raises:
        MisconfigurationException: the length of the run is unknown.
    """
    if getattr(schedule, "total_steps", None) is not None:
        return
    if total_steps is not None:
        schedule.set_horizon(total_steps)
    else:
        raise MisconfigurationException(
            f"model.lr_schedule: {type(schedule).__name__} needs the length of the run, which is unknown; "
            f"set trainer.max_steps, or trainer.max_epochs with a data module whose loader has a length."
        )


def count_steps(trainer: Trainer) -> int | None:
    """Optimizer steps in the whole run, or none where nothing sets them.

    The Trainer's own estimate is not used, because it builds and keeps the training loader before the first stage is
    planned. A loader made here only has its length read.

    Args:
        trainer: Its ``max_steps`` and ``max_epochs`` limit the run; the length of an epoch comes from the data
            module, so callers whose epochs differ in length must know better.
    """
    limits = []
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps)
    # lightning.pytorch gives every Trainer the attribute, but types it on the loader connector only.
    datamodule: LightningDataModule | None = getattr(trainer, "datamodule", None)
    if trainer.max_epochs is not None and trainer.max_epochs > 0 and datamodule is not None:
        batches = _batches_per_epoch(datamodule.train_dataloader(), trainer)
        if batches is not None:
            limits.append(trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    return min(limits, default=None)


def _batches_per_epoch(loader: object, trainer: Trainer) -> int | None:
    if not isinstance(loader, DataLoader):
        return None
    try:
        batches = len(loader)
    except TypeError:
        # A stream has no length.
        return None
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if trainer.world_size > 1 and not isinstance(sampler, DistributedSampler):
        # The Trainer is going to split such a loader among the ranks.
        batches = math.ceil(batches / trainer.world_size)
    limit = trainer.limit_train_batches
    if isinstance(limit, float):
        return int(batches * limit)
    return batches if limit is None else min(batches, limit)
