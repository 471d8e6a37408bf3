"""The student answers, the judge scores, and the difficulty goes into the table; on any number of ranks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from matplotlib import pyplot as plt

from lit_curriculum.chat.chat import DistillStoppedError
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.callback import CurriculumCallback
from lit_curriculum.loop.scoring import scoring_bar
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty, gap_histogram
from lit_curriculum.methods.tapir.policy import TapirPolicy
from lit_curriculum.methods.tapir.roles import JudgeItem, Judgement, PairJudge, Usage
from lit_curriculum.methods.tapir.rounds import Roles
from lit_curriculum.methods.tapir.student import StudentAnswers, prompts_of
from lit_curriculum.report import figures
from lit_curriculum.types import ExampleStore, IntArray
from lit_curriculum.utils.distributed import broadcast_object
from lit_curriculum.utils.jsonl_log import append_journal, read_journal

_CHUNK = 64
"""Items between two writes to disk."""


def judgement_state(judgement: Judgement) -> dict[str, Any]:
    """The judgement as plain values, for a checkpoint or a file."""
    return {**asdict(judgement), "raw": list(judgement.raw)}


def judgement_from_state(state: dict[str, Any]) -> Judgement:
    """The judgement that :func:`judgement_state` was made of."""
    fields = {name: value for name, value in state.items() if name != "key"}
    return Judgement(**{**fields, "raw": tuple(state["raw"]), "usage": Usage(**state["usage"])})


def judge_items(
    judge: PairJudge, items: Sequence[JudgeItem], path: Path, progress: Callable[[int, int], None] | None = None
) -> list[Judgement]:
    """One judgement for each item; those that the file holds are not asked for.

    Args:
        judge: Asked for what is missing, some dozens of items at a time.
        items: What to compare.
        path: File of judgements, of this judge and of others.
        progress: Told (items judged, items to judge) after every write.
    """
    keys = [hashlib.sha256(json.dumps([judge.version, *item]).encode()).hexdigest() for item in items]
    known = {r["key"]: judgement_from_state(r) for r in read_journal(path)}
    missing = list({k: i for k, i in zip(keys, items, strict=True) if k not in known}.items())
    for start in range(0, len(missing), _CHUNK):
        part = missing[start : start + _CHUNK]
        found = judge.judge([item for _, item in part])
        new = {key: judgement for (key, _), judgement in zip(part, found, strict=True)}
        append_journal(path, [{"key": k, **judgement_state(j)} for k, j in new.items()])
        known |= new
        if progress is not None:
            progress(start + len(part), len(missing))
    return [known[key] for key in keys]


def judge_rows(
    roles: Roles, store: ExampleStore, indices: IntArray, answers: Sequence[str], path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgement]:  # fmt: skip
    """The judge's scores of the student's answers to the examples ``indices`` [K] beside those in the data.

    Args:
        roles: The judge is asked; its costs are counted, those of judgements that were made before a kill too.
        store: The data.
        indices: Examples.
        answers: The student's, one for each.
        path: See :func:`judge_items`.
        progress: Likewise.
    """
    examples = [store[int(i)] for i in indices]
    items = [JudgeItem(e.instruction, e.response, a) for e, a in zip(examples, answers, strict=True)]
    found = judge_items(roles.judge, items, path, progress)
    for judgement in dict(zip(items, found, strict=True)).values():  # equal items were asked once
        roles.costs.add("judge", judgement.usage, int(not judgement.valid))
    return found


T = TypeVar("T")


class Decoding(NamedTuple):
    """How the student answers."""

    max_new_tokens: int
    temperature: float
    seed: int


def judge_student(
    trainer: Trainer,
    module: LightningModule,
    policy: TapirPolicy,
    table: DifficultyTable,
    stage: int,
    roles: Roles,
    metric: ModelFittingDifficulty,
    decoding: Decoding,
    folder: Path,
) -> dict[int, tuple[str, Judgement]]:
    """Enter the difficulty of all rows in use under the student as it is.

    Args:
        trainer: Its data module holds the rows.
        module: The student.
        policy: Says which rows are in use.
        table: Gets the difficulty in the policy's column; what cannot be judged is marked unscorable.
        stage: The stage that is being prepared.
        roles: The judge is asked by rank zero alone.
        metric: Makes the difficulty of two scores.
        decoding: How the student answers.
        folder: Gets the student's journal and the histogram.

    Returns:
        The student's answer and its scores, by index.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    store = data.train_store
    indices: IntArray = np.flatnonzero(~policy.replaced)
    answers = StudentAnswers(
        folder / "answers", model_fingerprint(module), decoding.max_new_tokens, decoding.temperature, decoding.seed
    )
    with scoring_bar(trainer, stage, "Student answers", " answers") as progress:
        tokens = answers.answer(module, prompts_of(store, indices), progress)  # type: ignore[arg-type]
    texts = [str(data.tokenizer.decode(t, skip_special_tokens=True)).strip() for t in tokens]
    journal = folder / "judgements.jsonl"
    with scoring_bar(trainer, stage, "Judgements", " answers") as progress:
        found = on_rank_zero(trainer, lambda: judge_rows(roles, store, indices, texts, journal, progress))
    scores = np.array([(j.score_teacher, j.score_student) for j in found], dtype=np.float64).reshape(-1, 2)
    gaps = metric.gap(scores[:, 0], scores[:, 1])
    gaps[[not j.valid for j in found]] = np.nan
    table.enter(policy.metric, indices, gaps, stage)
    delta = policy.threshold(table)
    text = gap_histogram(gaps, delta, metric.formula)
    rank_zero_info(text)
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"mfd-stage-{stage}.txt").write_text(text + "\n", encoding="utf-8")
        figure, axes = plt.subplots(figsize=(6, 3.5))
        figures.gap_histogram(axes, gaps.tolist(), delta)
        figures.save(figure, folder / f"mfd-stage-{stage}.png")
    return {int(i): (t, j) for i, t, j in zip(indices, texts, found, strict=True)}


