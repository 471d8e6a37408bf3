"""Settings of the Trainer that change when a run stops, validates, logs and resumes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lit_curriculum import (
    CausalLMModule,
    CurriculumCallback,
    InstructionDataModule,
    LossRatioIFD,
    NegativeLogLikelihood,
    OrderedPolicy,
    UniformPolicy,
)
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.types import Example
from tests.conftest import make_example
from tests.toy import ToyData, ToyModule, toy_trainer


def fit(folder: Path, examples: list[Example], resume: str | None = None, **options: Any) -> ToyModule:
    module = options.pop("module", None) or ToyModule()
    callbacks = [CurriculumCallback(UniformPolicy(fraction=0.5)), *options.pop("extra", [])]
    trainer = toy_trainer(folder, 3, callbacks=callbacks, enable_checkpointing=bool(callbacks[1:]), **options)
    trainer.fit(module, ToyData(examples), ckpt_path=resume, weights_only=True)
    return module


def test_max_steps_ends_the_run_and_the_horizon(tmp_path: Path, toy_examples: list[Example]) -> None:
    module = fit(tmp_path, toy_examples, max_steps=7)
    assert module.horizon_steps == 7
    assert len(module.trained) == 7
    assert module.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("interval", [2, 0.5])
def test_validation_inside_a_stage_changes_nothing_in_training(
    tmp_path: Path, toy_examples: list[Example], interval: float
) -> None:
    plain = fit(tmp_path / "plain", toy_examples)
    validated = fit(tmp_path / "validated", toy_examples, val_check_interval=interval, limit_val_batches=2)
    assert validated.losses == plain.losses
    assert validated.trained == plain.trained


def logged(folder: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for path in sorted(folder.rglob("metrics.csv")):
        for row in csv.DictReader(path.open()):
            if row.get("train/loss"):
                assert found.setdefault(int(row["step"]), row["train/loss"]) == row["train/loss"]
    return found


@pytest.mark.parametrize("step", [1, 4, 5, 6, 10])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_of_the_log_go_on_where_the_checkpoint_stopped(
    tmp_path: Path, toy_examples: list[Example], step: int, accumulate: int
) -> None:
    def run(folder: Path, resume: str | None) -> None:
        checkpoint = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        fit(
            folder, toy_examples, resume, logger=CSVLogger(folder), log_every_n_steps=1, extra=[checkpoint],
            accumulate_grad_batches=accumulate,
        )  # fmt: skip

    run(tmp_path / "whole", None)
    if step > (15 if accumulate == 1 else 9):
        pytest.skip("the run has no such step")
    run(tmp_path / "rest", str(tmp_path / "ckpt" / f"step={step}.ckpt"))
    whole, rest = logged(tmp_path / "whole"), logged(tmp_path / "rest")
    assert len(whole) == (15 if accumulate == 1 else 9)
    assert rest == {s: loss for s, loss in whole.items() if s >= step}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"curriculum.seed was 0 and is 1 now"),
        ({"policy": UniformPolicy(fraction=0.25)}, r"curriculum.policy.fraction was 0.5 and is 0.25"),
        (
            {"policy": OrderedPolicy("nll", fraction=0.5)},
            r"curriculum.policy was 'UniformPolicy' and is 'OrderedPolicy'",
        ),
        ({"metrics": {"nll": LossRatioIFD()}}, r"curriculum.metrics was .*nll-mean/1.* and is .*ifd-loss-ratio/1"),
        ({"batch_size": 2}, r"data.batch_size was 4 and is 2 now"),
        ({"accumulate_grad_batches": 2}, r"trainer.accumulate_grad_batches was 1 and is 2 now"),
        ({"examples": 39}, r"number of examples was 40 and is 39 now"),
        ({"content": True}, r"content of the data was '\w+' and is '\w+' now"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(
    tmp_path: Path, toy_examples: list[Example], change: dict[str, Any], message: str
) -> None:
    def run(resume: str | None, **given: Any) -> None:
        policy = given.get("policy") or UniformPolicy(fraction=0.5)
        metrics = given.get("metrics") or {"nll": NegativeLogLikelihood()}
        callback = CurriculumCallback(policy, metrics, seed=given.get("seed", 0))
        checkpoint = ModelCheckpoint(tmp_path, filename="last", save_top_k=1)
        trainer = toy_trainer(
            tmp_path, 2, callbacks=[callback, checkpoint], enable_checkpointing=True,
            accumulate_grad_batches=given.get("accumulate_grad_batches", 1),
        )  # fmt: skip
        examples = toy_examples[: given.get("examples", 40)]
        if given.get("content"):
            examples = [*examples[:-1], make_example(39, "another response")]
        data = ToyData(examples, batch_size=given.get("batch_size", 4))
        trainer.fit(ToyModule(), data, ckpt_path=resume, weights_only=True)

    run(None)
    with pytest.raises(ValueError, match=f"belongs to another run: {message}"):
        run(str(tmp_path / "last.ckpt"), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": "chatml"}, r"data.template was 'headings \(\w+\)' and is 'chatml \(\w+\)'"),
        ({"max_length": 90}, r"data.max_length was 96 and is 90 now"),
        ({"turn_end": "excluded"}, r"data.turn_end was 'scored' and is 'excluded' now"),
        ({"tokenizer": True}, r"tokenizer was '\w+' and is '\w+' now"),
    ],
)
def test_tokens_made_otherwise_are_refused_by_what_differs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for name, extra in (("a", ""), ("b", "é")):
        tokenizer = build_tiny_tokenizer()
        tokenizer.add_tokens(list(extra))
        tokenizer.save_pretrained(tmp_path / name)
    lines = [f'{{"instruction": "say {i}", "output": "blue {i}"}}' for i in range(12)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    config = {
        "model_type": "llama", "vocab_size": 104, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 96,
    }  # fmt: skip

    def run(resume: str | None, tokenizer: bool = False, **given: Any) -> None:
        options: dict[str, Any] = {"template": "headings", "batch_size": 4, **given}
        data = InstructionDataModule(
            str(tmp_path / "data.jsonl"), tokenizer=str(tmp_path / ("b" if tokenizer else "a")),
            cache_dir=str(tmp_path / "cache"), **options,
        )  # fmt: skip
        checkpoint = ModelCheckpoint(tmp_path, filename="last", save_top_k=1)
        callbacks = [CurriculumCallback(UniformPolicy()), checkpoint]
        trainer = toy_trainer(tmp_path, 2, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(CausalLMModule(config=config), data, ckpt_path=resume, weights_only=True)

    run(None)
    with pytest.raises(ValueError, match=f"belongs to another run: {message}"):
        run(str(tmp_path / "last.ckpt"), **change)


def test_a_plan_may_have_weights(tmp_path: Path, toy_examples: list[Example]) -> None:
    from lit_curriculum.types import Plan

    class Weighted(UniformPolicy):
        def step(self, table: Any, stage: int, generator: np.random.Generator) -> Plan:
            plan = super().step(table, stage, generator)
            return Plan(indices=plan.indices, weights=np.arange(len(plan), dtype=np.float32) % 2)

    module = ToyModule()
    trainer = toy_trainer(tmp_path, 1, callbacks=[CurriculumCallback(Weighted())])
    trainer.fit(module, ToyData(toy_examples))
    assert sum(len(batch) for batch in module.trained) == 20  # ToyModule notes what has weight above 0
