"""Unit tests of generated programs, in a process with nothing to reach: pass@k of HumanEval and MBPP.

The process runs in a temporary folder that is deleted afterwards, with an empty environment, limits on CPU
time, memory, file size and open files, its own session, and (where the system allows it) no network. That keeps
accidents small. It is no wall against a hostile program: run what you do not trust at all in a virtual machine.

References:
    Chen et al. 2021, "Evaluating large language models trained on code", arXiv 2107.03374, section 2.1.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MIB = 1 << 20
_FENCE = re.compile(r"```(?:[Pp]ython|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
_STOPS = ("\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\n#", "\nassert ", "\n@")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one program may use.

    Args:
        seconds: Wall-clock limit; the CPU time is limited to one second more.
        memory_mib: Address space.
        file_mib: Largest file that it may write.

    Raises:
        ValueError: a limit is not positive.
    """

    seconds: float = 5.0
    memory_mib: int = 1024
    file_mib: int = 4

    def __post_init__(self) -> None:
        if min(self.seconds, self.memory_mib, self.file_mib) <= 0:
            raise ValueError(f"the limits of generated programs must be positive, got {self}.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    passed: bool
    reason: str
    """``passed``, ``timed out``, or the last line of its output."""


def run_program(program: str, limits: SandboxLimits) -> Outcome:
    """Run Python source in a sandboxed process; it passes if it ends in time without an error.

    A program that leaves early with status 0 (``sys.exit``) before its tests does not pass: a word behind the last
    test has to be reached.
    """
    token = os.urandom(16).hex()
    folder = Path(tempfile.mkdtemp(prefix="lit-curriculum-"))
    marker = folder / "passed"
    try:
        source = f"{program}\n\nwith open('passed', 'w') as _file:\n    _file.write('{token}')\n"
        (folder / "program.py").write_text(source, encoding="utf-8")
        process = subprocess.Popen(
            [*_without_network(), sys.executable, "-I", "-B", "program.py"], cwd=folder, env={}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=functools.partial(_limit, limits), errors="replace",
        )  # fmt: skip
        try:
            _, said = process.communicate(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            return Outcome(False, "timed out")
        finally:
            _end_session(process)
        if process.returncode == 0 and marker.is_file() and marker.read_text(errors="replace") == token:
            return Outcome(True, "passed")
        lines = said.strip().splitlines()
        return Outcome(False, lines[-1][:200] if lines else f"ended with status {process.returncode} before its tests")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def program_of(prompt: str | None, answer: str, tests: str) -> str:
    """The program to run: the code of an answer, behind the prompt where it continues one, with its tests.

    A fenced block is taken if there is one. A continuation ends where something new begins at the margin.
    """
    blocks = _FENCE.findall(answer)
    code = blocks[0] if blocks else answer
    if prompt is not None and not blocks:
        ends = [at for stop in _STOPS if (at := code.find(stop)) >= 0]
        code = prompt + code[: min(ends, default=len(code))]
    elif prompt is not None:
        # A whole function comes after the prompt's imports and replaces the prompt's beginning of it.
        code = f"{prompt}\n    pass\n\n{code}"
    return f"{code}\n\n{tests}"


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Unbiased probability that at least one of ``k`` samples passes: 1 - C(n - c, k) / C(n, k).

    Raises:
        ValueError: fewer than ``k`` samples were drawn, or more passed than were drawn.
    """
    if not 1 <= k <= num_samples or not 0 <= num_correct <= num_samples:
        raise ValueError(f"pass@{k} cannot be estimated from {num_correct} of {num_samples} samples that pass.")
    if num_samples - num_correct < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(num_samples - num_correct + 1, num_samples + 1)))


def _limit(limits: SandboxLimits) -> None:
    """Runs in the child before the program does."""
    seconds = int(limits.seconds) + 1
    for kind, amount in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, limits.memory_mib * _MIB),
        (resource.RLIMIT_FSIZE, limits.file_mib * _MIB),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (soft, soft))


@functools.cache
def _without_network() -> tuple[str, ...]:
    """How to start a process in an empty network namespace, or nothing where the system does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    start = (unshare, "--net", "--map-root-user")
    done = subprocess.run([*start, sys.executable, "-I", "-c", ""], capture_output=True, check=False)
    return start if done.returncode == 0 else ()


def _end_session(process: subprocess.Popen[str]) -> None:
    """End the program and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
