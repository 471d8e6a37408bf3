"""Checks of trainer, module and data before training; each refusal names what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.difficulty.base import DifficultyMetric
from lit_curriculum.types import ExampleStore


@runtime_checkable
class CurriculumData(Protocol):
    """A data module with the examples, and with the sampler that its training loader reads."""

    train_store: ExampleStore
    sampler: CurriculumSampler


def curriculum_data(trainer: Trainer) -> CurriculumData:
    """The trainer's data module.

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
    """The output of a step of the module, checked for the keys that a callback needs.

    Args:
        outputs: The output that the hook received.
        needed: Keys.
        step: Name of the step.
        callback: The callback that needs them.
        module: The module whose step it is.

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


def check_module(module: LightningModule, metrics: Mapping[str, DifficultyMetric]) -> None:
    """Refuse a module that lacks a method which a metric calls.

    Raises:
        MisconfigurationException: names metric and method.
    """
    for name, metric in metrics.items():
        for method in metric.model_methods:
            if not callable(getattr(module, method, None)):
                raise MisconfigurationException(
                    f"curriculum.metrics.{name} needs the model's method {method}, which {type(module).__name__} does "
                    "not have; use CausalLMModule, add the method to yours (see lit_curriculum.types), or choose "
                    "another metric or other options of it."
                )


def check_trainer(trainer: Trainer) -> None:
    """Refuse trainer settings under which training would not follow the plan.

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
