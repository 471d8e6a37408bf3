"""What callbacks need of trainer, module and data, refused in a sentence where it is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.types import ExampleStore


@runtime_checkable
class CurriculumData(Protocol):
    """What a data module has to offer: the examples, and the sampler that its training loader reads."""

    train_store: ExampleStore
    sampler: CurriculumSampler


def curriculum_data(trainer: Trainer) -> CurriculumData:
    """The trainer's data module, if a curriculum can drive it.

    Raises:
        MisconfigurationException: there is none, or it lacks the store or the sampler.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, CurriculumData):
        raise MisconfigurationException(
            "CurriculumCallback needs a data module with the attributes train_store and sampler (a CurriculumSampler "
            f"that its training loader reads), but got {type(data).__name__}; use InstructionDataModule or give "
            "yours these two in setup()."
        )
    return data


def validation_store(trainer: Trainer, callback: Callback) -> ExampleStore:
    """The validation examples.

    Raises:
        MisconfigurationException: the data module has none.
    """
    data = getattr(trainer, "datamodule", None)
    store: ExampleStore | None = getattr(data, "val_store", None)
    if store is None:
        name = type(callback).__name__
        raise MisconfigurationException(
            f"{name} needs a data module whose val_store holds the validation examples, but {type(data).__name__} has "
            f"none; set data.val_path or data.val_fraction, give yours a val_store in setup(), or take {name} out of "
            "trainer.callbacks."
        )
    return store


def step_outputs(
    outputs: Any, needed: Sequence[str], step: str, callback: Callback, module: LightningModule
) -> Mapping[str, Any]:
    """What a step of the module has returned, if all that is needed is in it.

    Args:
        outputs: What the hook was given.
        needed: Keys.
        step: Name of the step.
        callback: Who needs them.
        module: Whose step it is.

    Raises:
        MisconfigurationException: a key is missing.
    """
    if not isinstance(outputs, Mapping) or any(name not in outputs for name in needed):
        name = type(callback).__name__
        raise MisconfigurationException(
            f"{name} needs {step} to return {', '.join(needed)}, which {type(module).__name__} does not; return a "
            f"mapping with them, or take {name} out of trainer.callbacks."
        )
    return outputs


def check_module(module: LightningModule) -> None:
    """Refuse a module that cannot be asked for token losses."""
    if not callable(getattr(module, "token_nll", None)):
        raise MisconfigurationException(
            f"the metrics of the curriculum need the model's losses, but {type(module).__name__} has no method "
            "token_nll(batch); use CausalLMModule or give yours one (see lit_curriculum.types.LanguageModel)."
        )


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings that would train on something else than the plan.

    Raises:
        MisconfigurationException: names the setting and the way out.
    """
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise MisconfigurationException(
            f"trainer.max_epochs={trainer.max_epochs}: one epoch is one stage of the curriculum, so their number must "
            "be set, to 1 or more."
        )
    if trainer.overfit_batches:  # type: ignore[attr-defined]
        raise MisconfigurationException(
            "trainer.overfit_batches replaces the sampler, so the curriculum would not be trained on; set data.limit "
            "to try a few examples."
        )
    whole = trainer.limit_train_batches == 1.0 and isinstance(trainer.limit_train_batches, float)
    if not whole and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        raise MisconfigurationException(
            f"trainer.limit_train_batches={trainer.limit_train_batches} would cut every stage short of its plan; "
            "lower curriculum.policy's fraction or count, or set data.limit, instead."
        )
    reload_every = trainer.reload_dataloaders_every_n_epochs  # type: ignore[attr-defined]
    if reload_every != 1:
        raise MisconfigurationException(
            f"trainer.reload_dataloaders_every_n_epochs={reload_every}, but stages may "
            "differ in size and a loader's length is read only when it is loaded; set it to 1."
        )


def check_reads(policy: CurriculumPolicy, metrics: Mapping[str, DifficultyMetric]) -> None:
    """Refuse a policy that reads a metric which there is not.

    Raises:
        ValueError: names the metric.
    """
    missing = sorted(set(policy.required_metrics) - set(metrics))
    if missing:
        raise ValueError(
            f"curriculum.policy {type(policy).__name__} reads the metric {missing[0]!r}, but curriculum.metrics "
            f"has {sorted(metrics) or 'none'}; add it there under that name."
        )
