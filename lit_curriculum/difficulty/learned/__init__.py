"""The learned difficulty scorer: features, a small net, two objectives, and the metric that holds them together."""

from lit_curriculum.difficulty.learned.features import HashedNgrams, HiddenStates, ScorerFeatures
from lit_curriculum.difficulty.learned.pairwise import Pairwise
from lit_curriculum.difficulty.learned.reference_loss import ReferenceLoss
from lit_curriculum.difficulty.learned.reweighting import Reweighting
from lit_curriculum.difficulty.learned.scorer import LearnedScorer
from lit_curriculum.difficulty.learned.text import TextEncoder, TextFeatures

__all__ = [
    "HashedNgrams", "HiddenStates", "LearnedScorer", "Pairwise", "ReferenceLoss", "Reweighting", "ScorerFeatures",
    "TextEncoder", "TextFeatures",
]  # fmt: skip
