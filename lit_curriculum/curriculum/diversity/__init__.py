"""Choosing examples that differ from one another: rules, and the vectors by which examples are compared."""

from lit_curriculum.curriculum.diversity.base import Diversity, Pool
from lit_curriculum.curriculum.diversity.clusters import ClusterDraw
from lit_curriculum.curriculum.diversity.facility import FacilityLocation
from lit_curriculum.curriculum.diversity.kcenter import KCenterGreedy
from lit_curriculum.curriculum.diversity.minhash import MinHashFilter
from lit_curriculum.curriculum.diversity.neighbours import NeighbourFilter
from lit_curriculum.curriculum.diversity.ngrams import NgramCoverage
from lit_curriculum.curriculum.diversity.vectors import EncodedTexts, ExampleVectors, NgramVectors, TfidfVectors

__all__ = [
    "ClusterDraw",
    "Diversity",
    "EncodedTexts",
    "ExampleVectors",
    "FacilityLocation",
    "KCenterGreedy",
    "MinHashFilter",
    "NeighbourFilter",
    "NgramCoverage",
    "NgramVectors",
    "Pool",
    "TfidfVectors",
]
