"""TAPIR's rounds on the generated abilities, where rules play teacher and judge: what is trained on, and resuming."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint

from lit_curriculum import (
    AbilityDataModule,
    CausalLMModule,
    CurriculumCallback,
    Length,
    TapirPolicy,
    TapirRounds,
    UniformPolicy,
)
from lit_curriculum.chat.client import ChatStoppedError
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.methods.tapir.callback import check_whole_weights, warn_of_lost_answers
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.provenance import RoundRecords
from lit_curriculum.methods.tapir.roles import Expansion, JudgeItem, Judgement, TaskItem
from lit_curriculum.methods.tapir.rounds import Roles
from lit_curriculum.methods.tapir.teacher.classifier import LinearTaskClassifier
from lit_curriculum.methods.tapir.teacher.procedural import (
    ProceduralClassifier,
    ProceduralExpander,
    ProceduralJudge,
    ProceduralRefiner,
    ProceduralTeacher,
    ability_of,
)
from lit_curriculum.methods.tapir.teacher.refiner import PromptRefiner, PromptTeacher
from tests.methods.tapir.round_toys import TINY, Watch
from tests.toy import ToyData, ToyModule, toy_trainer

NUM_RAW, COUNT, POOLS = 60, 40, [70, 80, 90]
TARGETS = {"sort": 0.3, "add": 0.3, "copy": 0.2, "lookup": 0.2}


class CountingJudge(ProceduralJudge):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        self.asked += len(items)
        return super().judge(items)


class FailingExpander(ProceduralExpander):
    """Stops in one of its calls."""

    calls = 0
    fail_at: int | None = None
    error: type[Exception] = ChatStoppedError

    def expand(self, seeds: Sequence[TaskItem], num: int, known: Sequence[str], seed: int = 0) -> Expansion:
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error("the budget of calls is spent")
        return super().expand(seeds, num, known, seed)


def failing_expander(fail_at: int | None = None, error: type[Exception] = ChatStoppedError) -> FailingExpander:
    expander = FailingExpander(max_level=4)
    expander.fail_at, expander.error = fail_at, error
    return expander


class Run:
    """One run of a warm-up stage and three rounds."""

    def __init__(
        self, folder: Path, resume: Path | None = None, on_exception: Path | None = None, **options: Any
    ) -> None:
        self.judge = options.pop("judge", CountingJudge())
        policy = {"count": COUNT, "warmup_stages": 1, "delta": 2.0, "targets": TARGETS} | options.pop("policy", {})
        settings: dict[str, Any] = {"expander": failing_expander(), "refiner": ProceduralRefiner(), **options}
        metric = settings.pop("metric", ModelFittingDifficulty())
        self.rounds = TapirRounds(
            self.judge, ProceduralTeacher(), max_new_tokens=6,
            classifier=settings.pop("classifier", ProceduralClassifier()),
            pool_sizes=settings.pop("pool_sizes", POOLS), **settings,
        )  # fmt: skip
        self.watch = Watch()
        self.policy = TapirPolicy(**policy)
        self.curriculum = CurriculumCallback(self.policy, {"mfd": metric}, seed=1)
        self.data = AbilityDataModule(
            num_train=NUM_RAW, num_val_per_ability=1, batch_size=8, cache_dir=str(folder / "cache"), noise_share=0.2
        )
        self.module = CausalLMModule(config=TINY, optimizer=partial(torch.optim.AdamW, lr=1e-2))
        callbacks: list[Callback] = [self.curriculum, self.rounds, self.watch]
        callbacks.append(ModelCheckpoint(folder / "checkpoints", "{step}", save_top_k=-1, every_n_train_steps=1))
        if on_exception is not None:
            callbacks.append(OnExceptionCheckpoint(on_exception.parent, on_exception.stem))
        trainer = toy_trainer(folder, 4, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(self.module, self.data, ckpt_path=resume, weights_only=True)

    @property
    def hard(self) -> set[str]:
        store = self.data.train_store
        return {store[int(i)].id for i in self.policy.pools(self.curriculum.table).hard}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return Run(folder), folder


def test_the_hard_share_of_every_round_is_alpha(whole: tuple[Run, Path]) -> None:
    run, _ = whole
    assert [run.watch.scalars[s]["hard_share"] for s in (1, 2, 3)] == pytest.approx([0.3, 0.5, 0.7])
    for stage, alpha in ((1, 0.3), (2, 0.5), (3, 0.7)):
        assert len(run.watch.plans[stage]) == COUNT
        assert sum(i in run.hard for i in run.watch.plans[stage]) == round(alpha * COUNT)


def test_the_pool_grows_and_no_index_changes(whole: tuple[Run, Path]) -> None:
    run, _ = whole
    store = run.data.train_store
    assert [run.watch.scalars[s]["hard_pool"] for s in (1, 2, 3)] == POOLS
    assert run.watch.sizes[0] == NUM_RAW
    assert [store[i].id for i in range(NUM_RAW)] == [f"train-{i}" for i in range(NUM_RAW)]
    assert [store[i].meta.get("round", 0) for i in range(len(store))] == sorted(
        store[i].meta.get("round", 0) for i in range(len(store))
    )
    assert run.curriculum.table.num_examples == len(store) == NUM_RAW + len(run.rounds.records.rows)


def test_no_expanded_row_repeats_another(whole: tuple[Run, Path]) -> None:
    store = whole[0].data.train_store
    raw = {store[i].instruction for i in range(NUM_RAW)}
    new = [store[i].instruction for i in range(NUM_RAW, len(store)) if store[i].meta["origin"] == "expanded"]
    assert len(new) == len(set(new)) > 20
    assert not raw & set(new)


def test_replaced_rows_are_trained_on_no_more(whole: tuple[Run, Path]) -> None:
    run, _ = whole
    store = run.data.train_store
    replaced = {store[r].id for r in run.rounds.records.replaces if r is not None}
    assert replaced, "planted noise was refined"
    for stage in (1, 2, 3):
        assert not replaced & set(run.watch.plans[stage])


def test_provenance_is_that_of_the_data(whole: tuple[Run, Path]) -> None:
    run, folder = whole
    store = run.data.train_store
    lines = [json.loads(x) for x in (folder / "tapir" / "provenance.jsonl").read_text().splitlines()]
    assert [x["id"] for x in lines] == [store[i].id for i in range(len(store))]
    assert [x["output"] for x in lines] == [store[i].response for i in range(len(store))]
    ids = {x["id"] for x in lines}
    assert all(x["parent_id"] in ids for x in lines if x["round"])
    gaps = [x["score_teacher"] - x["score_student"] for x in lines[:NUM_RAW]]
    assert gaps == [x["gap"] for x in lines[:NUM_RAW]] == run.curriculum.table.scores["mfd"][:NUM_RAW].tolist()
    assert all(x["cost_calls"] == 3 for x in lines if x["origin"] == "expanded")
    assert pq.read_table(folder / "tapir" / "provenance.parquet").num_rows == len(store)
    costs = json.loads((folder / "tapir" / "costs.json").read_text())
    assert costs["judge"]["calls"] == len({store[i].content_hash for i in range(NUM_RAW)}), "equal rows are asked once"
    assert costs["teacher"]["calls"] >= sum(x["origin"] == "expanded" for x in lines)
    assert f"| judge | {costs['judge']['calls']} |" in (folder / "tapir" / "costs.md").read_text()
    assert (
        (folder / "tapir" / "mfd-stage-1.txt").read_text().startswith("MFD (mfd-teacher-minus-student/1) of 60 instr")
    )
    assert (folder / "tapir" / "mfd-stage-1.png").stat().st_size > 1000
    drawn = Counter(run.watch.plans[3])
    assert {x["id"]: x["weight"] for x in lines} == {i: float(drawn[i]) for i in ids}


def test_weights_in_the_provenance_are_those_of_the_loss(tmp_path: Path) -> None:
    run = Run(tmp_path, policy={"mode": "weight"})
    lines = [json.loads(x) for x in (tmp_path / "tapir" / "provenance.jsonl").read_text().splitlines()]
    total = sum(x["weight"] for x in lines)
    assert total == pytest.approx(COUNT, rel=1e-5)
    assert sum(x["weight"] for x in lines if x["id"] in run.hard) / total == pytest.approx(0.7, rel=1e-5)


def test_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="TAPIR state of version 1 cannot be read; expected 3"):
        RoundRecords().load_state_dict({"version": 1})


def test_the_same_run_again_is_the_same(whole: tuple[Run, Path], tmp_path: Path) -> None:
    again = Run(tmp_path)
    assert again.watch.plans == whole[0].watch.plans
    assert again.watch.losses == whole[0].watch.losses
    assert repr(again.rounds.records.rows) == repr(whole[0].rounds.records.rows)


@pytest.mark.parametrize("step", [7, 10, 13])
def test_a_resumed_run_ends_like_the_one_that_was_not_killed(
    whole: tuple[Run, Path], tmp_path: Path, step: int
) -> None:
    """Step 7 is inside round 1, 10 the last of round 1 (its missed refresh runs on resume), 13 inside round 2."""
    run, folder = whole
    resumed = Run(tmp_path, folder / "checkpoints" / f"step={step}.ckpt")
    assert resumed.watch.losses == run.watch.losses[step:]
    assert all(run.watch.plans[s] == plan for s, plan in resumed.watch.plans.items())
    assert repr(resumed.rounds.records) == repr(run.rounds.records)  # NaN is not equal to NaN
    assert resumed.judge.asked == 0, "the student was judged before the checkpoint"
    for name in ("provenance.jsonl", "costs.json"):
        assert (tmp_path / "tapir" / name).read_text() == (folder / "tapir" / name).read_text()


def test_a_round_that_is_killed_inside_goes_on(whole: tuple[Run, Path], tmp_path: Path) -> None:
    run, _ = whole
    with pytest.raises(ChatStoppedError, match="the budget of calls is spent"):
        Run(tmp_path, expander=failing_expander(fail_at=2))
    resumed = Run(tmp_path, tmp_path / "checkpoints" / "step=10.ckpt")
    assert resumed.watch.losses == run.watch.losses[10:]
    assert repr(resumed.rounds.records.rows) == repr(run.rounds.records.rows)  # NaN is not equal to NaN
    assert resumed.judge.asked == 0


def test_a_checkpoint_from_the_middle_of_a_round_goes_on(whole: tuple[Run, Path], tmp_path: Path) -> None:
    """The student has been judged and hard answers refined; only then does the expander stop."""
    run, _ = whole
    with pytest.raises(ChatStoppedError):
        Run(tmp_path, expander=failing_expander(fail_at=1), on_exception=tmp_path / "stopped.ckpt")
    resumed = Run(tmp_path / "b", tmp_path / "stopped.ckpt")
    assert resumed.judge.asked == 0
    assert resumed.watch.losses == run.watch.losses[5:]
    assert repr(resumed.rounds.records) == repr(run.rounds.records)


def test_answers_that_were_generated_before_a_kill_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError):
        Run(tmp_path, expander=failing_expander(fail_at=1, error=ConnectionError))
    assert list((tmp_path / "tapir" / "answers").rglob("*.jsonl"))
    monkeypatch.setattr(CausalLMModule, "generate", lambda *a, **k: pytest.fail("generated again"))
    resumed = Run(tmp_path, tmp_path / "checkpoints" / "step=5.ckpt")
    assert resumed.judge.asked == 0, "judgements are kept too, with a judge that has no cache"
    assert not (tmp_path / "tapir" / "answers").exists()
    assert not (tmp_path / "tapir" / "judgements.jsonl").exists()


def test_judging_again_moves_rows_and_counts_them_all(tmp_path: Path) -> None:
    run = Run(tmp_path, rejudge="each")
    assert run.judge.asked > 2 * NUM_RAW
    scored_at = run.curriculum.table.scored_at["mfd"]
    assert set(scored_at.tolist()) >= {3, -1}
    store = run.data.train_store
    assert all(
        scored_at[i] == 3 for i in range(len(store)) if not run.policy.replaced[i] and store[i].meta.get("round", 0) < 3
    )


def test_a_round_may_start_from_the_base(tmp_path: Path) -> None:
    run = Run(tmp_path, init="base", policy={"warmup_stages": 1, "alpha_start": 1.0})
    base = torch.load(tmp_path / "tapir" / "base.pt", weights_only=True)
    begun = torch.load(tmp_path / "checkpoints" / "step=6.ckpt", weights_only=True)["state_dict"]
    name = "model.model.embed_tokens.weight"
    # One AdamW step of 1e-2 from an empty optimizer moves no weight by more than the step (and its decay).
    assert (begun[name] - base[name]).abs().max() < 1.1e-2
    assert (run.module.state_dict()[name] - base[name]).abs().max() > 1.1e-2
    (tmp_path / "tapir" / "base.pt").unlink()
    with pytest.raises(ValueError, match=r"TapirRounds.init=base needs the weights of the start in .*base.pt"):
        Run(tmp_path, tmp_path / "checkpoints" / "step=10.ckpt", init="base", policy={"alpha_start": 1.0})


def test_without_expansion_the_hard_pool_is_the_hard_set(tmp_path: Path) -> None:
    run = Run(tmp_path, expander=None, pool_sizes=[], refiner=None)
    assert len(run.data.train_store) == NUM_RAW
    assert run.watch.scalars[3]["hard_pool"] == np.sum(run.curriculum.table.scores["mfd"] > 2.0)


def test_the_sign_is_the_metrics_and_stands_beside_the_histogram(tmp_path: Path, whole: tuple[Run, Path]) -> None:
    literal = ModelFittingDifficulty("literal")
    run = Run(tmp_path, metric=literal, expander=None, pool_sizes=[], refiner=None, policy={"delta": -1.0})
    ours, theirs = (r.curriculum.table.scores["mfd"][:NUM_RAW] for r in (whole[0], run))
    np.testing.assert_array_equal(ours, -theirs)
    assert {x["gap"] for x in map(json.loads, (tmp_path / "tapir" / "provenance.jsonl").open())} == set(theirs.tolist())
    assert (tmp_path / "tapir" / "mfd-stage-1.txt").read_text().startswith("MFD (mfd-literal/1) of 60 instructions")
    with pytest.raises(MisconfigurationException, match=r"curriculum.metrics.mfd is a Length; make it a ModelFitting"):
        Run(tmp_path / "b", metric=Length())


def test_the_teacher_may_answer_the_raw_instructions(tmp_path: Path) -> None:
    run = Run(tmp_path, raw_answers="teacher", refiner=None, pool_sizes=[])
    store = run.data.train_store
    wrong = [i for i in range(NUM_RAW) if store[i].meta["is_noise"]]
    answered = [r for r in run.rounds.records.rows if r.round == 0]
    assert {i for i in run.rounds.records.replaces if i is not None} >= set(wrong) != set()
    assert all(r.output == ability_of(r.instruction).answer(r.instruction) for r in answered if r.task != "noise")
    replaced = {store[i].id for i in run.rounds.records.replaces if i is not None}
    assert not any(replaced & set(plan) for plan in run.watch.plans.values())
    assert {r.id for r in answered} & set(run.watch.plans[0]), "S_0 is trained on them too"
    assert run.watch.sizes[0] == len(store) == NUM_RAW + len(answered)
    in_use = [store[i] for i in range(len(store)) if store[i].id not in replaced]
    assert run.judge.asked == len({e.content_hash for e in in_use}) <= NUM_RAW
    resumed = Run(tmp_path / "b", tmp_path / "checkpoints" / "step=3.ckpt", raw_answers="teacher", refiner=None,
                  pool_sizes=[])  # fmt: skip
    assert resumed.watch.losses == run.watch.losses[3:]


def test_options_are_checked(tmp_path: Path) -> None:
    judge, teacher = ProceduralJudge(), ProceduralTeacher()
    with pytest.raises(ValueError, match=r"TapirRounds.pool_sizes must be positive and never fall"):
        TapirRounds(judge, teacher, ProceduralExpander(), pool_sizes=[5, 3])
    with pytest.raises(ValueError, match=r"TapirRounds.pool_sizes=\[5\] asks for new instructions, but"):
        TapirRounds(judge, teacher, pool_sizes=[5])
    with pytest.raises(ValueError, match=r"TapirRounds.rejudge"):
        TapirRounds(judge, teacher, rejudge="often")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"TapirRounds.init"):
        TapirRounds(judge, teacher, init="zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"TapirRounds.raw_answers"):
        TapirRounds(judge, teacher, raw_answers="none")  # type: ignore[arg-type]


def test_other_data_or_policies_are_refused(tmp_path: Path, toy_examples: list[Any]) -> None:
    rounds = TapirRounds(ProceduralJudge(), ProceduralTeacher())
    trainer = toy_trainer(tmp_path, 1, callbacks=[rounds, CurriculumCallback(UniformPolicy())])
    with pytest.raises(MisconfigurationException, match=r"TapirRounds works on an InstructionDataModule .* ToyData"):
        trainer.fit(ToyModule(), ToyData(toy_examples))


def test_a_classifier_that_was_never_trained_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the linear classifier is not trained"):
        Run(tmp_path, classifier=LinearTaskClassifier())
    assert not (tmp_path / "checkpoints").exists()


def test_sharded_weights_cannot_be_started_from_again() -> None:
    sharded: Any = SimpleNamespace(strategy=SimpleNamespace(restore_checkpoint_after_setup=True))
    with pytest.raises(MisconfigurationException, match=r"TapirRounds.init=base keeps the weights of the start"):
        check_whole_weights(sharded)


def test_answers_of_a_server_that_nobody_keeps_are_warned_of(tmp_path: Path) -> None:
    remote = OpenAIClient("m", "http://127.0.0.1:1/v1")
    kept = CachedClient(remote, str(tmp_path / "replies.jsonl"))
    with pytest.warns(UserWarning, match=r"TapirRounds.refiner: its answers are kept nowhere"):
        warn_of_lost_answers(Roles(judge=ProceduralJudge(), teacher=PromptTeacher(kept), refiner=PromptRefiner(remote)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_lost_answers(Roles(judge=ProceduralJudge(), teacher=PromptTeacher(kept)))
