"""Instruction data: from records to batches of tokens, and the sampler that a curriculum drives."""

from lit_curriculum.data.ability_datamodule import AbilityDataModule
from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.data.doit import DoITDataModule
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.data.selection import SelectionSampler
from lit_curriculum.data.tokens import TokenStore

__all__ = [
    "AbilityDataModule",
    "CurriculumSampler",
    "DoITDataModule",
    "InstructionDataModule",
    "SelectionSampler",
    "TokenStore",
]
