"""Every row of TAPIR's ablations is a change of options, and no two rows are the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_curriculum.commands.run import CurriculumCLI

CONFIGS = Path(__file__).parents[2] / "configs"
ROWS: dict[str, list[str]] = yaml.safe_load((CONFIGS / "tapir_ablations.yaml").read_text())
pytestmark = pytest.mark.slow


class Parsed(CurriculumCLI):
    """Reads and checks the options and makes nothing of them."""

    def instantiate_classes(self) -> None:
        return


@pytest.fixture(scope="module")
def runs() -> dict[str, dict[str, Any]]:
    layers = [
        f"--config={CONFIGS / name}.yaml" for name in ("base", "model/tiny", "data/abilities", "curriculum/tapir")
    ]
    found = {}
    for row, options in ROWS.items():
        config = Parsed([*layers, *options], run=False).config.as_dict()
        rounds = config["trainer"]["callbacks"][-1]["init_args"]
        schedule = config["model"]["init_args"]["lr_schedule"]["init_args"]
        policy = config["curriculum"]["policy"]["init_args"]
        sign = config["curriculum"]["metrics"]["mfd"]["init_args"]["sign"]
        stages = config["trainer"]["max_epochs"]
        stages = config["trainer"]["max_epochs"]
        found[row] = {"stages": stages, "cycles": schedule["cycles"], "sign": sign, **policy, **rounds}
    return found


def test_no_two_rows_are_the_same_run(runs: dict[str, dict[str, Any]]) -> None:
    assert len({repr(run) for run in runs.values()}) == len(ROWS) > 20
    assert runs["no MFD"]["hard_set"] == "random"
    assert [row for row, run in runs.items() if run["sign"] == "literal"] == ["literal sign"]
    assert runs["refine reasoning and code"]["refiner"]["init_args"]["mode"] == "reasoning_code"
    assert runs["no task"]["targets"] is runs["no task"]["refiner"] is None
    assert runs["raw, new answers"]["raw_answers"] == "teacher"


def test_rows_train_on_as_much_and_each_round_has_its_schedule(runs: dict[str, dict[str, Any]]) -> None:
    for row, run in runs.items():
        assert run["stages"] * run["fraction"] == 6.0, row
        trained = run["stages"] - run["warmup_stages"]
        rounds = trained // run["epochs_per_round"]
        assert rounds * run["epochs_per_round"] == trained, row
        if trained:
            expected = [run["warmup_stages"], *([run["epochs_per_round"]] * rounds)]
            assert run["cycles"] == expected, row
            alphas = [run["alpha_start"] + r * run["alpha_step"] for r in range(rounds)]
            assert row == "S" or sum(alphas) / rounds == pytest.approx(0.5), row
        assert rounds < 2 or not run["pool_sizes"] or run["pool_sizes"][-1] == 70000, row
