"""What the page of runs says: paired differences, groups that cannot be compared, refusals, and the page itself."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lit_curriculum.cli import main
from lit_curriculum.report.compare import break_even, compare, find_control, group_comparable, verdict
from lit_curriculum.report.page import write_page
from lit_curriculum.report.run_figures import ability_shares, shared_examples
from lit_curriculum.report.runs import Run, label_runs, read_run
from lit_curriculum.report.tables import Table
from tests.report.run_toys import write_run

IterIT = (1.9, 2.1, 1.7, 1.8, 2.05)
RANDOM = (2.0, 2.3, 2.1, 1.9, 2.2)


def _two_conditions(folder: Path) -> list[Run]:
    for seed, (mine, random) in enumerate(zip(IterIT, RANDOM, strict=True)):
        write_run(folder / f"i{seed}", "IterIT", seed, (3.0, mine))
        write_run(folder / f"u{seed}", "Uniform", seed, (3.0, random))
    return [read_run(p) for p in sorted(folder.iterdir())]


def test_differences_are_paired_by_seed_and_carry_the_t_interval(tmp_path: Path) -> None:
    runs = _two_conditions(tmp_path)
    (group,), apart = group_comparable(runs, label_runs(runs))
    assert apart == []
    assert find_control(group, None) == "Uniform"
    (found,) = compare(group, "Uniform", "val/loss")
    d = np.array(IterIT) - np.array(RANDOM)
    half = stats.t.ppf(0.975, 4) * d.std(ddof=1) / math.sqrt(5)
    assert (found.mean, found.pairs) == (pytest.approx(d.mean()), 5)
    assert (found.low, found.high) == (pytest.approx(d.mean() - half), pytest.approx(d.mean() + half))
    assert found.detected
    assert verdict([found], "val/loss", group.conditions).startswith("IterIT is better than Uniform in val/loss (-0.19")


def test_no_interval_is_claimed_from_one_seed(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "IterIT", 0, (3.0, 1.0))
    write_run(tmp_path / "b", "Uniform", 0, (3.0, 2.0))
    runs = [read_run(tmp_path / "a"), read_run(tmp_path / "b")]
    (group,), _ = group_comparable(runs, label_runs(runs))
    (found,) = compare(group, "Uniform", "val/loss")
    assert found.mean == -1.0
    assert math.isnan(found.low)
    assert not found.detected
    assert "no evidence" in verdict([found], "val/loss", group.conditions)


def test_what_chance_explains_is_no_difference(tmp_path: Path) -> None:
    for seed, shift in enumerate((0.1, -0.1, 0.05, -0.06, 0.02)):
        write_run(tmp_path / f"i{seed}", "IterIT", seed, (3.0, 2.0 + shift))
        write_run(tmp_path / f"u{seed}", "Uniform", seed, (3.0, 2.0))
    runs = [read_run(p) for p in sorted(tmp_path.iterdir())]
    (group,), _ = group_comparable(runs, label_runs(runs))
    text = verdict(compare(group, "Uniform", "val/loss"), "val/loss", group.conditions)
    assert text.startswith("No detectable difference in val/loss between IterIT and Uniform")


@pytest.mark.parametrize(
    ("other", "said"),
    [({"data_hash": "else"}, "other training data"), ({"examples": 30}, r"another budget \(30 examples against 20\)")],
)
def test_runs_of_other_data_or_budget_are_kept_apart(tmp_path: Path, other: dict[str, object], said: str) -> None:
    write_run(tmp_path / "a", "IterIT")
    write_run(tmp_path / "b", "Uniform", **other)  # type: ignore[arg-type]
    runs = [read_run(tmp_path / "a"), read_run(tmp_path / "b")]
    groups, apart = group_comparable(runs, label_runs(runs))
    assert [len(g.runs) for g in groups] == [1, 1]
    (sentence,) = apart
    assert sentence.startswith("Group 2 is not compared with group 1")
    page = write_page(runs, tmp_path / "out", "val/loss").read_text()
    assert sentence in page
    assert re.search(said, sentence)
    assert "says nothing about the curriculum" in page  # IterIT has no control in its group


def test_labels_name_what_differs_and_nothing_else(tmp_path: Path) -> None:
    for name, fraction, seed in (("a", 0.1, 0), ("b", 0.3, 0), ("c", 0.3, 1)):
        write_run(tmp_path / name, "IterIT", seed, options={"fraction": fraction, "ties": "hash"})
    runs = [read_run(tmp_path / n) for n in "abc"]
    assert label_runs(runs) == ["IterIT (fraction=0.1)", "IterIT (fraction=0.3)", "IterIT (fraction=0.3)"]


def test_break_even_counts_the_refreshes(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", losses=(2.5, 1.5)))
    assert break_even(run, 2.6, "val/loss", lower_is_better=True) == 11.0
    assert break_even(run, 2.0, "val/loss", lower_is_better=True) == 22.0
    assert break_even(run, 1.0, "val/loss", lower_is_better=True) is None


def test_what_the_stages_were_made_of(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"))
    assert shared_examples(run)[0] == [1.0, pytest.approx(5 / 15)]  # examples 0-9 and 5-14
    assert ability_shares(run)[0] == {"add": 0.5, "sort": 0.5}


def test_page_says_what_a_reader_has_to_know(tmp_path: Path) -> None:
    options = {"fraction": 0.1, "count": None}
    write_run(tmp_path / "runs" / "half", "IterIT", status="stopped by KeyboardInterrupt", tokens=300, options=options)
    write_run(tmp_path / "runs" / "whole", "Uniform", tokens=200)
    runs = [read_run(tmp_path / "runs" / n) for n in ("half", "whole")]
    page = write_page(runs, tmp_path / "out", "val/loss").read_text()
    assert "half is not whole" in page
    assert "KeyboardInterrupt" in page
    assert "equal in examples, not in tokens: IterIT trained on 300, Uniform on 200" in page
    assert "a claim needs 5 or more" in page
    with (tmp_path / "out" / "tables" / "setting.csv").open() as file:
        setting = dict(list(csv.reader(file))[1:])
    assert setting["curriculum of IterIT"] == "IterITPolicy(fraction=0.1)"
    assert setting["curriculum of Uniform"] == "UniformPolicy()"
    with (tmp_path / "out" / "tables" / "outcomes.csv").open() as file:
        rows = list(csv.reader(file))
    assert [r[0] for r in rows] == ["condition", "IterIT", "Uniform"]
    assert rows[2][3] == "control"
    assert (tmp_path / "out" / "figures" / "by_step.svg").read_text().startswith("<?xml")
    assert (tmp_path / "out" / "figures" / "by_step.png").stat().st_size > 1000


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "IterIT", options={"text": "<script>alert(1)</script>"})
    write_run(tmp_path / "b", "IterIT", options={"text": "x"})
    page = write_page([read_run(tmp_path / n) for n in "ab"], tmp_path / "out", "val/loss").read_text()
    assert "<script>" not in page


def test_a_table_escapes_bars() -> None:
    assert "| a\\|b |" in Table("t", "T", ["a|b"], [["1"]]).markdown()


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no run.json; a run writes it where"):
        read_run(tmp_path)
    write_run(tmp_path / "runs" / "a", "IterIT")
    write_run(tmp_path / "runs" / "b", "IterIT", seed=1)
    with pytest.raises(ValueError, match=r"holds 2 runs \(a, b\); name the ones"):
        read_run(tmp_path / "runs")
    run = read_run(tmp_path / "runs" / "a")
    with pytest.raises(ValueError, match=r"--measure val/other: none of the runs has it"):
        write_page([run], tmp_path / "out", "val/other")
    with pytest.raises(ValueError, match=r"--control 'Other' is none of the conditions: IterIT"):
        write_page([run], tmp_path / "out", "val/loss", "Other")
    old = write_run(tmp_path / "old")
    (old / "run.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="is of format 0, and this version reads 1"):
        read_run(old)
    (old / "run.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match="has no policy: the run ended before its first stage"):
        read_run(old)
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no run.json" in capsys.readouterr().err


def test_command_takes_the_control_by_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(write_run(tmp_path / n, p)) for n, p in (("a", "IterIT"), ("b", "Campus"))]
    assert main(["report", *folders, "--control", folders[1], "--out", str(tmp_path / "out")]) == 0
    assert "2 runs, 2 conditions" in capsys.readouterr().out
    assert "differs by" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_page_of_the_demo_opens_in_a_browser(tmp_path: Path) -> None:
    """No message on the console, no request but the page itself, every figure drawn, and no scrolling sideways."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine; .ci/run installs one")
    api = pytest.importorskip("playwright.sync_api")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "experiments.demo.run", "--method", "iterit", "--quick", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=root)
    page_path = write_page([read_run(tmp_path)], tmp_path / "page", "val/loss")
    messages: list[str] = []
    requests: list[str] = []
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for width in (390, 1200):
            page = chromium.new_page(viewport={"width": width, "height": 800})
            page.on("console", lambda m: messages.append(m.text))
            page.on("pageerror", lambda e: messages.append(str(e)))
            page.on("request", lambda r: requests.append(r.url))
            page.goto(page_path.as_uri())
            widths = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
            assert len(widths) >= 6
            assert min(widths) > 0
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert "IterIT" in page.inner_text("h1")
            assert page.eval_on_selector_all("img", "images => images.every(i => i.alt.length > 10)")
        chromium.close()
    assert messages == []
    assert set(requests) == {page_path.as_uri()}
