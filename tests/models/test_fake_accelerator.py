"""What runs on an accelerator is right there, mixes no devices, and waits for it as seldom as it may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils import backend_registration

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this PyTorch takes no device that is written in Python",
)
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["wide", "narrow"])
def found(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``fake_accelerator_programs.py`` prints, on a device that holds float64 and on one that does not."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])])
    done = subprocess.run(
        [
            sys.executable, str(HERE / "fake_accelerator_programs.py"), str(tmp_path_factory.mktemp("far")),
            request.param,
        ],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    answer["kind"] = request.param
    return answer


def test_the_device_is_as_strict_as_a_real_one(found: dict[str, Any]) -> None:
    assert found["strictness"]["mixed"] == "aten::add.Tensor: tensors of the fake accelerator and of the CPU"
    assert found["strictness"]["waits"] == {"aten::_local_scalar_dense": 1, "aten::nonzero": 1, "to the CPU": 1}


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_scores_are_those_of_the_cpu_and_are_waited_for_once(found: dict[str, Any], name: str) -> None:
    scores = found["scores"][name]
    assert scores["error"] < 1e-5
    assert scores["batches"] > 5
    assert scores["tokens"] < scores["padded"] < 1.2 * scores["tokens"]
    if found["kind"] == "wide":
        assert scores["waits"] == {"to the CPU": 1}, "the table of all scores"


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_gradients_are_those_of_the_cpu(found: dict[str, Any], name: str) -> None:
    assert found["learning"][name]["gradient"] < 1e-5


def test_answers_hidden_states_and_sketches_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    others = found["others"]
    assert max(others["errors"]) < 1e-5
    assert others["same"]
    assert others["length"] > 0


def test_a_run_chooses_and_learns_the_same_as_on_the_cpu(found: dict[str, Any]) -> None:
    here, there = found["fit"]["runs"]
    assert (here["devices"], there["devices"]) == (["cpu"], ["far:0"])
    assert len(here["examples"]) == 9
    assert there["examples"] == here["examples"]
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-4)
    assert set(here["reached"]) == {"val/loss", "val/accuracy"}
    assert there["reached"] == pytest.approx(here["reached"], rel=1e-4)
