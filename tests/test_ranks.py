"""The same run on 1, 2 and 4 processes: same selections, same global batches, same losses; and across a resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rank_processes import start

pytestmark = pytest.mark.slow

CAMPUS = ("--campus", "--stages=12")


# A process that ends with its group alive may abort: a thread of gloo's is still running.
END_OF_A_RANK = """
if dist.is_initialized():
    dist.barrier()
    dist.destroy_process_group()
"""


def run_processes(code: str, world: int, out: Path) -> None:
    """Run ``code``, which imports ``dist``, in ``world`` processes with rank, their number and ``out`` as arguments."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code + END_OF_A_RANK, str(rank), str(world), str(out)],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world, said


def global_batches(found: list[dict[str, Any]]) -> list[list[int]]:
    """The examples of every global batch, sorted."""
    return [sorted(i for part in parts for i in part) for parts in zip(*(f["batches"] for f in found), strict=True)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return start(tmp_path_factory.mktemp("ranks") / "one", 1)


@pytest.mark.parametrize(("ranks", "strategy"), [(2, "ddp"), (4, "ddp"), (2, "fsdp2")])
def test_selections_batches_and_losses_do_not_depend_on_ranks(
    tmp_path: Path, single: list[dict[str, Any]], ranks: int, strategy: str
) -> None:
    found = start(tmp_path / "many", ranks, f"--strategy={strategy}", by_command=ranks == 2)
    for rank in found:
        assert rank["plans"] == single[0]["plans"]
    assert len(single[0]["plans"]) == 5
    assert global_batches(found) == global_batches(single)
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)


