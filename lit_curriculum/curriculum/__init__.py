"""Curriculum policies: what each stage trains on."""

from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.budget import BudgetedRefresh
from lit_curriculum.curriculum.growth_pace import GrowthPacePolicy
from lit_curriculum.curriculum.iterit import IterITPolicy
from lit_curriculum.curriculum.mixture import AbilityMixturePolicy
from lit_curriculum.curriculum.ordered import OrderedPolicy
from lit_curriculum.curriculum.recent import ReuseRecent
from lit_curriculum.curriculum.uniform import UniformPolicy

__all__ = [
    "AbilityMixturePolicy",
    "BudgetedRefresh",
    "CurriculumPolicy",
    "GrowthPacePolicy",
    "IterITPolicy",
    "OrderedPolicy",
    "ReuseRecent",
    "UniformPolicy",
]
