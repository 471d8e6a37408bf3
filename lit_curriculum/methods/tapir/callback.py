"""TAPIR's rounds on the common loop: the student is judged, and the teacher writes the data of the next round."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from matplotlib import pyplot as plt
from typing_extensions import override

from lit_curriculum.chat.client import ChatStoppedError
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.data.append import append_examples, encode_examples
from lit_curriculum.data.datamodule import InstructionDataModule
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.loop.callback import find_curriculum
from lit_curriculum.loop.hooks import CurriculumObserver, StagePreparer
from lit_curriculum.loop.planner import StageReport
from lit_curriculum.loop.scoring import scoring_bar
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty, gap_histogram
from lit_curriculum.methods.tapir.judging import StudentAnswers, answer_prompt, judge_rows
from lit_curriculum.methods.tapir.policy import TapirPolicy
from lit_curriculum.methods.tapir.provenance import RoundRecords, answer_raw, to_example, write_costs
from lit_curriculum.methods.tapir.roles import (
    Expander,
    Judgement,
    PairJudge,
    ProvenanceRow,
    Refiner,
    TaskClassifier,
    Teacher,
)
from lit_curriculum.methods.tapir.rounds import Roles, find_tasks, refine_hard, write_new
from lit_curriculum.report import figures
from lit_curriculum.types import IntArray, Plan
from lit_curriculum.utils.distributed import broadcast_object
from lit_curriculum.utils.files import atomic_path

Rejudge = Literal["never", "each"]
Init = Literal["previous", "base"]
RawAnswers = Literal["given", "teacher"]
T = TypeVar("T")
_OWNER = "TapirRounds"


class TapirRounds(Callback, StagePreparer, CurriculumObserver):
    """Before round 1 the student answers and is judged; before every round the hard pool grows and is appended.

    It drives a :class:`~lit_curriculum.TapirPolicy`. Judge, teacher, expander, refiner and
    classifier are asked by rank zero alone. A run that is killed anywhere comes to the same data again: the client's
    cache and the student's journal hold all answers of models, and a checkpoint holds all rows that have been
    appended. In the run's folder, ``tapir/`` gets the provenance of every example, the costs and the histogram.

    Args:
        judge: Scores the student's answer beside the one in the data.
        teacher: Answers new instructions.
        expander: Writes new instructions from hard ones; null, as an empty ``pool_sizes``, for none.
        refiner: Rewrites the answers of hard rows and of new ones; null for none.
        classifier: Finds the task of raw rows for which the data name none (a call each where it asks a chat model),
            and of new ones; null to trust what was asked for.
        raw_answers: ``given`` with the data, or ``teacher``: before the first stage the teacher answers the raw
            instructions, and its answers are what is trained on and judged.
        pool_sizes: Rows of the hard pool in round 1, 2, ...; the last holds for later rounds.
        max_new_tokens: Tokens at most of a student's (greedy) answer.
        rejudge: ``each`` judges all rows in use again before every round with the student as it is then; ``never``
            after the first time.
        init: What a round starts from: the ``previous`` round's weights, or the ``base`` weights, those before the
            first stage, with an empty optimizer.
        seed: Of the draws of seeds and of the student's answers.

    Raises:
        ValueError: an option is out of range.

    References:
        Yue et al., arXiv 2405.13448, section 3.
    """

    def __init__(
        self,
        judge: PairJudge,
        teacher: Teacher,
        expander: Expander | None = None,
        refiner: Refiner | None = None,
        classifier: TaskClassifier | None = None,
        raw_answers: RawAnswers = "given",
        pool_sizes: list[int] | None = None,
        max_new_tokens: int = 512,
        rejudge: Rejudge = "never",
        init: Init = "previous",
        seed: int = 0,
    ) -> None:
        sizes = list(pool_sizes or [])
        if any(size < 1 for size in sizes) or sorted(sizes) != sizes:
            raise ValueError(f"{_OWNER}.pool_sizes must be positive and never fall, got {sizes}.")
        if sizes and expander is None:
            raise ValueError(
                f"{_OWNER}.pool_sizes={sizes} asks for new instructions, but there is no expander; set one."
            )
        self.roles = Roles(judge=judge, teacher=teacher, expander=expander, refiner=refiner, classifier=classifier)
        self.pool_sizes, self.max_new_tokens = sizes, max_new_tokens
        self.rejudge, self.init, self.raw_answers, self.seed = rejudge, init, raw_answers, seed
        self.records = RoundRecords()
        self._restored = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            warn_of_lost_answers(self.roles)
            if self.roles.classifier is not None:
                on_rank_zero(trainer, self.roles.classifier.check_ready)

    # -- the curriculum's calls --------------------------------------------------------------------------------

    @override
    def prepare_stage(
        self, trainer: Trainer, module: LightningModule, policy: CurriculumPolicy, table: DifficultyTable, stage: int
    ) -> None:
        data, policy = checked_parts(trainer, policy)
        if stage == 0 and self.init == "base":
            check_whole_weights(trainer)
            if trainer.is_global_zero:
                with atomic_path(self._folder(trainer) / "base.pt") as draft, draft.open("wb") as file:
                    torch.save(module.state_dict(), file)
        if self.raw_answers == "teacher" and not self.records.answered:
            given = np.flatnonzero(policy.raw)
            answered = on_rank_zero(trainer, lambda: answer_raw(self.roles, data.train_store, given))
            self._append(data, policy, table, list(answered.values()), list(answered))
            self.records.answered = True
        round_ = policy.round_of(stage)
        if round_ <= self.records.round:
            return
        if self.records.judged_round < (round_ if self.rejudge == "each" else 1):
            self.records.enter_judged(self._judge_student(trainer, module, policy, table, stage))
            self.records.judged_round = round_
        if not self.records.classified:
            in_use = np.flatnonzero(policy.raw)
            self.records.tasks = on_rank_zero(trainer, lambda: find_tasks(self.roles, data.train_store, in_use))
            self.records.classified = True
            self._set_up(policy, data)
        raw = policy.pools(table).hard
        raw = raw[policy.raw[raw] & ~np.isin(raw, sorted(self.records.refined))]
        tasks = self.records.tasks
        replaced = on_rank_zero(trainer, lambda: refine_hard(self.roles, data.train_store, raw, round_, tasks))
        self._append(data, policy, table, list(replaced.values()), list(replaced))
        self.records.refined |= set(raw.tolist())
        if self.pool_sizes:
            size = self.pool_sizes[min(round_, len(self.pool_sizes)) - 1]
            pools = policy.pools(table)
            new = on_rank_zero(
                trainer, lambda: write_new(self.roles, policy, pools, data.train_store, size, round_, self.seed)
            )
            self._append(data, policy, table, new, [None] * len(new))
        if self.init == "base" and round_ > 0:
            self._start_over(trainer, module)
        self.records.round = round_

    @override
    def restore_data(self, trainer: Trainer, policy: CurriculumPolicy, table: DifficultyTable) -> None:
        data, policy = checked_parts(trainer, policy)
        records = self.records
        self._set_up(policy, data)
        if self._restored and records.rows:
            rows, replaces, records.rows, records.replaces = records.rows, records.replaces, [], []
            self._append(data, policy, table, rows, replaces)
            if records.rows != rows:
                raise ValueError(
                    f"{len(rows)} rows of the checkpoint were appended to the data, but {len(records.rows)} fit now; "
                    "resume with the data options that the run was started with."
                )
        self._restored = False

    # -- parts of a round --------------------------------------------------------------------------------------

    def _judge_student(
        self, trainer: Trainer, module: LightningModule, policy: TapirPolicy, table: DifficultyTable, stage: int
    ) -> dict[int, tuple[str, Judgement]]:
        """Enter the difficulty of all rows in use; returns the student's answer and its scores, by index."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        store = data.train_store
        indices: IntArray = np.flatnonzero(~policy.replaced)
        folder, metric = self._folder(trainer), mfd_metric(trainer)
        answers = StudentAnswers(folder / "answers", model_fingerprint(module), self.max_new_tokens, self.seed)
        prompts = [answer_prompt(store, int(i)) for i in indices]
        with scoring_bar(trainer, stage, "Student answers", " answers") as progress:
            tokens = answers.answer(module, prompts, progress)  # type: ignore[arg-type]
        texts = [str(data.tokenizer.decode(t, skip_special_tokens=True)).strip() for t in tokens]
        journal = folder / "judgements.jsonl"
        with scoring_bar(trainer, stage, "Judgements", " answers") as progress:
            found = on_rank_zero(trainer, lambda: judge_rows(self.roles, store, indices, texts, journal, progress))
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

    def _append(
        self, data: InstructionDataModule, policy: TapirPolicy, table: DifficultyTable,
        rows: list[ProvenanceRow], replaces: list[int | None],
    ) -> None:  # fmt: skip
        """Put rows behind the data; those that do not fit are left out and logged."""
        examples = [to_example(row, index) for row, index in zip(rows, replaces, strict=True)]
        store = encode_examples(data, examples)
        if store is None:
            return
        kept = {store[i].id for i in range(len(store))}
        if len(kept) < len(rows):
            rank_zero_info(
                f"TAPIR: {len(rows) - len(kept)} of {len(rows)} new rows do not fit: {store.problems.summary()}"
            )
        append_examples(data, store)
        table.grow(len(data.train_store))
        self._set_up(policy, data)
        for row, index in zip(rows, replaces, strict=True):
            if row.id in kept:
                self.records.rows.append(row)
                self.records.replaces.append(index)

    def _set_up(self, policy: TapirPolicy, data: InstructionDataModule) -> None:
        policy.found_tasks = {index: found.task for index, found in self.records.tasks.items()}
        policy.setup(data.train_store, data.trainer.max_epochs or 0)  # type: ignore[union-attr]

    def _start_over(self, trainer: Trainer, module: LightningModule) -> None:
        path = self._folder(trainer) / "base.pt"
        if not path.exists():
            raise ValueError(f"{_OWNER}.init=base needs the weights of the start in {path}, which is not there.")
        module.load_state_dict(torch.load(path, map_location=module.device, weights_only=True))
        for optimizer in trainer.optimizers:
            optimizer.state.clear()

    # -- files and state ---------------------------------------------------------------------------------------

    @override
    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        self._write(trainer, report.plan)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that is continued inside a stage plans none, and may have another folder.
        self._write(trainer, trainer.datamodule.sampler.plan)  # type: ignore[attr-defined]

    def _write(self, trainer: Trainer, plan: Plan | None) -> None:
        """The provenance of every example, with its weight in the stage at hand, and the costs so far."""
        if trainer.is_global_zero:
            store = trainer.datamodule.train_store  # type: ignore[attr-defined]
            self.records.export(self._folder(trainer), store, mfd_metric(trainer), plan, self.roles.judge.version)
            write_costs(self._folder(trainer), self.roles.costs.by_role)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Only a run that is not over can ask for the student's answers again.
        if trainer.is_global_zero:
            shutil.rmtree(self._folder(trainer) / "answers", ignore_errors=True)
            (self._folder(trainer) / "judgements.jsonl").unlink(missing_ok=True)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {**self.records.state_dict(), "costs": self.roles.costs.by_role}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.records.load_state_dict(state_dict)
        self.roles.costs.by_role = dict(state_dict["costs"])
        self._restored = True

    def _folder(self, trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / "tapir"


def mfd_metric(trainer: Trainer) -> ModelFittingDifficulty:
    """The difficulty under the name that the policy reads: the curriculum's own, so that there is one sign.

    Raises:
        MisconfigurationException: it is another metric.
    """
    curriculum = find_curriculum(trainer)
    assert curriculum is not None
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
            :class:`ChatStoppedError`.
    """
    device = trainer.strategy.root_device
    failed: tuple[bool, str] | None = None
    value: T | None = None
    if trainer.is_global_zero:
        try:
            value = function()
        except Exception as error:
            # Before it goes up: the others would wait for it for ever.
            broadcast_object((None, (isinstance(error, ChatStoppedError), str(error))), device)
            raise
    value, failed = broadcast_object((value, failed), device)
    if failed is not None:
        raise (ChatStoppedError if failed[0] else RuntimeError)(failed[1])
    return value  # type: ignore[return-value]
