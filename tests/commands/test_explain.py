"""``lit-curriculum explain`` answers from a ledger, by hand what the run did; and refuses in a sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer

from lit_curriculum import LedgerWriter
from lit_curriculum.cli import main
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.report.ledger import Ledger, ranks
from lit_curriculum.types import Example
from tests.callbacks.ledger_runs import curriculum, ordered
from tests.conftest import make_example
from tests.loop.loss_runs import LossModule
from tests.toy import ToyData, toy_trainer


class DataWithProblems(ToyData):
    """Toy data of which one record was left out and one kept all the same."""

    @property
    def problems(self) -> ProblemReport:
        report = ProblemReport()
        report.add(ProblemPolicy(), "empty_response", "toy.jsonl:41", "toy-40", "has an empty response")
        report.add(ProblemPolicy(), "duplicate", "toy.jsonl:7", "toy-6", "says the same as toy-5")
        return report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["red", "blue", "green", "boat", "fish", "sun", "sea"]
    examples: list[Example] = [
        make_example(i, " ".join(words[(i * 5 + j) % 7] for j in range(1 + i % 7)), f"[Name] {i} things.", f"a{i % 4}")
        for i in range(40)
    ]
    folder = tmp_path_factory.mktemp("run")
    trainer: Trainer = toy_trainer(folder, 3, callbacks=[LedgerWriter(), curriculum(ordered())])
    trainer.fit(LossModule(), DataWithProblems(examples))
    return folder


def said(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert main(["explain", *map(str, args)]) == 0
    return capsys.readouterr().out


def _loss(ledger: Ledger, stage: int, index: int) -> float:
    rows = ledger.trained(stage).to_pylist()
    return next(float(r["loss"]) for r in rows if r["index"] == index)


def test_the_history_of_an_example(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(run)
    index = int(ledger.order(1)[3])
    text = said(capsys, run, "--id", f"toy-{index}")
    assert f"toy-{index} (toy.jsonl:{index + 1}), a{index % 4}" in text
    assert f"instruction: [Name] {index} things." in text
    lines = text.splitlines()
    (line,) = [x for x in lines if x.startswith("    1  ")]
    state = ledger.state(1)
    rank = ranks(state.scores["nll"])[index]
    assert f"{state.scores['nll'][index]:.5g}, hardest {rank} of 40" in line
    assert "(of stage 0)" in line  # the length, which is never measured again
    assert " ".join(line.split()).endswith(f"yes 4 of 12 chosen by OrderedPolicy 1 {_loss(ledger, 1, index):.5g}")
    times = sum(index in ledger.order(s).tolist() for s in range(3))
    last = max(s for s in range(3) if index in ledger.order(s).tolist())
    assert f"trained on {times} times; last loss {_loss(ledger, last, index):.4g} in stage" in text
    only = said(capsys, run, "--id", f"toy-{index}", "--stage", "1")
    assert [x.split() for x in only.splitlines() if x.startswith("    ")] == [line.split()]


def test_text_finds_one_example_or_lists_several(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "toy-17 (toy.jsonl:18)" in said(capsys, run, "--text", "[name] 17 THINGS")
    several = said(capsys, run, "--text", "name] 1")
    assert several.startswith("11 examples:")
    assert "toy-19" in several


def test_a_stage_and_the_whole_run(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ledger = Ledger(run)
    text = said(capsys, run, "--stage", "2", "--limit", "3", "--out", tmp_path / "stage.csv")
    assert "stage 2, planned at step 6: 40 examples, 40 scored for it, 12 entries to train on" in text
    assert "28  others were preferred" in text
    assert "... and 9 more" in text
    with (tmp_path / "stage.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["id"] for r in rows] == [f"toy-{i}" for i in ledger.order(2)]
    whole = said(capsys, run).splitlines()
    assert whole[0] == "OrderedPolicy, metrics: nll, length"
    never = int((ledger.times_trained() == 0).sum())
    assert f"{never} of 40 examples were never trained on" in whole[1]
    assert whole[2].startswith("1 records were left out")
    chosen = {i for s in range(2) for i in ledger.order(s).tolist()}
    new = len(set(ledger.order(2).tolist()) - chosen)
    assert whole[-1].split()[:6] == ["2", "40", "40", "12", str(new), "12"]


def test_what_was_never_trained_on_and_what_was_left_out(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said(capsys, run, "--never-trained", "--out", tmp_path / "never.csv")
    with (tmp_path / "never.csv").open() as file:
        found = [r["id"] for r in csv.DictReader(file)]
    never = np.flatnonzero(Ledger(run).times_trained() == 0)
    assert found == [f"toy-{i}" for i in never]
    text = said(capsys, run, "--dropped")
    assert text.startswith("1 records were left out of the data, 1 with a problem were kept:")
    assert text.index("toy-40") < text.index("toy-6")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--id", "toy-99"], "no example of .* has the id 'toy-99'; --text WORDS searches"),
        (["--id", "toy-40"], r"record 'toy-40' \(toy.jsonl:41\) is not among the examples: it has an empty response."),
        (["--text", "elephants"], "no example of .* holds 'elephants'"),
        (["--stage", "9"], "stage 9 is not in the ledger"),
        (["--id", "toy-1", "--stage", "9"], "stage 9 is not in the ledger"),
        (["--id", "a", "--dropped"], "--id and --dropped are different questions; ask them one at a time"),
        (["--stage", "1", "--never-trained"], "--stage says nothing about --never-trained"),
        (["--limit", "0"], "--limit must be at least 1, got 0"),
    ],
)
def test_refusals(run: Path, capsys: pytest.CaptureFixture[str], args: list[str], sentence: str) -> None:
    assert main(["explain", str(run), *args]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(error)


def test_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tmp_path)]) == 2
    assert "has no ledger" in capsys.readouterr().err
