"""The public names of the package; :mod:`lit_curriculum` loads each on first use."""

# The loop and what it drives
from .callbacks.abilities import AbilityMonitor as AbilityMonitor
from .callbacks.ledger import LedgerWriter as LedgerWriter
from .callbacks.length_warmup import SequenceLengthWarmup as SequenceLengthWarmup

# Callbacks
from .callbacks.monitor import CurriculumMonitor as CurriculumMonitor
from .callbacks.run_card import RunCard as RunCard
from .callbacks.selection_log import SelectionLog as SelectionLog
from .chat.cache import CachedClient as CachedClient
from .chat.client import Budget as Budget

# Chat clients
from .chat.client import ChatClient as ChatClient
from .chat.local_client import LocalClient as LocalClient
from .chat.openai_client import OpenAIClient as OpenAIClient
from .curriculum.base import CurriculumPolicy as CurriculumPolicy

# Data
from .data.ability_datamodule import AbilityDataModule as AbilityDataModule
from .data.datamodule import InstructionDataModule as InstructionDataModule
from .data.sampler import CurriculumSampler as CurriculumSampler
from .data.selection import SelectionSampler as SelectionSampler
from .data.tokens import TokenStore as TokenStore
from .difficulty.base import DifficultyMetric as DifficultyMetric
from .difficulty.base import ModelMetric as ModelMetric
from .difficulty.base import TextMetric as TextMetric
from .difficulty.compression import CompressionRatio as CompressionRatio
from .difficulty.engine import ScoringEngine as ScoringEngine

# Metrics
from .difficulty.ifd import InstructionFollowingDifficulty as InstructionFollowingDifficulty
from .difficulty.ifd import LossRatioIFD as LossRatioIFD
from .difficulty.learned import LearnedMetric as LearnedMetric
from .difficulty.length import Length as Length
from .difficulty.mtld import MTLD as MTLD
from .difficulty.nll import ConversationNLL as ConversationNLL
from .difficulty.nll import NegativeLogLikelihood as NegativeLogLikelihood
from .difficulty.nll import Perplexity as Perplexity
from .difficulty.table import DifficultyTable as DifficultyTable
from .difficulty.words import WordSplitter as WordSplitter
from .loop.callback import CurriculumCallback as CurriculumCallback
from .loop.checkpoints import AtomicCheckpointIO as AtomicCheckpointIO
from .loop.checkpoints import ExceptionCheckpoint as ExceptionCheckpoint
from .loop.hooks import CurriculumObserver as CurriculumObserver
from .loop.hooks import StagePreparer as StagePreparer
from .loop.planner import StagePlanner as StagePlanner
from .loop.planner import StageReport as StageReport
from .methods.baselines.baby_steps import BabyStepsPolicy as BabyStepsPolicy
from .methods.baselines.competence import CompetencePolicy as CompetencePolicy
from .methods.baselines.coverage import CoveragePolicy as CoveragePolicy
from .methods.baselines.diversity.base import Diversity as Diversity
from .methods.baselines.diversity.clusters import ClusterDraw as ClusterDraw
from .methods.baselines.diversity.facility import FacilityLocation as FacilityLocation
from .methods.baselines.diversity.kcenter import KCenterGreedy as KCenterGreedy
from .methods.baselines.diversity.minhash import MinHashFilter as MinHashFilter
from .methods.baselines.diversity.neighbours import NeighbourFilter as NeighbourFilter
from .methods.baselines.diversity.ngrams import NgramCoverage as NgramCoverage
from .methods.baselines.diversity.vectors import EncodedTexts as EncodedTexts
from .methods.baselines.diversity.vectors import ExampleVectors as ExampleVectors
from .methods.baselines.diversity.vectors import NgramVectors as NgramVectors
from .methods.baselines.diversity.vectors import TfidfVectors as TfidfVectors
from .methods.baselines.interleaved import InterleavedPolicy as InterleavedPolicy
from .methods.baselines.loss_sampling import LossSamplingPolicy as LossSamplingPolicy
from .methods.baselines.loss_weighting import LossWeightingPolicy as LossWeightingPolicy
from .methods.baselines.online_mixture import OnlineMixturePolicy as OnlineMixturePolicy
from .methods.baselines.ordered import OrderedPolicy as OrderedPolicy
from .methods.baselines.patterns import PatternPolicy as PatternPolicy
from .methods.baselines.scorers.digits import DigitExpectation as DigitExpectation
from .methods.baselines.scorers.proxy import DeltaLoss as DeltaLoss
from .methods.baselines.scorers.proxy import ProxyMetric as ProxyMetric
from .methods.baselines.scorers.reflection import SelfReflection as SelfReflection
from .methods.baselines.scorers.sentence_encoder import SentenceEncoder as SentenceEncoder
from .methods.baselines.self_paced import SelfPacedPolicy as SelfPacedPolicy
from .methods.baselines.source_mixture import SourceMixturePolicy as SourceMixturePolicy
from .methods.baselines.target.metric import TargetSimilarity as TargetSimilarity
from .methods.baselines.target.rows import TargetRows as TargetRows
from .methods.baselines.target.vectors import GradientVectors as GradientVectors
from .methods.baselines.target.vectors import HiddenStateVectors as HiddenStateVectors
from .methods.baselines.target.vectors import TargetVectors as TargetVectors
from .methods.baselines.top import TopMetricPolicy as TopMetricPolicy

