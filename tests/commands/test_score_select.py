"""The commands score and select: from a file of instructions to scores, a figure and a file for any trainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from lit_curriculum import CausalLMModule
from lit_curriculum.cli import main
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.difficulty.score_store import read_scores
from lit_curriculum.types import Batch, TokenNLL
from tests.commands.tiny_commands import CONFIGS, METRICS, ORDERED, arguments, layer, make_place, score


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def _reference_nll(place: Path, row: dict[str, Any]) -> float:
    """Mean loss of the response of one record, by the model and its template alone."""
    model = AutoModelForCausalLM.from_pretrained(place / "model").eval()
    tokenizer = build_tiny_tokenizer()
    turns = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(whole, add_special_tokens=False)["input_ids"]])
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        log_p = model(ids).logits.log_softmax(-1)
    return float(np.mean([-log_p[0, t - 1, ids[0, t]] for t in range(start, ids.shape[1])]))


def test_scores_are_written_and_the_second_time_nothing_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = score(place, "out")
    found = read_scores(place / "out" / "scores.parquet")
    assert found.metrics == ["ifd", "nll", "length"]
    assert len(found) == 60
    rows = [json.loads(line) for line in (place / "data.jsonl").read_text().splitlines()]
    for i in (0, 17, 59):
        assert found.values("nll")[i] == pytest.approx(_reference_nll(place, rows[i]), rel=1e-5)
    assert (place / "out" / "scores.png").stat().st_size > 5000
    assert first["tokens"] > 0
    assert first["reused_tokens"] == 0
    assert first["key"]["formulas"]["ifd"] == "ifd-ppl-ratio/1"
    before = (place / "out" / "scores.parquet").read_bytes()
    second = score(place, "out")
    assert (second["tokens"], second["reused_tokens"]) == (0, first["tokens"])
    assert (place / "out" / "scores.parquet").read_bytes() == before
    assert "tokens known before" in capsys.readouterr().out
    assert not (place / "runs").exists()


def test_another_model_in_the_same_folder_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(place, "out")
    model = AutoModelForCausalLM.from_pretrained(place / "model")
    with torch.no_grad():
        model.lm_head.weight[3, 3] += 1e-6
    model.save_pretrained(place / "model")
    assert main(["score", "--out", str(place / "out"), *arguments(place)]) == 2
    assert "holds summaries of another model" in capsys.readouterr().err


def test_nothing_to_score_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer(place, {}, {"class_path": "lit_curriculum.UniformPolicy"})
    assert main(["score", "--out", str(place / "out"), *arguments(place)]) == 2
    assert "curriculum.metrics is empty" in capsys.readouterr().err


def test_a_text_metric_needs_no_answers_of_the_model(place: Path) -> None:
    layer(place, {"length": METRICS["length"]}, {"class_path": "lit_curriculum.UniformPolicy"})
    cost = score(place, "out")
    assert "tokens" not in cost
    assert cost["key"]["model"] is None
    assert cost["metrics"]["length"]["scored"] == 60


def test_bfloat16_and_a_budget_that_is_tried_out_are_named(place: Path) -> None:
    exact, near = score(place, "a", "--token_budget=auto"), score(place, "b", "--autocast=bfloat16")
    assert near["key"]["formulas"]["nll"] == "nll-mean/1+bf16"
    assert exact["key"]["formulas"]["nll"] == "nll-mean/1"
    left, right = (read_scores(place / o / "scores.parquet").values("nll") for o in "ab")
    assert 0 < np.abs(left - right).max() < 0.02


def test_select_writes_what_the_policy_picks_with_reasons(place: Path) -> None:
    score(place, "out")
    out = place / "selection.jsonl"
    scores = ["--scores", str(place / "out" / "scores.parquet")]
    assert main(["select", *scores, "--out", str(out), *arguments(place)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    values = read_scores(place / "out" / "scores.parquet").values("nll")
    order = np.argsort(-values, kind="stable")[:15]
    assert [line["scores"]["nll"] for line in lines] == values[order].tolist()
    rows = [json.loads(line) for line in (place / "data.jsonl").read_text().splitlines()]
    for place_, (line, index) in enumerate(zip(lines, order, strict=True)):
        assert line["rank"] == place_ + 1
        assert line["weight"] == 1.0
        assert [m["content"] for m in line["messages"]] == [rows[index]["instruction"], rows[index]["output"]]
        assert line["topic"] == rows[index]["topic"]
        assert line["source"].endswith(f"data.jsonl:{index + 1}")
        expected = f"OrderedPolicy: place {place_ + 1} of 15; nll {values[index]:.6g}, hardest {place_ + 1} of 60"
        assert line["reason"] == expected


def test_select_equals_the_first_stage_of_a_run(place: Path) -> None:
    iterit = {"class_path": "lit_curriculum.IterITPolicy",
              "init_args": {"fraction": 0.2, "max_complexity": None}}  # fmt: skip
    layer(place, METRICS, iterit)
    score(place, "out")
    chosen = place / "selection.jsonl"
    scores = ["--scores", str(place / "out" / "scores.parquet")]
    assert main(["select", *scores, "--out", str(chosen), *arguments(place)]) == 0
    assert (
        main(["fit", *arguments(place, "--trainer.max_epochs=1", f"--trainer.logger.init_args.save_dir={place}")]) == 0
    )
    (checkpoint,) = place.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]
    sources = [json.loads(line)["source"] for line in chosen.read_text().splitlines()]
    assert [int(s.rsplit(":", 1)[1]) - 1 for s in sources] == state["sampler"]["indices"].tolist()


def test_select_refuses_scores_that_do_not_fit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*extra: str, scores: Path | None = place / "out" / "scores.parquet") -> str:
        given = [] if scores is None else ["--scores", str(scores)]
        capsys.readouterr()
        assert main(["select", *given, "--out", str(place / "s.jsonl"), *arguments(place, *extra)]) == 2
        assert not (place / "s.jsonl").exists()
        return capsys.readouterr().err

    score(place, "out")
    assert "of another data.max_length: 96 there, 80 here" in refusal("--data.max_length=80")
    assert "nothing.parquet does not exist" in refusal(scores=place / "nothing.parquet")
    assert "reads the metric 'nll', but --scores is not given" in refusal(scores=None)
    more = [*(place / "data.jsonl").read_text().splitlines(), json.dumps({"instruction": "new", "output": "one"})]
    (place / "more.jsonl").write_text("\n".join(more))
    assert "no scores of 1 of 61 examples, first" in refusal(f"--data.path={place / 'more.jsonl'}")
    layer(place, {"nll": {"class_path": "lit_curriculum.Perplexity"}})
    assert "another formula of 'nll': 'nll-mean/1' there, 'ppl/1' here" in refusal()
    other = {**ORDERED, "init_args": {"metric": "ppl"}}
    layer(place, {"ppl": {"class_path": "lit_curriculum.Perplexity"}}, other)
    assert "reads the metric 'ppl', but" in refusal()


def test_a_field_of_the_record_with_our_name_is_kept(place: Path) -> None:
    rows = [{"instruction": f"say {i}", "output": "one two " * (1 + i % 3), "rank": "mine"} for i in range(8)]
    (place / "data.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    layer(
        place,
        {"length": METRICS["length"]},
        {**ORDERED, "init_args": {"metric": "length", "fraction": None, "count": 2}},
    )
    assert main(["select", "--out", str(place / "s.jsonl"), *arguments(place)]) == 0
    lines = [json.loads(line) for line in (place / "s.jsonl").read_text().splitlines()]
    assert [(line["rank"], line["record"]) for line in lines] == [(1, {"rank": "mine"}), (2, {"rank": "mine"})]
    assert not list(place.glob(".s.jsonl*"))


def test_a_policy_inside_a_budgeted_refresh_comes_from_yaml(place: Path) -> None:
    budgeted = yaml.safe_load((CONFIGS / "curriculum" / "iterit_budgeted.yaml").read_text())["curriculum"]
    budgeted["policy"]["init_args"]["policy"]["init_args"] |= {"fraction": 0.2, "max_complexity": None}
    layer(place, budgeted["metrics"], budgeted["policy"])
    options = ["--trainer.max_epochs=4", f"--trainer.logger.init_args.save_dir={place}"]
    assert main(["fit", *arguments(place, *options)]) == 0
    (checkpoint,) = place.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]["policy"]
    assert set(state) >= {"policy", "drift", "trainings"}
    assert state["trainings"].max() >= 1
    assert len(state["policy"]["selection"]) == 12


def fit_and_count(place: Path, out: str, monkeypatch: pytest.MonkeyPatch, *extra: str) -> int:
    """Scoring batches of a run of one stage that may use what others have kept."""
    calls: list[int] = []
    answer = CausalLMModule.token_nll

    def counted(self: CausalLMModule, batch: Batch) -> TokenNLL:
        calls.extend([] if torch.is_grad_enabled() else [len(batch)])
        return answer(self, batch)

    options = ["--trainer.max_epochs=1", f"--trainer.logger.init_args.save_dir={place / out}"]
    no_validation = ["--trainer.limit_val_batches=0", "--curriculum.reuse_scores=true"]
    with monkeypatch.context() as patch:
        patch.setattr(CausalLMModule, "token_nll", counted)
        assert main(["fit", *arguments(place, *options, *no_validation, *extra)]) == 0
    return len(calls)


def table_of(place: Path, run: str) -> Any:
    (checkpoint,) = (place / run).rglob("last.ckpt")
    return torch.load(checkpoint, weights_only=True)["callbacks"]["CurriculumCallback"]["table"]["scores"]


@pytest.mark.slow
def test_score_and_fit_find_what_the_other_has_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = score(place, "out")
    assert first["tokens"] > 0
    assert fit_and_count(place, "known", monkeypatch) == 0, "a run finds what score has kept"
    monkeypatch.setenv("LIT_CURRICULUM_CACHE", str(place / "another"))
    assert fit_and_count(place, "alone", monkeypatch) > 0
    second = score(place, "again", "--curriculum.reuse_scores=true")
    assert (second["tokens"], second["reused_tokens"]) == (0, first["tokens"]), "score finds what a run has kept"
    files = [read_scores(place / out / "scores.parquet") for out in ("out", "again")]
    for metric in ("ifd", "nll"):
        np.testing.assert_array_equal(*(file.values(metric) for file in files))
        for run in ("known", "alone"):
            np.testing.assert_array_equal(table_of(place, run)[metric].numpy(), files[0].values(metric))


def run_score(place: Path, out: str, *extra: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lit_curriculum", "score", "--out", str(place / out), *arguments(place, *extra)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(place: Path) -> None:
    score(place, "one", "--token_budget=200")
    process = run_score(place, "two", "--token_budget=200", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert process.wait(240) == 0, process.stderr.read().decode()[-2000:] if process.stderr else ""
    one, two = (read_scores(place / o / "scores.parquet") for o in ("one", "two"))
    for metric in one.metrics:
        np.testing.assert_array_equal(one.values(metric), two.values(metric))
    assert len(list((place / "two" / "journal").glob("*.journal"))) == 2
    cost = json.loads((place / "two" / "score.json").read_text())
    assert cost["processes"] == 2
    again = score(place, "two", "--token_budget=200")
    assert again["tokens"] == 0, "one process reads what two have written"
    assert pq.read_table(place / "two" / "scores.parquet").equals(two.table)


@pytest.mark.slow
def test_select_on_two_processes_writes_the_file_of_one(place: Path) -> None:
    layer(place, {"length": METRICS["length"]}, {**ORDERED, "init_args": {"metric": "length", "fraction": 0.25}})
    ranks = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    assert main(["select", "--out", str(place / "one.jsonl"), *arguments(place)]) == 0
    assert main(["select", "--out", str(place / "asked.jsonl"), *arguments(place, *ranks)]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    own = ["-m", "lit_curriculum", "select", "--out", str(place / "two.jsonl")]
    done = subprocess.run(
        [*launcher, *own, *arguments(place, *ranks)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("selected 15 of 60 examples") == 1
    one, asked, two = ((place / f"{name}.jsonl").read_bytes() for name in ("one", "asked", "two"))
    assert one == asked == two
    assert one.count(b"\n") == 15


@pytest.mark.slow
def test_killed_runs_of_the_command_end_with_the_same_file(place: Path) -> None:
    rows = [{"instruction": f"say {i}", "output": f"{i * 7} is " + "a fish " * (1 + i % 5)} for i in range(800)]
    (place / "data.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    score(place, "straight", "--token_budget=64")
    kills = 0
    journal = place / "killed" / "journal"
    for part in (1, 2, 3):
        process = run_score(place, "killed", "--token_budget=64")
        before = sum(p.stat().st_size for p in journal.glob("*")) if journal.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            size = sum(p.stat().st_size for p in journal.glob("*")) if journal.exists() else 0
            if size > before + 200 * part:
                os.killpg(process.pid, signal.SIGKILL)
        kills += process.wait(60) == -signal.SIGKILL
    assert kills >= 2
    cost = score(place, "killed", "--token_budget=64")
    assert cost["reused_tokens"] > 0
    left, right = ((place / o / "scores.parquet").read_bytes() for o in ("straight", "killed"))
    assert left == right
