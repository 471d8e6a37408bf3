"""Similarity of examples to a small target set, in the eyes of the model: of gradients, or of hidden states."""

from lit_curriculum.difficulty.target.metric import TargetSimilarity
from lit_curriculum.difficulty.target.rows import TargetRows
from lit_curriculum.difficulty.target.vectors import GradientVectors, HiddenStateVectors, TargetVectors

__all__ = ["GradientVectors", "HiddenStateVectors", "TargetRows", "TargetSimilarity", "TargetVectors"]
