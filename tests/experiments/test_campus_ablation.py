"""What the rows of CAMPUS's ablation share, and the real rows that some of them train on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.campus_ablation.profiles import PROFILES, Setting
from experiments.campus_ablation.real_rows import MAX_CHARACTERS, files, write_rows
from experiments.campus_ablation.rows import LONG, MAIN, ROWS, VIEWS


def test_cells_of_the_default_profile_and_of_others_are_told_apart() -> None:
    assert Setting().config == {"examples": 1600, "passes": 3, "bands": 10, "model": "model/tiny"}
    configs = [json.dumps(setting.config) for setting in PROFILES.values()]
    assert len(set(configs)) == len(configs)
    assert PROFILES["real"].config["rescore_every"] == 5
    assert set(MAIN) <= set(LONG) <= set(ROWS)
    assert set(VIEWS) <= set(ROWS)


def test_options_of_a_profile_reach_policy_and_scorer() -> None:
    args = dict(arg.split("=", 1) for arg in ROWS["CAMPUS"](PROFILES["real"]))
    metrics, policy = json.loads(args["--curriculum.metrics"]), json.loads(args["--curriculum.policy"])["init_args"]
    assert metrics["mtld"]["init_args"] == metrics["length"]["init_args"] == {"field": "both"}
    scorer = metrics["scorer"]["init_args"]
    assert scorer["objective"]["init_args"] == {"num_losses": 32}
    assert scorer["update_every"] == policy["rescore_every"] == 5
    assert (policy["ppl_count"], policy["num_bands"], policy["budget_passes"]) == (8, 5, 3)
    plain = dict(arg.split("=", 1) for arg in ROWS["CAMPUS"](Setting()))
    assert all("init_args" not in m for m in json.loads(plain["--curriculum.metrics"]).values())


def test_training_rows_follow_the_seed_and_held_out_rows_do_not(shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "train"
    assert all(path.exists() for path in files(data))
    found = []
    for seed in (0, 1):
        paths = write_rows(data, tmp_path / str(seed), 30, 5, seed)
        found.append([[json.loads(line) for line in path.read_text().splitlines()] for path in paths])
    (first, held_out), (second, again) = found
    assert held_out == again
    assert len(held_out) == 15
    prompts = [{row["messages"][0]["content"] for row in rows} for rows in (first, second, held_out)]
    assert not prompts[0] & prompts[2]
    assert len(prompts[0] & prompts[1]) < 5
    assert [row["ability"] for row in first] == ["induction"] * 10 + ["alpaca"] * 10 + ["dolly"] * 10
    assert all(sum(len(turn["content"]) for turn in row["messages"]) <= MAX_CHARACTERS for row in [*first, *held_out])


def test_too_few_rows_are_named(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"instruction_induction.jsonl.gz has 2 and \d+ rows .* 2 and 30000 are asked"):
        write_rows(shared_data / "train", tmp_path, 90000, 2, 0)
