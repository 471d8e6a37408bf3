"""Shards that were scored apart and merged are the scores of the whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lit_curriculum.cli import main
from lit_curriculum.difficulty.score_store import read_scores
from tests.commands.tiny_commands import ORDERED, arguments, layer, make_place, score


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_three_shards_merge_into_the_scores_of_the_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(place, "whole")
    sizes = [score(place, f"part{i}", f"--shard={i}/3")["examples"] for i in (1, 2, 3)]
    assert min(sizes) > 5
    assert sum(sizes) == 60
    parts = [str(place / f"part{i}") for i in (1, 2, 3)]
    assert main(["merge", *parts[:2], f"{parts[2]}/scores.parquet", "--out", str(place / "all.parquet")]) == 0
    assert "merged 60 examples of 3 files (ifd, nll, length)" in capsys.readouterr().out
    whole, merged = read_scores(place / "whole" / "scores.parquet"), read_scores(place / "all.parquet")
    assert merged.metrics == whole.metrics
    left, right = np.argsort(whole.content_hashes), np.argsort(merged.content_hashes)
    np.testing.assert_array_equal(whole.content_hashes[left], merged.content_hashes[right])
    for metric in whole.metrics:
        np.testing.assert_allclose(whole.values(metric)[left], merged.values(metric)[right], rtol=1e-5)
    chosen = [str(place / f"{name}.jsonl") for name in ("a", "b")]
    for scores, out in zip((place / "whole" / "scores.parquet", place / "all.parquet"), chosen, strict=True):
        assert main(["select", "--scores", str(scores), "--out", out, *arguments(place)]) == 0
    picked = [[json.loads(line)["id"] for line in Path(out).read_text().splitlines()] for out in chosen]
    assert picked[0] == picked[1]


def test_what_does_not_belong_together_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*parts: str) -> str:
        capsys.readouterr()
        assert main(["merge", *(str(place / p) for p in parts), "--out", str(place / "all.parquet")]) == 2
        assert not (place / "all.parquet").exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    score(place, "one", "--shard=1/2")
    assert "nothing" in refusal("one", "nothing")
    score(place, "short", "--shard=2/2", "--data.max_length=80")
    assert "of another data.max_length: 80 there, 96 here" in refusal("one", "short")
    layer(place, {"nll": {"class_path": "lit_curriculum.NegativeLogLikelihood"}}, ORDERED)
    score(place, "fewer", "--shard=2/2")
    assert "scores of different formulas cannot be merged" in refusal("one", "fewer")
    model = AutoModelForCausalLM.from_pretrained(place / "model")
    with torch.no_grad():
        model.lm_head.weight[3, 3] += 1e-6
    model.save_pretrained(place / "model")
    score(place, "other", "--shard=1/2")
    assert "holds scores of another model" in refusal("fewer", "other")
    (place / "data.txt").write_text("no scores")
    assert "is no file of scores" in refusal("fewer", "data.txt")


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "1/0", "a/b"])
def test_a_shard_that_does_not_exist_is_refused(place: Path, capsys: pytest.CaptureFixture[str], part: str) -> None:
    assert main(["score", "--out", str(place / "out"), f"--shard={part}", *arguments(place)]) == 2
    assert f"--shard {part} must be I/N" in capsys.readouterr().err
