"""The tracker on a toy model: cadence, subsample, generated and ranked answers, counts across a resume, and tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from lit_curriculum import AbilityGrowthTracker, AtomicCheckpointIO, CurriculumCallback, UniformPolicy
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.evaluation.items import example_item
from lit_curriculum.methods.doit.tracker import SeenRows, mixture_rows, policy_scalars
from lit_curriculum.methods.doit.validation_items import sample_items, split_items
from lit_curriculum.types import Example, Message, Plan
from tests.callbacks.scoring_toys import ScoringModule, ValidatedData
from tests.conftest import ListStore, make_example
from tests.data.toy_tokenizers import byte_level
from tests.methods.baselines.tiny_scorer import CHAT
from tests.toy import ToyData, toy_trainer


def examples() -> list[Example]:
    """Sums to be generated, animals to be ranked, and rows without an ability."""
    sums = [make_example(3 * i, str(i + 1), f"What is {i} + 1?", "sums") for i in range(8)]
    sums = [replace(e, meta={"parser": "number"}) for e in sums]
    ranked = [make_example(3 * i + 1, "cat", f"Small {i}?", "animals") for i in range(8)]
    ranked = [replace(e, meta={"choices": ["cat", "zzzzzz"] if i % 2 else ["zzzzzz", "cat", "qqqqqq"]})
              for i, e in enumerate(ranked)]  # fmt: skip
    others = [make_example(3 * i + 2, "ok", f"Say {i}.") for i in range(8)]
    return sorted(sums + ranked + others, key=lambda e: e.index)


class Answering(ScoringModule):
    """Adds right but for 3 and 5, says much around it, and says ``ok`` to the first four of the others."""

    context_length = 200

    def generate(
        self, prompts: Sequence[NDArray[np.int32]], /, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[NDArray[np.int32]]:
        self.limit = max_new_tokens
        return [np.frombuffer(self.said(bytes(p.tolist()).decode()).encode(), np.uint8).astype(np.int32)
                for p in prompts]  # fmt: skip

    def said(self, prompt: str) -> str:
        if "Say" in prompt:
            return " ok " if int(prompt.split("Say ")[1][0]) < 4 else "okay"
        number = int(prompt.split("is ")[1][0])
        return f"It is #### {number + (2 if number in (3, 5) else 1)}"


class AnsweredData(ValidatedData):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.tokenizer = byte_level()
        self.tokenizer.chat_template = CHAT


class TellingPolicy(UniformPolicy):
    """Reports curves as a policy does that refits them."""

    def step(self, table: DifficultyTable, stage: int, generator: np.random.Generator) -> Plan:
        plan = super().step(table, stage, generator)
        scalars = {"slope/sums": 0.5, "slope_se/sums": 0.1, "marginal_gain/sums": 0.01 * stage}
        return replace(plan, scalars={**plan.scalars, **scalars})


def run(tmp_path: Path, tracker: AbilityGrowthTracker, epochs: int = 2, **options: Any) -> Any:
    curriculum = CurriculumCallback(TellingPolicy(fraction=None, count=18))
    extra = options.pop("callbacks", [])
    ckpt_path = options.pop("ckpt_path", None)
    trainer = toy_trainer(
        tmp_path, epochs, callbacks=[curriculum, tracker, *extra], limit_val_batches=1.0, **options
    )  # fmt: skip
    trainer.fit(Answering(), AnsweredData(examples()), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def test_generated_answers_are_parsed_and_candidates_ranked(tmp_path: Path) -> None:
    tracker = AbilityGrowthTracker(answers="generated", valid=False)
    trainer = run(tmp_path, tracker, 1)
    found = {r.ability: r for r in tracker.history}
    assert found["sums"].outcomes == "11101011"
    assert found["other"].outcomes == "11110000"  # the parser ``whole`` where none is named
    # Trained on cats, the model finds every other word less likely.
    assert (found["animals"].correct, found["animals"].total) == (8, 8)
    assert found["animals"].chance == pytest.approx((4 / 3 + 4 / 2) / 8)
    assert found["sums"].chance == 0.0
    assert trainer.lightning_module.limit == 2 * len("cat")


def test_a_limit_and_parsers_of_the_user(tmp_path: Path) -> None:
    tracker = AbilityGrowthTracker(answers="generated", max_new_tokens=9, parsers={"other": "cloze"})
    trainer = run(tmp_path, tracker, 1)
    assert trainer.lightning_module.limit == 9
    assert sum(r.correct for r in tracker.history if r.ability == "other") == 0  # no Chinese in it


def test_records_are_made_every_so_many_epochs_and_at_the_end(tmp_path: Path) -> None:
    tracker = AbilityGrowthTracker(every=2, max_items=5)
    run(tmp_path, tracker, 5)
    assert sorted({r.epoch for r in tracker.history}) == [2, 4, 5]
    last = [r for r in tracker.history if r.epoch == 5]
    assert {(r.ability, r.split): r.total for r in last} == {
        (a, s): n for a in ("sums", "animals", "other") for s, n in (("valid", 3), ("test", 2))
    }
    assert sum(r.n_seen for r in last if r.split == "test") == 5 * 18


def test_counts_outlive_a_resume_within_a_stage(tmp_path: Path) -> None:
    straight, resumed = AbilityGrowthTracker(), AbilityGrowthTracker()
    options = {"accumulate_grad_batches": 2, "enable_checkpointing": True, "plugins": [AtomicCheckpointIO()]}
    # Of three steps a stage, the fourth and the eighth lie within one.
    steps = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    run(tmp_path, straight, 3, **options, callbacks=[steps])
    run(tmp_path, resumed, 3, **options, ckpt_path=tmp_path / "step=4.ckpt")
    without_nan = [[replace(r, chance_sum=0.0) for r in t.history] for t in (straight, resumed)]
    assert without_nan[0] == without_nan[1]
    assert len(without_nan[0]) == 3 * 6


def test_rows_of_weight_nothing_are_not_counted_and_no_plan_is_needed() -> None:
    data = AnsweredData(examples(), batch_size=4)
    data.trainer = toy_trainer(".")
    data.setup("fit")
    seen = SeenRows()
    for batch in range(6):
        seen.note(data, 0, batch)
    assert {a: s.rows for a, s in seen.counts().items()} == {"sums": 8, "animals": 8, "other": 8}
    plan = Plan(indices=np.array([0, 3, 1, 4, 2]), weights=np.array([1, 0, 1, 1, 1], dtype=np.float32))
    data.sampler.set_plan(plan, 1)
    seen.note(data, 1, 0)
    assert {a: s.rows for a, s in seen.counts().items()} == {"sums": 9, "animals": 10, "other": 8}
    assert seen.counts()["animals"].tokens == 10 * 3
    again = SeenRows()
    again.load_state_dict(seen.state_dict())
    again.note(data, 1, 1)
    assert {a: s.rows for a, s in again.counts().items()} == {"sums": 9, "animals": 10, "other": 9}


def test_event_files_hold_every_tag(tmp_path: Path) -> None:
    tracker = AbilityGrowthTracker(ood=["other"], size="toy", seed=3)
    trainer = run(tmp_path, tracker, 2, logger=TensorBoardLogger(tmp_path, name=None))
    events = EventAccumulator(trainer.log_dir, size_guidance={"images": 0, "tensors": 0}).Reload()
    for record in tracker.history[-6:]:
        for name in ("score", "nll"):
            last = events.Scalars(f"growth/{record.split}/{record.ability}/{name}")[-1]
            assert (last.step, last.value) == (10, pytest.approx(getattr(record, name)))
    plan = trainer.datamodule.sampler.plan.indices
    assert events.Scalars("growth/sums/p_mix")[-1].value == pytest.approx(np.mean([i % 3 == 0 for i in plan]))
    assert [(e.step, e.value) for e in events.Scalars("growth/sums/slope_hi")] == [
        (0, pytest.approx(0.696)), (1, pytest.approx(0.696))
    ]  # fmt: skip
    assert [e.value for e in events.Scalars("growth/sums/marginal_gain")] == [0.0, pytest.approx(0.01)]
    assert [i.step for i in events.Images("growth/mixture")] == [0, 1]
    assert len(events.Images("growth/mixture")[1].encoded_image_string) > 5000
    text = events.Tensors("growth/mixture/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert text.startswith("| stage | animals | other | sums |")
    layout = layout_pb2.Layout()
    layout.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for chart in layout.category[0].chart}
    assert charts["sums"] == ["growth/test/sums/score", "growth/test/sums/chance"]
    start = plugin_data_pb2.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    options = dict(start.session_start_info.hparams)
    assert (options["size"].string_value, options["seed"].number_value, options["arm"].string_value) == (
        "toy",
        3.0,
        "curated",
    )
    assert options["total"].number_value == len(np.unique(plan))
    assert events.Scalars("growth/test/overall_ood")[-1].value == pytest.approx(
        next(r.score for r in tracker.history[::-1] if r.ability == "other" and r.split == "test")
    )


def test_items_are_sampled_by_content_and_split() -> None:
    items = [make_example(i, "a", f"{i}?", ability) for i, ability in enumerate("xyxxy")]
    items = [replace(e, content_hash=digit) for e, digit in zip(items, "dacbe", strict=True)]
    assert sample_items(ListStore(items), 2).tolist() == [1, 2, 3, 4]
    assert [(s, i.tolist()) for s, i in split_items(np.arange(3), True)] == [("valid", [0, 2]), ("test", [1])]
    assert [s for s, _ in split_items(np.arange(1), True)] == ["valid"]
    declared = ["test", "valid", "test", "test"]
    assert [(s, i.tolist()) for s, i in split_items(np.array([1, 2, 3]), True, declared)] == [
        ("valid", [1]), ("test", [2, 3])
    ]  # fmt: skip
    assert [(s, i.tolist()) for s, i in split_items(np.array([0, 1]), False, declared)] == [("test", [0, 1])]


def test_policies_that_refit_are_logged_with_bounds_and_others_not() -> None:
    assert policy_scalars({"selected": 3.0, "n_unique/a": 2.0}) == {}
    found = policy_scalars({"slope/a": 1.0, "slope_se/a": 0.5, "marginal_gain/a": 0.1})
    assert found == {"growth/a/slope": 1.0, "growth/a/slope_lo": pytest.approx(0.02),
                     "growth/a/slope_hi": pytest.approx(1.98), "growth/a/marginal_gain": 0.1}  # fmt: skip
    columns, rows = mixture_rows([{"a": 1.0}, {"a": 0.25, "b": 0.75}])
    assert columns == ["stage", "a", "b"]
    assert rows == [["0", "1.000", "0.000"], ["1", "0.250", "0.750"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "AbilityGrowthTracker.every must be at least 1, got 0"),
        ({"max_items": 0}, "AbilityGrowthTracker.max_items must be at least 1"),
        ({"max_new_tokens": -1}, "AbilityGrowthTracker.max_new_tokens must be at least 1"),
        ({"answers": "guessed"}, "AbilityGrowthTracker.answers must be one of teacher_forced, generated"),
        ({"parsers": {"sums": "numbr"}}, "AbilityGrowthTracker.parsers names 'numbr' for 'sums'; known are whole"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AbilityGrowthTracker(**options)


def test_modules_that_cannot_answer_are_refused_before_training(tmp_path: Path) -> None:
    tracker = AbilityGrowthTracker(answers="generated")
    trainer = toy_trainer(tmp_path, 1, callbacks=[tracker], limit_val_batches=1.0)
    with pytest.raises(MisconfigurationException, match="needs a module with generate"):
        trainer.fit(ScoringModule(), AnsweredData(examples()))
    with pytest.raises(MisconfigurationException, match="Answering or its data has none"):
        trainer.fit(Answering(), ValidatedData(examples()))


def test_data_without_validation_examples_are_refused(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, 1, callbacks=[AbilityGrowthTracker()], limit_val_batches=1.0)
    with pytest.raises(MisconfigurationException, match=r"AbilityGrowthTracker needs .* val_store .* ToyData has none"):
        trainer.fit(ScoringModule(), ToyData(examples()))


def test_examples_that_are_no_items_are_refused() -> None:
    store = ListStore(examples())
    item = example_item(replace(store[1], meta={"choices": ["dog", "cat"], "gold_index": 1}), "animals")
    assert (item.kind, item.gold, item.gold_index, item.chance) == ("ranked", "cat", 1, 0.5)
    with pytest.raises(ValueError, match=r"toy\.jsonl:2: the response is none of the choices"):
        example_item(replace(store[1], meta={"choices": ["dog", "ant"]}), "animals")
    with pytest.raises(ValueError, match=r"toy\.jsonl:1: an example that is evaluated must end with the right answer"):
        example_item(replace(store[0], messages=(Message(role="user", content="?"),)), "sums")
