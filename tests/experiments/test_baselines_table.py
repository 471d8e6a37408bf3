"""The table of baselines: every row is a configuration that exists, sized alike, and has a control of equal tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.ablation import compare
from experiments.baselines.composition import parts_of
from experiments.baselines.controls import SameTokens
from experiments.baselines.method import CONFIGS, RANDOM, Method, Setting
from experiments.baselines.ranking import ranking
from experiments.baselines.run import METHODS, UNITS
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, make_generator
from tests.conftest import ListStore

SETTING = Setting(examples=100, warm_stages=2, stages=4, fraction=0.5)


def _option(command: list[str], name: str) -> str:
    return next(part.removeprefix(f"--{name}=") for part in command if part.startswith(f"--{name}="))


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_every_row_names_a_configuration(method: Method) -> None:
    assert (CONFIGS / "curriculum" / f"{method.config}.yaml").exists()
    block = method.block(SETTING, Path("proxy"))
    assert block["policy"]["class_path"].startswith("lit_curriculum.")
    if method.family == "selection":
        assert block["policy"]["init_args"]["fraction"] in (SETTING.fraction, 1.0)


def test_names_are_unique_and_controls_are_rows() -> None:
    from experiments.baselines import rows_ordering, rows_selection

    assert len(METHODS) == len(rows_selection.ROWS) + len(rows_ordering.ROWS)
    assert {METHODS[name].family for name in RANDOM.values()} == set(RANDOM)


def test_a_selection_begins_behind_the_common_stages_and_an_ordering_does_not() -> None:
    assert SETTING.passes == 4
    chosen = Method(name="x", config="uniform", options={"policy.init_args.fresh": "once"}).command(SETTING, Path())
    policy = json.loads(_option(chosen, "curriculum.policy"))["init_args"]
    assert policy["stages"] == 2
    assert policy["first"]["init_args"]["fraction"] == 1.0
    assert policy["policy"]["init_args"] == {"fraction": 0.5, "fresh": "once"}
    assert _option(chosen, "trainer.max_epochs") == "6"
    ordered = Method(name="y", config="uniform", family="ordering").command(SETTING, Path())
    assert json.loads(_option(ordered, "curriculum.policy"))["init_args"] == {"fraction": 1.0}
    assert _option(ordered, "trainer.max_epochs") == "4"


@pytest.mark.parametrize("fresh", ["once", "each_stage"])
def test_the_control_has_as_many_tokens_in_every_stage(toy_store: ListStore, fresh: str) -> None:
    lengths = toy_store.lengths(CONDITIONED)
    wanted = [int(lengths.sum()) // 3, int(lengths.sum()) // 2, 2 * int(lengths.sum())]
    control = SameTokens(wanted, [13, 20, 80], fresh)  # type: ignore[arg-type]
    control.setup(toy_store, 3)
    table = DifficultyTable(40, [])
    plans = [control.step(table, s, make_generator(0, s, "policy")).indices for s in range(3)]
    for plan, tokens in zip(plans, wanted, strict=True):
        assert abs(int(lengths[plan].sum()) - tokens) <= lengths.max() / 2
    assert len(np.unique(plans[0])) == len(plans[0])
    assert (set(plans[0].tolist()) < set(plans[1].tolist())) == (fresh == "once")
    assert list(control.stage_sizes(40, 2)) == [13, 20]


def test_values_that_are_known_later_are_filled_in() -> None:
    less = METHODS["gradients of targets (LESS)"].block(SETTING, Path("p"))
    assert less["metrics"]["influence"]["init_args"]["first_stage"] == SETTING.warm_stages
    assert less["policy"]["class_path"].endswith("TopMetricPolicy")  # the common first stages are its warm-up
    assert less["policy"]["init_args"]["fraction"] == SETTING.fraction
    selectit = METHODS["SelectIT"]
    assert selectit.needs_proxy
    assert selectit.block(SETTING, Path("p"))["metrics"]["reflection"]["init_args"]["sources"] == ["p"]
    assert not METHODS["longest"].needs_proxy


def test_the_ranking_by_hand() -> None:
    generator = np.random.default_rng(0)
    found = {}
    for name, gap, noise in (("random", 0.0, 0.1), ("good", -1.0, 0.1), ("bad", 1.0, 0.4), ("same", 0.0, 0.1)):
        for seed in range(5):
            jitter = 0.01 * float(generator.standard_normal())
            found[name, seed] = dict.fromkeys(UNITS, 0.5 + jitter) | {
                "held-out loss": 2.0 + seed + gap + jitter, "share of planted noise": noise + jitter,
            }  # fmt: skip
    lines = ranking(
        compare(found, ["random", "same", "bad", "good"], "random", UNITS), ["same", "bad", "good"], "random"
    )
    names = [line.split("|")[1].strip() for line in lines[1:]]
    assert names == ["random", "good", "same", "bad"]
    verdicts = [line.split("|")[-2].strip() for line in lines[1:]]
    assert verdicts == ["control", "better", "no detectable difference", "worse"]
    assert [line.split("|")[5].strip().endswith(">") for line in lines[1:]] == [False, False, False, True]


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.family == "selection"], ids=lambda m: m.name)
def test_every_selection_is_made_from_its_block(method: Method, tmp_path: Path) -> None:
    curriculum = parts_of(method, SETTING, tmp_path)
    assert set(curriculum.policy.required_metrics) <= set(curriculum.metrics)
    assert type(curriculum.policy).__name__ != "WarmStartPolicy"
    if not method.name.startswith("near-duplicates"):
        assert list(curriculum.policy.stage_sizes(100, 1)) == [50]
