"""The ledger holds what an observer saw, example by example, also of a run that was killed and continued."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_curriculum import (
    CurriculumObserver,
    ExceptionCheckpoint,
    LedgerWriter,
    OrderedPolicy,
    SelfPacedPolicy,
    StageReport,
    UniformPolicy,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.report.ledger import EXAMPLES, PLANNED, TRAINED, Ledger, part, ranks, stages_in
from lit_curriculum.types import Example
from tests.callbacks.ledger_runs import KillAt, curriculum, ordered
from tests.loop.loss_runs import LossModule
from tests.toy import ToyData, ToyModule, toy_trainer

STAGES = 4


class Seen(Callback, CurriculumObserver):
    """Slow reference implementation: plain lists and dictionaries of all that happens."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []
        self.trained: list[list[tuple[int, float]]] = []

    def on_stage_planned(self, trainer: Trainer, report: StageReport) -> None:
        table = report.table
        self.stages.append(
            {
                "plan": report.plan.indices.tolist(),
                "candidates": set(report.candidates.tolist()),
                "scores": {m: v.tolist() for m, v in table.scores.items()},
                "scored_at": {m: v.tolist() for m, v in table.scored_at.items()},
            }
        )
        self.trained.append([])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, dict):
            losses = outputs["nll_sum"] / outputs["num_scored"]
            self.trained[-1] += list(zip(batch.index.tolist(), losses.tolist(), strict=True))


def self_paced() -> CurriculumPolicy:
    return SelfPacedPolicy("nll", initial_fraction=0.2, growth=1.02)


def fit(
    folder: Path, examples: list[Example], policy: CurriculumPolicy, *more: Callback, ckpt: Path | None = None,
    stages: int = STAGES,
) -> Path:  # fmt: skip
    callbacks = [LedgerWriter(), *more, curriculum(policy)]
    trainer = toy_trainer(folder, stages, callbacks=callbacks, enable_checkpointing=bool(more))
    trainer.fit(LossModule(), ToyData(examples), ckpt_path=ckpt)
    return folder


def parts(folder: Path) -> dict[str, pa.Table]:
    ledger = Ledger(folder)
    found = {f"{PLANNED}-{s}": ledger.changes(s) for s in ledger.stages}
    found |= {f"{TRAINED}-{s}": ledger.trained(s) for s in ledger.trained_stages}
    return found | {f"{EXAMPLES}-{s}": ledger.examples(stage=s) for s in stages_in(ledger.folder / EXAMPLES)}


@pytest.mark.parametrize("policy", [ordered, self_paced, lambda: UniformPolicy(fraction=0.5)])
def test_every_number_is_what_an_observer_saw(tmp_path: Path, toy_examples: list[Example], policy: Any) -> None:
    seen = Seen()
    ledger = Ledger(fit(tmp_path, toy_examples, policy(), seen))
    assert ledger.stages == ledger.trained_stages == list(range(STAGES))
    n = len(toy_examples)
    times = [0] * n
    for stage, there in enumerate(seen.stages):
        state = ledger.state(stage)
        assert ledger.order(stage).tolist() == there["plan"]
        assert [state.place[i] for i in range(n)] == [
            there["plan"].index(i) if i in there["plan"] else -1 for i in range(n)
        ]
        assert state.times.tolist() == [there["plan"].count(i) for i in range(n)]
        assert set(np.flatnonzero(state.candidate).tolist()) == there["candidates"]
        for metric in ("nll", "length"):
            assert np.array_equal(state.scores[metric], there["scores"][metric], equal_nan=True)
            assert state.scored_at[metric].tolist() == there["scored_at"][metric]
        words = [state.reasons[c] for c in state.reason]
        assert all(w.startswith("chosen by ") == (i in there["plan"]) for i, w in enumerate(words))
        rows = ledger.trained(stage).to_pylist()
        losses = dict(seen.trained[stage])  # of several the last
        assert {r["index"]: r["times"] for r in rows} == {i: there["plan"].count(i) for i in set(there["plan"])}
        assert all(math.isclose(r["loss"], losses[r["index"]], rel_tol=1e-6) for r in rows)
        for index in losses:
            times[index] += there["plan"].count(index)
    assert ledger.times_trained().tolist() == times


def test_rows_are_written_only_for_what_has_changed(tmp_path: Path, toy_examples: list[Example]) -> None:
    policy = OrderedPolicy("length", fraction=0.25)
    ledger = Ledger(fit(tmp_path, toy_examples, policy))
    assert ledger.changes(0).num_rows == 40
    # Nothing is scored again; candidates of stage 0 stop being candidates at stage 1.
    assert ledger.changes(2).num_rows == 10
    assert ledger.changes(2).column("index").to_pylist() == sorted(ledger.order(2).tolist())


@pytest.mark.parametrize(
    ("policy", "stage", "batch"),
    [(ordered, 0, 1), (self_paced, 2, 1), (ordered, 1, 0), (ordered, 1, None), (self_paced, 2, None)],
)
def test_a_killed_and_continued_run_has_the_ledger_of_an_undisturbed_one(
    tmp_path: Path, toy_examples: list[Example], policy: Any, stage: int, batch: int | None
) -> None:
    whole = parts(fit(tmp_path / "whole", toy_examples, policy()))
    first = tmp_path / "first"
    with pytest.raises(RuntimeError, match="killed"):
        fit(first, toy_examples, policy(), KillAt(stage, batch), ExceptionCheckpoint(str(first / "checkpoints")))
    checkpoint = first / "checkpoints" / "exception.ckpt"
    for again in (tmp_path / "second", first):  # in another folder, and where it was killed
        found = parts(fit(again, toy_examples, policy(), ckpt=checkpoint))
        assert found.keys() == whole.keys()
        for name, table in whole.items():
            assert found[name].equals(table), name


