"""Difficulty metrics, the table that holds their scores, and the engine that computes them."""

from lit_curriculum.difficulty.base import DifficultyMetric, ModelMetric, TextMetric
from lit_curriculum.difficulty.engine import ScoringEngine
from lit_curriculum.difficulty.ifd import InstructionFollowingDifficulty, LossRatioIFD
from lit_curriculum.difficulty.length import Length
from lit_curriculum.difficulty.mtld import MTLD
from lit_curriculum.difficulty.nll import ConversationNLL, NegativeLogLikelihood, Perplexity
from lit_curriculum.difficulty.table import DifficultyTable

__all__ = [
    "MTLD",
    "ConversationNLL",
    "DifficultyMetric",
    "DifficultyTable",
    "InstructionFollowingDifficulty",
    "Length",
    "LossRatioIFD",
    "ModelMetric",
    "NegativeLogLikelihood",
    "Perplexity",
    "ScoringEngine",
    "TextMetric",
]
