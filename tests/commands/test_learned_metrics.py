"""What the commands say to a metric that learns, and that yaml can name one with its parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lit_curriculum.cli import main
from tests.commands.tiny_commands import arguments, layer, make_place

LEARNED = {
    "class_path": "lit_curriculum.LearnedScorer",
    "init_args": {
        "loss": "nll",
        "steps": 3,
        "objective": {
            "class_path": "lit_curriculum.Pairwise",
            "init_args": {"difficulty": "own_answer", "num_answers": 4, "max_new_tokens": 3},
        },
        "features": {"class_path": "lit_curriculum.HashedNgrams", "init_args": {"buckets": 32}},
    },
}
METRICS = {"nll": {"class_path": "lit_curriculum.NegativeLogLikelihood"}, "learned": LEARNED}
EASY_FIRST = {"class_path": "lit_curriculum.OrderedPolicy", "init_args": {"metric": "learned"}}


@pytest.mark.parametrize("command", ["score", "select"])
def test_a_metric_that_learns_has_no_score_outside_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    place = make_place(tmp_path)
    layer(place, METRICS, EASY_FIRST)
    assert main([command, "--out", str(place / "out"), *arguments(place)]) == 2
    printed = capsys.readouterr().err
    assert (
        f"curriculum.metrics.learned (LearnedScorer) learns while a model is trained, so lit-curriculum {command}"
        in printed
    )


def test_yaml_names_scorer_objective_and_features(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    layer(place, METRICS, EASY_FIRST)
    options = ("--trainer.max_epochs=1", f"--trainer.logger.init_args.save_dir={place}")
    assert main(["fit", *arguments(place, *options)]) == 0
    (checkpoint,) = place.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]["stateful"]["learned"]
    assert state["width"] == 66
    assert len(state["objective"]["answered"]) == 4


def test_a_metric_that_needs_no_run_is_scored_and_selected_by_without_one(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    similar = {
        "class_path": "lit_curriculum.TargetSimilarity",
        "init_args": {
            "vectors": {"class_path": "lit_curriculum.HiddenStateVectors"},
            "targets": {
                "class_path": "lit_curriculum.TargetRows",
                "init_args": {"per_group": 4},
            },
            "aggregate": "round_robin",
        },
    }
    best = {"metric": "similar", "fraction": 0.1}
    policy = {"class_path": "lit_curriculum.TopMetricPolicy", "init_args": best}
    layer(place, {"similar": similar}, policy)
    assert main(["score", "--out", str(place / "scores"), *arguments(place)]) == 0
    options = ("--scores", str(place / "scores" / "scores.parquet"), "--out", str(place / "chosen.jsonl"))
    assert main(["select", *options, *arguments(place)]) == 0
    chosen = [json.loads(line)["id"] for line in (place / "chosen.jsonl").read_text().splitlines()]
    log = f"--trainer.logger.init_args.save_dir={place}"
    assert main(["fit", *arguments(place, "--trainer.max_epochs=1", log)]) == 0
    (stage,) = place.rglob("stage-0.jsonl")
    assert [json.loads(line)["id"] for line in stage.read_text().splitlines()] == chosen
    assert len(set(chosen)) == 6