def mfd_metric(trainer: Trainer) -> ModelFittingDifficulty:
    """The difficulty under the name that the policy reads: the curriculum's own, so that there is one sign.

    Raises:
        MisconfigurationException: it is another metric.
    """
    curriculum = next(c for c in trainer.callbacks if isinstance(c, CurriculumCallback))  # type: ignore[attr-defined]
    name = checked_parts(trainer, curriculum.policy)[1].metric
    metric = curriculum.metrics[name]
    if not isinstance(metric, ModelFittingDifficulty):
        raise MisconfigurationException(
            f"TapirRounds enters the judged difficulty under curriculum.policy.metric={name!r}, but "
            f"curriculum.metrics.{name} is a {type(metric).__name__}; make it a ModelFittingDifficulty."
        )
    return metric


def checked_parts(trainer: Trainer, policy: CurriculumPolicy) -> tuple[InstructionDataModule, TapirPolicy]:
    """The parts that the rounds work on.

    Raises:
        MisconfigurationException: one of them is of another kind.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, InstructionDataModule) or not isinstance(policy, TapirPolicy):
        raise MisconfigurationException(
            f"TapirRounds works on an InstructionDataModule and a TapirPolicy, but got {type(data).__name__} and "
            f"{type(policy).__name__}; take it out of trainer.callbacks or change data or curriculum.policy."
        )
    return data, policy


def check_roles(trainer: Trainer, roles: Roles) -> None:
    """What can be said of the roles before training.

    Raises:
        ValueError: the classifier was never trained.
    """
    warn_of_lost_answers(roles)
    if roles.classifier is not None:
        on_rank_zero(trainer, roles.classifier.check_ready)


def warn_of_lost_answers(roles: Roles) -> None:
    """Say so where a role's answers come from a server and are kept nowhere."""
    for name in ("teacher", "expander", "refiner", "classifier"):
        if isinstance(getattr(getattr(roles, name), "client", None), OpenAIClient):
            rank_zero_warn(
                f"TapirRounds.{name}: its answers are kept nowhere, so a run that is killed pays for those of its last "
                f"round again; put a CachedClient around the client."
            )


def check_whole_weights(trainer: Trainer) -> None:
    """Weights that are kept in one file to start from again have to be whole on rank zero.

    Raises:
        MisconfigurationException: the strategy shards them.
    """
    if trainer.strategy.restore_checkpoint_after_setup:
        raise MisconfigurationException(
            f"TapirRounds.init=base keeps the weights of the start in one file, but {type(trainer.strategy).__name__} "
            f"has them in shards; set init to previous, or trainer.strategy to ddp."
        )


def on_rank_zero(trainer: Trainer, function: Callable[[], T]) -> T:
    """What ``function`` returns on rank zero, on every rank; where it ends in an error there, all ranks end with it.

    Raises:
        RuntimeError: on the other ranks, with rank zero's sentence; the subclass is rank zero's where it is
            :class:`DistillStoppedError`.
    """
    device = trainer.strategy.root_device
    failed: tuple[bool, str] | None = None
    value: T | None = None
    if trainer.is_global_zero:
        try:
            value = function()
        except Exception as error:
            # Before it goes up: the others would wait for it for ever.
            broadcast_object((None, (isinstance(error, DistillStoppedError), str(error))), device)
            raise
    value, failed = broadcast_object((value, failed), device)
    if failed is not None:
        raise (DistillStoppedError if failed[0] else RuntimeError)(failed[1])
    return value  # type: ignore[return-value]
