"""Generated programs: what passes, what is stopped, and the estimate of pass@k."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest

from lit_curriculum.evaluation import sandbox
from lit_curriculum.evaluation.sandbox import SandboxLimits, pass_at_k, program_of, run_program

LIMITS = SandboxLimits(seconds=4.0)


@pytest.mark.parametrize(
    ("program", "passed", "reason"),
    [
        ("assert 1 + 1 == 2", True, "passed"),
        ("assert 1 + 1 == 3", False, "AssertionError"),
        ("import sys\nsys.exit(0)", False, "status 0 before its tests"),
        ("import os\nos._exit(0)", False, "before its tests"),
        ("open('passed', 'w').write('x')\nraise SystemExit(0)", False, "before its tests"),
        ("def", False, "SyntaxError"),
        ("import os\nassert not [k for k in os.environ if k not in ('LC_CTYPE', 'PWD', 'SHLVL', '_')]", True, "passed"),
        ("x = bytearray(3 << 30)", False, "MemoryError"),
        ("open('big', 'wb').write(bytes(16 << 20))", False, ""),
    ],
)
def test_what_a_program_may_do(program: str, passed: bool, reason: str) -> None:
    outcome = run_program(program, LIMITS)
    assert outcome.passed == passed
    assert reason in outcome.reason


def test_endless_programs_are_stopped_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run_program("import time\nwhile True: time.sleep(0.1)", SandboxLimits(seconds=0.5))
    assert (outcome.passed, outcome.reason) == (False, "timed out")
    assert list(tmp_path.iterdir()) == []


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        SandboxLimits(memory_mib=0)


def test_program_of_an_answer() -> None:
    prompt = "import math\n\ndef f(x):\n"
    assert program_of(prompt, "    return x\nprint(f(1))", "check(f)") == f"{prompt}    return x\n\ncheck(f)"
    fenced = program_of(prompt, "Sure:\n```python\ndef f(x):\n    return 2 * x\n```\nDone.", "assert f(2) == 4")
    assert "Sure" not in fenced
    assert run_program(fenced, LIMITS).passed
    assert program_of(None, "def g(): return 1", "assert g() == 1").startswith("def g()")


def _reference_pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Share of all draws of ``k`` samples in which at least one passes."""
    samples = [i < num_correct for i in range(num_samples)]
    draws = list(itertools.combinations(samples, k))
    return sum(any(draw) for draw in draws) / len(draws)


@pytest.mark.parametrize("case", [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (6, 1, 5), (7, 5, 3), (6, 0, 6)])
def test_pass_at_k_is_the_share_of_draws(case: tuple[int, int, int]) -> None:
    assert pass_at_k(*case) == pytest.approx(_reference_pass_at_k(*case))


def test_too_few_samples() -> None:
    with pytest.raises(ValueError, match="pass@2 cannot be estimated from 1 of 1"):
        pass_at_k(1, 1, 2)


@pytest.mark.slow
def test_published_completions_pass_where_they_should(shared_data: Path) -> None:
    """All that pass and as many that do not, of the 164 with a published pass@1 of 31.1 %."""

    def rows(name: str) -> dict[str, dict[str, object]]:
        with gzip.open(shared_data / name, "rt", encoding="utf-8") as file:
            return {row["task_id"]: row for row in map(json.loads, file)}

    tasks, completions = rows("eval/humaneval.jsonl.gz"), rows("reference/humaneval_completions.jsonl.gz")
    assert sum(bool(row["passed"]) for row in completions.values()) == 51
    failing = [name for name, row in completions.items() if not row["passed"]][:20]
    for name in [*(n for n, row in completions.items() if row["passed"]), *failing]:
        task, row = tasks[name], completions[name]
        program = f"{task['prompt']}{row['completion']}\n{task['test']}\ncheck({task['entry_point']})\n"
        assert run_program(program, LIMITS).passed == row["passed"], name


def test_there_is_no_network_where_the_system_can_take_it_away() -> None:
    if not sandbox._without_network():
        pytest.skip("this system does not allow network namespaces")
    program = "import socket\nnames = [name for _, name in socket.if_nameindex()]\nassert names == ['lo'], names"
    assert run_program(program, LIMITS).passed
