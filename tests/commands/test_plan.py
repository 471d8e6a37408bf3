"""``lit-curriculum plan``: numbers against the run, warnings for what is rarely meant, refusals before any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lit_curriculum.cli import main
from lit_curriculum.commands.plan import make_plan
from lit_curriculum.commands.run import CurriculumCLI
from lit_curriculum.difficulty.score_store import StoredScores, read_scores
from lit_curriculum.report.ledger import Ledger
from tests.commands.tiny_commands import METRICS, arguments, layer, make_place, score

ITERIT = {"class_path": "lit_curriculum.IterITPolicy", "init_args": {"fraction": 0.2}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def plan(place: Path, *extra: str) -> dict[str, Any]:
    assert main(["plan", "--out", str(place / "plan.json"), *arguments(place, *extra)]) == 0
    return json.loads((place / "plan.json").read_text())


def refused(place: Path, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    assert main(["plan", *arguments(place, *extra)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lit-curriculum: error: ")
    return error


def test_the_plan_is_what_the_run_then_does(place: Path) -> None:
    layer(place, METRICS, {**ITERIT, "init_args": {"fraction": 0.2, "max_complexity": None}})
    options = ("--data.batch_size=5", "--trainer.accumulate_grad_batches=2", "--trainer.logger.init_args.save_dir="
               f"{place / 'runs'}")  # fmt: skip
    found = plan(place, *options)
    assert [s["examples"] for s in found["stages"]] == [12, 12, 12]
    assert [s["steps"] for s in found["stages"]] == [2, 2, 2]
    assert main(["fit", *arguments(place, *options)]) == 0
    ledger = Ledger(place / "runs" / "version_0")
    assert [ledger.planned_info(s)["selected"] for s in ledger.stages] == [12, 12, 12]
    assert [ledger.trained_info(s)["last_step"] for s in ledger.stages] == [2, 4, 6]
    assert found["steps"] == 6
    scored = [(ledger.planned_info(s)["candidates"], ledger.planned_info(s)["scored_tokens"]) for s in ledger.stages]
    assert scored[0] == (found["stages"][0]["candidates"], found["stages"][0]["tokens_to_score"])
    assert [c for c, _ in scored] == [s["candidates"] for s in found["stages"]] == [60, 36, 36]
    assert found["data"]["tokens"] == sum(ledger.examples(["tokens"]).column("tokens").to_pylist())
    assert found["cost"]["scoring_share"] == found["cost"]["scoring_flops"] / found["cost"]["training_flops"]


def test_with_its_scores_the_first_stage_is_foretold_example_by_example(place: Path) -> None:
    layer(place, METRICS, ITERIT)
    score(place, "scores")
    found = plan(place, "--scores", str(place / "scores" / "scores.parquet"))
    assert main(["fit", *arguments(place, f"--trainer.logger.init_args.save_dir={place / 'runs'}")]) == 0
    ledger = Ledger(place / "runs" / "version_0")
    first = found["stages"][0]
    # Random weights find few instructions helpful, so fewer examples than asked for are eligible.
    assert ledger.planned_info(0)["selected"] == first["simulated_examples"] < first["examples"] == 12
    assert ledger.trained_info(0)["tokens"] == first["tokens"]
    assert found["sizes_depend_on_scores"]
    assert any("sizes of stages depend on scores" in w for w in found["warnings"])


def test_no_weights_are_read(place: Path) -> None:
    (place / "model" / "model.safetensors").unlink()
    cli = CurriculumCLI(arguments(place), run=False)
    found = make_plan(cli.trainer, cli.model, cli.datamodule)
    assert cli.model.model is None
    assert found["model"]["parameters"] > 0
    assert found["simulated_scores"] == ["ifd", "nll"]


def test_the_text_holds_the_numbers_of_the_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(place)
    text = capsys.readouterr().out
    assert f"{found['data']['tokens']:,} tokens" in text
    assert f"steps: {found['steps']}, the horizon" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["0", "15", "1", "60", *(str(found["stages"][0][k]) for k in ("tokens_to_score", "tokens"))] in lines
    assert f"{found['cost']['training_flops']:.3g} operations (6ND" in text
    assert "warning: 3 stages of 3 are smaller than one batch of 16 (first stage 0 with 15 examples)" in text


def test_known_scores_take_the_place_of_made_up_ones(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer(place, METRICS, ITERIT)
    score(place, "scores")
    stored = read_scores(place / "scores" / "scores.parquet")
    low = {"ifd": 0.5, "nll": 1.0}
    write(stored, place / "low.parquet", low)
    assert plan(place, "--scores", str(place / "low.parquet"))["simulated_scores"] == []
    write(stored, place / "high.parquet", low | {"ifd": 1.0})
    error = refused(place, capsys, "--scores", str(place / "high.parquet"))
    assert "no example is eligible at stage 0: of 60 candidates 60 have 'ifd' at or above" in error
    assert "another formula of 'ifd'" in refused(
        place, capsys, "--scores", str(place / "low.parquet"),
        "--curriculum.metrics", json.dumps(METRICS | {"ifd": {"class_path": "lit_curriculum.LossRatioIFD"}}),
    )  # fmt: skip


def write(stored: StoredScores, path: Path, values: dict[str, float]) -> None:
    """The same file with one value for all examples."""
    table = stored.table
    for name, value in values.items():
        column = table.column_names.index(name)
        table = table.set_column(column, name, [[value] * len(stored)])
    StoredScores(stored.key, table).save(path)


def test_warnings(place: Path) -> None:
    def about(*extra: str) -> str:
        return " | ".join(plan(place, *extra)["warnings"])

    assert "every response is cut at data.max_length" in about("--data.max_length=16", "--data.too_long=truncate")
    assert "trainer.max_steps=2 ends the run before its 3 stages are over (3 steps)" in about("--trainer.max_steps=2")
    assert "trainer.accumulate_grad_batches=4 batches of 8" in about(
        "--data.batch_size=8", "--trainer.accumulate_grad_batches=4"
    )
    assert "scoring costs" in about("--curriculum.policy.init_args.fraction=0.05")
    rows = (place / "data.jsonl").read_text()
    (place / "data.jsonl").write_text(rows + '{"instruction": "say", "output": " "}\n')
    assert "1 record is left out: 61 records read, 60 examples kept: 1 empty_response" in about()


def test_without_simulation_costs_are_of_average_examples(place: Path) -> None:
    found = plan(place, "--simulate", "no")
    assert not found["simulated"]
    assert found["cost"]["scoring_tokens"] is None
    mean = found["data"]["tokens"] / 60
    assert found["cost"]["training_tokens"] == round(45 * mean)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--curriculum.policy.init_args.fraction=0.001"],
            "curriculum.policy.fraction=0.001 of 60 examples is less than",
        ),
        (["--trainer.overfit_batches=2"], "trainer.overfit_batches replaces the sampler"),
        (["--trainer.limit_train_batches=2"], "trainer.limit_train_batches=2 would cut every stage short"),
        (["--data.max_length=30"], "raise data.max_length or set data.too_long"),
        (["--curriculum.policy.init_args.metric=mtld"], "reads the metric 'mtld', but curriculum.metrics has"),
        (["--scores", "nowhere.parquet"], "nowhere.parquet does not exist"),
        (
            ["--model.lr_schedule=lit_curriculum.WarmupCosine", "--model.lr_schedule.warmup_steps=3"],
            "lr_schedule.warmup_steps=3 leaves nothing of the run's 3 steps",
        ),
    ],
)
def test_wrong_plans_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert sentence in refused(place, capsys, *options)
