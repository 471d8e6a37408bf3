"""Curriculum policies: what each stage trains on."""

from lit_curriculum.curriculum.banded import BandedPolicy
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.curriculum.budget import BudgetedRefresh
from lit_curriculum.curriculum.campus import CampusPolicy
from lit_curriculum.curriculum.chained import ChainedPolicy
from lit_curriculum.curriculum.competence import CompetencePolicy
from lit_curriculum.curriculum.coverage import CoveragePolicy
from lit_curriculum.curriculum.growth_pace import GrowthPacePolicy
from lit_curriculum.curriculum.interleaved import InterleavedPolicy
from lit_curriculum.curriculum.iterit import IterITPolicy
from lit_curriculum.curriculum.loss_sampling import LossSamplingPolicy
from lit_curriculum.curriculum.loss_weighting import LossWeightingPolicy
from lit_curriculum.curriculum.mixture import AbilityMixturePolicy
from lit_curriculum.curriculum.online_mixture import OnlineMixturePolicy
from lit_curriculum.curriculum.ordered import OrderedPolicy
from lit_curriculum.curriculum.patterns import PatternPolicy
from lit_curriculum.curriculum.recent import ReuseRecent
from lit_curriculum.curriculum.self_paced import SelfPacedPolicy
from lit_curriculum.curriculum.source_mixture import SourceMixturePolicy
from lit_curriculum.curriculum.tapir import TapirPolicy
from lit_curriculum.curriculum.top import TopMetricPolicy
from lit_curriculum.curriculum.uniform import UniformPolicy
from lit_curriculum.curriculum.warm_start import WarmStartPolicy
from lit_curriculum.curriculum.window import WindowPolicy
from lit_curriculum.curriculum.within_abilities import WithinAbilitiesPolicy

__all__ = [
    "AbilityMixturePolicy",
    "BandedPolicy",
    "BudgetedRefresh",
    "CampusPolicy",
    "ChainedPolicy",
    "CompetencePolicy",
    "CoveragePolicy",
    "CurriculumPolicy",
    "GrowthPacePolicy",
    "InterleavedPolicy",
    "IterITPolicy",
    "LossSamplingPolicy",
    "LossWeightingPolicy",
    "OnlineMixturePolicy",
    "OrderedPolicy",
    "PatternPolicy",
    "ReuseRecent",
    "SelfPacedPolicy",
    "SourceMixturePolicy",
    "TapirPolicy",
    "TopMetricPolicy",
    "UniformPolicy",
    "WarmStartPolicy",
    "WindowPolicy",
    "WithinAbilitiesPolicy",
]