def test_a_run_continued_from_an_earlier_checkpoint_forgets_what_came_after(
    tmp_path: Path, toy_examples: list[Example]
) -> None:
    saver = ModelCheckpoint(tmp_path / "checkpoints", "{epoch}", save_top_k=-1)
    fit(tmp_path, toy_examples, ordered(), saver)
    whole = parts(tmp_path)
    fit(tmp_path, toy_examples, ordered(), ckpt=tmp_path / "checkpoints" / "epoch=0.ckpt", stages=2)
    ledger = Ledger(tmp_path)
    assert ledger.stages == ledger.trained_stages == [0, 1]
    assert ledger.changes(1).equals(whole[f"{PLANNED}-1"])


def test_the_ledger_of_another_run_is_put_aside_and_not_overwritten(
    tmp_path: Path, toy_examples: list[Example]
) -> None:
    fit(tmp_path, toy_examples, ordered(), stages=1)
    fit(tmp_path, toy_examples, self_paced(), stages=1)
    assert Ledger(tmp_path / "ledger.1").info["policy"] == "OrderedPolicy"
    assert Ledger(tmp_path).info["policy"] == "SelfPacedPolicy"


def test_a_run_continued_without_its_ledger_says_so_and_begins_one(tmp_path: Path, toy_examples: list[Example]) -> None:
    saver = ModelCheckpoint(tmp_path / "first", "{epoch}", save_top_k=-1)
    trainer = toy_trainer(tmp_path, 1, callbacks=[saver, curriculum(ordered())], enable_checkpointing=True)
    trainer.fit(LossModule(), ToyData(toy_examples))
    with pytest.warns(UserWarning, match="the ledger begins with stage 1"):
        fit(tmp_path / "second", toy_examples, ordered(), ckpt=tmp_path / "first" / "epoch=0.ckpt", stages=2)
    ledger = Ledger(tmp_path / "second")
    assert ledger.stages == [1]
    assert len(ledger.examples()) == len(ledger.state(1).place) == 40


def test_a_module_that_returns_no_losses_leaves_them_out(tmp_path: Path, toy_examples: list[Example]) -> None:
    trainer = toy_trainer(tmp_path, 1, callbacks=[LedgerWriter(), curriculum(ordered())])
    trainer.fit(ToyModule(), ToyData(toy_examples))
    rows = Ledger(tmp_path).trained(0)
    assert rows.num_rows == 12
    assert rows.column("loss").null_count == 12


def test_examples_and_stages_as_a_whole(tmp_path: Path, toy_examples: list[Example]) -> None:
    ledger = Ledger(fit(tmp_path, toy_examples, ordered(), stages=2))
    rows = ledger.examples(["index", "id", "ability", "tokens", "scored_tokens", "response"]).to_pylist()
    assert [r["id"] for r in rows] == [e.id for e in toy_examples]
    assert rows[5]["response"] == toy_examples[5].response
    assert rows[5]["scored_tokens"] == len(toy_examples[5].response)
    assert ledger.metrics == ["nll", "length"]
    assert ledger.info["metrics"]["nll"] == {
        "formula": "nll-mean/1",
        "unit": "nats per token",
        "higher_is_harder": True,
    }
    planned, trained = ledger.planned_info(1), ledger.trained_info(1)
    assert (planned["selected"], planned["candidates"], planned["step"]) == (12, 40, 3)
    assert (trained["entries"], trained["planned"], trained["last_step"]) == (12, 12, 6)
    assert trained["tokens"] == sum(rows[i]["tokens"] for i in ledger.order(1))
    assert trained["seconds"] > 0
    assert ledger.dropped().num_rows == 0


def test_wanted_states_are_those_of_each_stage_and_no_part_is_read_twice(
    tmp_path: Path, toy_examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(fit(tmp_path, toy_examples, ordered()))
    alone = [ledger.state(s) for s in (0, 2)]
    read: list[int] = []
    changes = Ledger.changes
    monkeypatch.setattr(Ledger, "changes", lambda self, stage: (read.append(stage), changes(self, stage))[1])
    together = list(ledger.states([0, 2]))
    assert read == [0, 1, 2]
    assert [s.stage for s in together] == [0, 2]
    for one, other in zip(alone, together, strict=True):
        assert one.reasons == other.reasons
        for column in ("candidate", "times", "place", "reason"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
        np.testing.assert_array_equal(one.scores["nll"], other.scores["nll"])


def test_ranks_are_of_the_hardest_first_and_shared_by_equals() -> None:
    scores = np.array([0.5, np.nan, 2.0, 0.5, -1.0])
    assert ranks(scores).tolist() == [2, 0, 1, 2, 4]
    assert ranks(scores, higher_is_harder=False).tolist() == [2, 0, 4, 2, 1]


def test_refusals(tmp_path: Path, toy_examples: list[Example]) -> None:
    with pytest.raises(FileNotFoundError, match="has no ledger"):
        Ledger(tmp_path)
    ledger = Ledger(fit(tmp_path, toy_examples, ordered(), stages=1))
    with pytest.raises(ValueError, match=r"stage 7 is not in the ledger .*: planned there are the stages \[0\]"):
        ledger.state(7)
    with pytest.raises(ValueError, match=r"stage 7 is not in the ledger"):
        list(ledger.states([0, 7]))
    path = tmp_path / "ledger" / "ledger.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 9'))
    with pytest.raises(ValueError, match="is of version 9 and cannot be read"):
        Ledger(tmp_path)
    assert part(tmp_path, PLANNED, 3).name == "stage-3.parquet"