def test_a_run_continues_on_another_number_of_ranks(tmp_path: Path, single: list[dict[str, Any]]) -> None:
    first = start(tmp_path / "first", 2, "--stop_after=8")  # in the middle of stage 2
    rest = start(tmp_path / "rest", 1, f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert global_batches(first) + global_batches(rest) == global_batches(single)
    losses = first[0]["losses"] + rest[0]["losses"]
    np.testing.assert_allclose(losses, single[0]["losses"], rtol=1e-5, atol=1e-5)


def test_a_sharded_run_continues(tmp_path: Path, single: list[dict[str, Any]]) -> None:
    first = start(tmp_path / "first", 2, "--strategy=fsdp2", "--stop_after=8")
    rest = start(tmp_path / "rest", 2, "--strategy=fsdp2", f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert global_batches(first) + global_batches(rest) == global_batches(single)


@pytest.mark.parametrize(
    ("objective", "strategy"), [("reweighting", "ddp"), ("pairwise", "ddp"), ("pairwise", "fsdp2")]
)
def test_a_learned_scorer_does_not_depend_on_ranks(tmp_path: Path, objective: str, strategy: str) -> None:
    options = (f"--scorer={objective}", "--stages=3")
    single = start(tmp_path / "one", 1, *options)
    found = start(tmp_path / "two", 2, *options, f"--strategy={strategy}")
    assert found[0]["plans"] == found[1]["plans"] == single[0]["plans"]
    assert len({tuple(plan) for plan in single[0]["plans"]}) == 3
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("selection", ["less", "rds_plus", "clusters"])
def test_selections_do_not_depend_on_ranks_and_go_on_with_fewer(tmp_path: Path, selection: str) -> None:
    options = (f"--selection={selection}", "--stages=4")
    single = start(tmp_path / "one", 1, *options)
    # After the last step of stage 1: the plan of stage 2, by Adam's moments of that step, is made in the resumed run.
    first = start(tmp_path / "first", 2, *options, "--stop_after=6")
    rest = start(tmp_path / "rest", 1, *options, f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert first[0]["plans"][:2] == first[1]["plans"][:2] == single[0]["plans"][:2]
    assert rest[0]["plans"] == single[0]["plans"][2:]
    assert len({tuple(plan) for plan in single[0]["plans"]}) == 4
    assert global_batches(first) + global_batches(rest) == global_batches(single)
    np.testing.assert_allclose(first[0]["losses"] + rest[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def single_campus(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return start(tmp_path_factory.mktemp("campus") / "one", 1, *CAMPUS)


def test_campus_does_not_depend_on_ranks_and_ends_by_itself_on_all(
    tmp_path: Path, single_campus: list[dict[str, Any]]
) -> None:
    found = start(tmp_path / "four", 4, *CAMPUS)
    for rank in found:
        assert rank["plans"] == single_campus[0]["plans"]
    assert 3 <= len(single_campus[0]["plans"]) < 12
    assert sum(len(plan) for plan in single_campus[0]["plans"]) == 120
    assert global_batches(found) == global_batches(single_campus)
    np.testing.assert_allclose(found[0]["losses"], single_campus[0]["losses"], rtol=1e-5, atol=1e-5)


def test_campus_and_its_scorer_go_on_with_fewer_ranks(tmp_path: Path, single_campus: list[dict[str, Any]]) -> None:
    # After the only step of stage 1: the choices from stage 2 on are made in the resumed run.
    first = start(tmp_path / "first", 2, *CAMPUS, "--stop_after=2")
    rest = start(tmp_path / "rest", 1, *CAMPUS, f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert first[0]["plans"][:2] == first[1]["plans"][:2] == single_campus[0]["plans"][:2]
    assert rest[0]["plans"] == single_campus[0]["plans"][2:]
    assert global_batches(first) + global_batches(rest) == global_batches(single_campus)
    losses = first[0]["losses"] + rest[0]["losses"]
    np.testing.assert_allclose(losses, single_campus[0]["losses"], rtol=1e-5, atol=1e-5)


def test_tapir_does_not_depend_on_ranks_and_goes_on_with_fewer(tmp_path: Path) -> None:
    options = ("--tapir", "--stages=4")
    single = start(tmp_path / "one", 1, *options)
    first = start(tmp_path / "first", 2, *options, "--stop_after=10")  # inside round 2
    rest = start(tmp_path / "rest", 1, *options, f"--resume={tmp_path / 'first' / 'last.ckpt'}")
    assert first[0]["plans"][:3] == first[1]["plans"][:3] == single[0]["plans"][:3]
    assert max(single[0]["plans"][3]) > 150, "rows that were written in the last round are trained on"
    assert global_batches(first) + global_batches(rest) == global_batches(single)
    np.testing.assert_allclose(first[0]["losses"] + rest[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)
    for name in ("provenance.jsonl", "costs.md"):
        assert (tmp_path / "rest" / "tapir" / name).read_text() == (tmp_path / "one" / "tapir" / name).read_text()


def test_every_rank_answers_its_share_and_knows_all_answers(tmp_path: Path) -> None:
    """Two ranks answer half of the prompts each; a third run, alone, finds them all on disk."""
    code = """
import json, sys
from pathlib import Path
import numpy as np, torch.distributed as dist
from lit_curriculum.methods.tapir.judging import StudentAnswers
class Echo:
    num_asked = 0
    def generate(self, prompts, max_new_tokens, temperature=0.0, seed=0):
        self.num_asked += len(prompts)
        return [p[::-1][:max_new_tokens].astype(np.int32) for p in prompts]
rank, world, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{out / 'meet'}", rank=rank, world_size=world)
prompts = [np.arange(1 + i % 5, dtype=np.int32) + i % 9 for i in range(40)]
echo = Echo()
found = StudentAnswers(out / "answers", "m", 3).answer(echo, prompts)
assert [a.tolist() for a in found] == [p[::-1][:3].tolist() for p in prompts]
(out / f"{world}-{rank}.json").write_text(json.dumps(echo.num_asked))
"""
    for world in (2, 1):
        run_processes(code, world, tmp_path)
    shares = [json.loads((tmp_path / f"2-{rank}.json").read_text()) for rank in (0, 1)]
    assert sum(shares) == len({(1 + i % 5, i % 9) for i in range(40)})
    assert abs(shares[0] - shares[1]) <= 1
    assert json.loads((tmp_path / "1-0.json").read_text()) == 0


def test_what_stops_rank_zero_stops_all_ranks_with_its_sentence(tmp_path: Path) -> None:
    code = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import torch, torch.distributed as dist
from lit_curriculum.methods.tapir.callback import on_rank_zero
from lit_curriculum.chat.client import ChatStoppedError
rank, world, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{out / 'meet'}", rank=rank, world_size=world)
trainer = SimpleNamespace(is_global_zero=rank == 0, strategy=SimpleNamespace(root_device=torch.device("cpu")))
class Odd(OSError):
    "Cannot be sent to another process, since its arguments are not those of its class."
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
def ask(error=None):
    if error is not None:
        raise error
    assert rank == 0, "only rank zero asks"
    return "answer"
found = []
for error in (ChatStoppedError("the budget is spent."), ValueError("there is no answer."), Odd(1, 2)):
    try:
        on_rank_zero(trainer, lambda: ask(error))
    except Exception as stop:
        found.append([type(stop).__name__, str(stop)])
found.append(on_rank_zero(trainer, ask))
(out / f"{rank}.json").write_text(json.dumps(found))
"""
    run_processes(code, 2, tmp_path)
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert [e[0] for e in zero[:3]] == ["ChatStoppedError", "ValueError", "Odd"]
    assert [e[0] for e in one[:3]] == ["ChatStoppedError", "RuntimeError", "RuntimeError"]
    assert (
        [e[1] for e in zero[:3]]
        == [e[1] for e in one[:3]]
        == ["the budget is spent.", "there is no answer.", "1 and 2"]
    )
    assert zero[3] == one[3] == "answer", "what comes after is in step"


@pytest.mark.parametrize("baseline", ["infobatch", "doremi"])
def test_a_baseline_does_not_depend_on_ranks(tmp_path: Path, baseline: str) -> None:
    options = (f"--baseline={baseline}",)
    single = start(tmp_path / "one", 1, *options)
    found = start(tmp_path / "two", 2, *options)
    assert found[0]["plans"] == found[1]["plans"] == single[0]["plans"]
    assert len(single[0]["plans"]) >= 3
    assert global_batches(found) == global_batches(single)
    np.testing.assert_allclose(found[0]["losses"], single[0]["losses"], rtol=1e-5, atol=1e-5)
