"""Lightning callbacks: the curriculum loop, and what watches it."""

from lit_curriculum.callbacks.abilities import AbilityMonitor
from lit_curriculum.callbacks.checkpoint_io import AtomicCheckpointIO, ExceptionCheckpoint, latest_checkpoint
from lit_curriculum.callbacks.curriculum import CurriculumCallback
from lit_curriculum.callbacks.growth import AbilityGrowthTracker
from lit_curriculum.callbacks.ledger import LedgerWriter
from lit_curriculum.callbacks.length_warmup import SequenceLengthWarmup
from lit_curriculum.callbacks.monitor import CurriculumMonitor
from lit_curriculum.callbacks.observer import CurriculumObserver, StageReport
from lit_curriculum.callbacks.run_card import RunCard
from lit_curriculum.callbacks.schedule_trace import ScheduleTrace
from lit_curriculum.callbacks.selection_log import SelectionLog
from lit_curriculum.callbacks.tapir import TapirRounds

__all__ = [
    "AbilityGrowthTracker",
    "AbilityMonitor",
    "AtomicCheckpointIO",
    "CurriculumCallback",
    "CurriculumMonitor",
    "CurriculumObserver",
    "ExceptionCheckpoint",
    "LedgerWriter",
    "RunCard",
    "ScheduleTrace",
    "SelectionLog",
    "SequenceLengthWarmup",
    "StageReport",
    "TapirRounds",
    "latest_checkpoint",
]
