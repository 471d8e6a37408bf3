"""What a Trainer needs to train on the fake accelerator of ``fake_accelerator.py``."""

from __future__ import annotations

from typing import Any

import fake_accelerator
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from lit_curriculum.types import Batch


class FakeAccelerator(Accelerator):
    """One fake accelerator."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(fake_accelerator.FAKE, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return fake_accelerator.FAKE


class FakeStrategy(SingleDeviceStrategy):
    """The usual one, but that PyTorch cannot put such tensors into parameters that there are already."""

    def __init__(self) -> None:
        super().__init__(device=torch.device(fake_accelerator.FAKE, 0))

    def model_to_device(self) -> None:
        assert self.model is not None
        fake_accelerator.move(self.model)
        self.model._device = self.root_device


class Steps(Callback):
    """Examples and loss of every step."""

    def __init__(self) -> None:
        self.examples: list[list[int]] = []
        self.losses: list[float] = []
        self.devices: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.examples.append(batch.index.tolist())
        self.devices.add(str(batch.input_ids.device))
        self.losses.append(float(outputs["loss"]))