# Baselines
from .methods.baselines.uniform import UniformPolicy as UniformPolicy
from .methods.baselines.window import WindowPolicy as WindowPolicy

# CAMPUS
from .methods.campus.policy import CampusPolicy as CampusPolicy
from .methods.campus.scorer.features import HashedNgrams as HashedNgrams
from .methods.campus.scorer.features import HiddenStates as HiddenStates
from .methods.campus.scorer.features import ScorerFeatures as ScorerFeatures
from .methods.campus.scorer.features import TextEncoder as TextEncoder
from .methods.campus.scorer.features import TextFeatures as TextFeatures
from .methods.campus.scorer.objective import ScorerObjective as ScorerObjective
from .methods.campus.scorer.pairwise import Pairwise as Pairwise
from .methods.campus.scorer.reference_loss import ReferenceLoss as ReferenceLoss
from .methods.campus.scorer.reweighting import Reweighting as Reweighting
from .methods.campus.scorer.scorer import LearnedScorer as LearnedScorer
from .methods.campus.trace import ScheduleTrace as ScheduleTrace
from .methods.doit.data import DoITDataModule as DoITDataModule
from .methods.doit.growth_pace import GrowthPacePolicy as GrowthPacePolicy
from .methods.doit.mixture import AbilityMixturePolicy as AbilityMixturePolicy

# DoIT
from .methods.doit.tracker import AbilityGrowthTracker as AbilityGrowthTracker

# IterIT
from .methods.iterit.policy import IterITPolicy as IterITPolicy
from .methods.tapir.callback import TapirRounds as TapirRounds
from .methods.tapir.difficulty import ModelFittingDifficulty as ModelFittingDifficulty

# TAPIR
from .methods.tapir.policy import TapirPolicy as TapirPolicy
from .methods.tapir.teacher.classifier import LinearTaskClassifier as LinearTaskClassifier
from .methods.tapir.teacher.classifier import PromptClassifier as PromptClassifier
from .methods.tapir.teacher.expander import PromptExpander as PromptExpander
from .methods.tapir.teacher.hf_classifier import HFTaskClassifier as HFTaskClassifier
from .methods.tapir.teacher.judge import LikelihoodJudge as LikelihoodJudge
from .methods.tapir.teacher.judge import PromptJudge as PromptJudge
from .methods.tapir.teacher.procedural import ProceduralClassifier as ProceduralClassifier
from .methods.tapir.teacher.procedural import ProceduralExpander as ProceduralExpander
from .methods.tapir.teacher.procedural import ProceduralJudge as ProceduralJudge
from .methods.tapir.teacher.procedural import ProceduralRefiner as ProceduralRefiner
from .methods.tapir.teacher.procedural import ProceduralTeacher as ProceduralTeacher
from .methods.tapir.teacher.refiner import PromptRefiner as PromptRefiner
from .methods.tapir.teacher.refiner import PromptTeacher as PromptTeacher

# Wrappers
from .methods.wrappers.budget import BudgetedRefresh as BudgetedRefresh
from .methods.wrappers.chained import ChainedPolicy as ChainedPolicy
from .methods.wrappers.warm_start import WarmStartPolicy as WarmStartPolicy
from .methods.wrappers.within_abilities import WithinAbilitiesPolicy as WithinAbilitiesPolicy
from .methods.wrappers.wrapper import PolicyWrapper as PolicyWrapper
from .models.causal_lm import CausalLMModule as CausalLMModule
from .models.lora import LoRA as LoRA

# Learning-rate schedules
from .models.schedules import WarmupCosine as WarmupCosine
from .models.schedules import WarmupCosineCycles as WarmupCosineCycles
from .models.schedules import WarmupLinear as WarmupLinear
from .types import Batch as Batch
from .types import Example as Example
from .types import Message as Message
from .types import Plan as Plan

__version__: str
