"""1,000,000 short synthetic examples through reading, store, table, scores, selection and sampler: seconds and memory.

python -m experiments.benchmarks.million --out DIR [--work DIR] [--quick]

Every part runs in a separate process, whose peak resident memory is reported beside that before the part.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from experiments.common import Row, print_rows, write_results
from lit_curriculum import (
    InstructionFollowingDifficulty,
    IterITPolicy,
    NegativeLogLikelihood,
    OrderedPolicy,
    StagePlanner,
)
from lit_curriculum.curriculum.base import CurriculumPolicy
from lit_curriculum.data.cache import build_store
from lit_curriculum.data.encode import EncodeOptions, Encoder
from lit_curriculum.data.problems import ProblemPolicy, ProblemReport
from lit_curriculum.data.records import read_examples
from lit_curriculum.data.sampler import CurriculumSampler
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.data.template import resolve_template
from lit_curriculum.data.tiny_tokenizer import build_tiny_tokenizer
from lit_curriculum.difficulty.score_store import ScoreKey, read_scores, write_scores
from lit_curriculum.difficulty.table import DifficultyTable
from lit_curriculum.types import CONDITIONED, Example, ExampleStore, FloatArray, Message, Plan
from lit_curriculum.utils.files import atomic_path

METRICS = ("ifd", "nll")
NUM_WORDS = 20_000
Part = Callable[[int, Path], dict[str, float]]


def generated(num: int) -> ExampleStore:
    """The examples, without their tokens."""
    return cast(ExampleStore, Generated(num))


def scores(num: int) -> dict[str, FloatArray]:
    """Random scores in [0.2, 1.1), so that some are too hard to be eligible."""
    generator = np.random.default_rng(1)
    return {name: generator.uniform(0.2, 1.1, num) for name in METRICS}


def filled_table(num: int) -> DifficultyTable:
    """A table with all scores entered at stage 0."""
    table = DifficultyTable(num, METRICS)
    for name, values in scores(num).items():
        table.enter(name, np.arange(num), values, 0)
    return table


class Generated:
    """What policies and the score store ask of a store, with examples made when they are asked for."""

    identity: ClassVar[dict[str, str]] = {"tokenizer": "none"}

    def __init__(self, num: int) -> None:
        generator = np.random.default_rng(0)
        self.words = generator.integers(0, NUM_WORDS, (num, 8), dtype=np.int32)
        self.sizes = generator.integers(3, 9, num, dtype=np.int8)
        digits = np.frombuffer(b"0123456789abcdef", "S1")[generator.integers(0, 16, (num, 32), dtype=np.int8)]
        self.content_hashes = np.ascontiguousarray(digits).view("S32")[:, 0]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int, /) -> Example:
        turns = (Message(role="user", content=f"say {index}"), Message(role="assistant", content=self._text(index)))
        digest = self.content_hashes[index].decode()
        return Example(index=index, id=f"e{index}", messages=turns, content_hash=digest, source=f"s:{index + 1}")

    def _text(self, index: int) -> str:
        return " ".join(f"w{word:x}" for word in self.words[index, : self.sizes[index]].tolist())


def records(num: int, work: Path) -> dict[str, float]:
    """Read all records of a JSONL file as examples, duplicates looked for, and keep none."""
    report = ProblemReport()
    kept = sum(1 for _ in read_examples([str(_file(num, work))], ProblemPolicy(), report))
    assert kept == report.num_read == num
    return {"duplicates found": report.counts.get("duplicate", 0)}


def _file(num: int, work: Path) -> Path:
    """A JSONL file of all examples, written where it is not there yet."""
    path = work / f"examples-{num}.jsonl"
    if not path.exists():
        source = Generated(num)
        with atomic_path(path) as draft, draft.open("w", encoding="utf-8") as file:
            for i in range(num):
                turns = source[i].messages
                file.write(json.dumps({"instruction": turns[0].content, "output": turns[1].content}) + "\n")
    return path


def build(num: int, work: Path) -> dict[str, float]:
    """The same, tokenised into memory-mapped files."""
    tokenizer = build_tiny_tokenizer()
    encoder = Encoder(resolve_template(tokenizer), EncodeOptions(max_length=128))
    report = ProblemReport()
    rows = read_examples([str(_file(num, work))], ProblemPolicy(), report)
    store = build_store(rows, encoder, ProblemPolicy(), report, work)
    size = sum(path.stat().st_size for path in store.folders[0].rglob("*") if path.is_file())
    return {"bytes on disk": size}


def read(num: int, work: Path) -> dict[str, float]:
    """Open the store, look at all its columns and draw 100,000 examples at random."""
    (folder,) = (work / "encoded").iterdir()
    store = EncodedStore([folder])
    assert len(store) == num
    assert len(store.content_hashes) == len(store.lengths(CONDITIONED)) == len(store.num_scored(CONDITIONED)) == num
    drawn = np.random.default_rng(2).integers(0, num, min(num, 100_000))
    return {"tokens drawn": sum(len(store.encoded(int(i), CONDITIONED).input_ids) for i in drawn)}


def table(num: int, work: Path) -> dict[str, float]:
    """Fill the difficulty table twice, save its state as a checkpoint does, and load it again."""
    first = filled_table(num)
    for name, values in scores(num).items():
        first.enter(name, np.arange(num), values, 1)
    torch.save(first.state_dict(), work / "table.pt")
    second = DifficultyTable(num, METRICS)
    second.load_state_dict(torch.load(work / "table.pt", weights_only=True))
    assert (second.scores["ifd"] == first.scores["ifd"]).all()
    return {"bytes on disk": (work / "table.pt").stat().st_size}


def score_store(num: int, work: Path) -> dict[str, float]:
    """Write the scores of all examples to Parquet, read them and enter them by content hash."""
    store, path = generated(num), work / "scores.parquet"
    key = ScoreKey(
        data="synthetic", model="synthetic", source="synthetic", encoding=store.identity, dtype="float32",
        autocast="none", formulas=dict.fromkeys(METRICS, "synthetic/1"), version="1",
    )  # fmt: skip
    write_scores(path, key, store, scores(num), {})
    found = DifficultyTable(num, METRICS)
    read_scores(path).enter(found, store)
    assert (found.scores["nll"] == scores(num)["nll"]).all()
    return {"bytes on disk": path.stat().st_size}


def _stages(policy: CurriculumPolicy, num: int, work: Path) -> dict[str, float]:
    del work
    metrics = {"ifd": InstructionFollowingDifficulty(), "nll": NegativeLogLikelihood()}
    planner = StagePlanner(policy, metrics)
    planner.setup(generated(num), 3)
    planner.table = filled_table(num)
    for stage in range(3):
        plan = planner.plan(stage).plan
    policy.load_state_dict(policy.state_dict())
    return {"examples chosen": len(plan)}


def iterit_complexity(num: int, work: Path) -> dict[str, float]:
    """Three stages of IterIT by complexity alone."""
    return _stages(IterITPolicy(score="complexity"), num, work)


def iterit_novelty(num: int, work: Path) -> dict[str, float]:
    """Three stages of IterIT in full: n-grams of all texts, the first choice from all, the others from short lists."""
    return _stages(IterITPolicy(), num, work)


def ordered(num: int, work: Path) -> dict[str, float]:
    """Three stages of all examples, sorted from easy to hard."""
    return _stages(OrderedPolicy("ifd"), num, work)


def sampler(num: int, work: Path) -> dict[str, float]:
    """Two epochs of all examples on two ranks, and one continued in the middle from a saved state."""
    del work
    plan = Plan(indices=np.random.default_rng(3).permutation(num), weights=np.ones(num, dtype=np.float32))
    seen = 0
    ranks = [CurriculumSampler(num, 2, rank, batch_size=64) for rank in range(2)]
    for stage in range(2):
        for rank in ranks:
            rank.set_plan(plan, stage)
            seen += sum(1 for _ in rank)
    half = num // 128 * 64
    for rank in ranks:
        rank.load_state_dict(rank.state_dict(), half)
        seen += sum(1 for _ in rank)
    assert seen == 2 * num + num - half
    return {"entries drawn": seen}


PARTS: dict[str, tuple[str, Part]] = {
    "records": ("records: read, duplicates looked for", records),
    "build": ("store: read, tokenise and write", build),
    "read": ("store: open, all columns, random rows", read),
    "table": ("difficulty table: enter twice, save, load", table),
    "score_store": ("score store: write, read, enter", score_store),
    "iterit_complexity": ("IterIT by complexity, three stages", iterit_complexity),
    "iterit_novelty": ("IterIT with n-gram novelty, three stages", iterit_novelty),
    "ordered": ("all sorted from easy to hard, three stages", ordered),
    "sampler": ("sampler: two epochs on two ranks, half of one resumed", sampler),
}


def run_part(name: str, num: int, work: Path, out: Any) -> None:
    """In a separate process: the part's result, its seconds, and resident bytes before and at the peak."""
    before = peak()
    started = time.perf_counter()
    extra = PARTS[name][1](num, work)
    found = {"seconds": time.perf_counter() - started, "before": before, "peak": peak()}
    out.put({**found, "extra": extra})


def peak() -> int:
    """Peak resident bytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--work", type=Path, default=None, help="folder for the data; finished parts are kept there")
    parser.add_argument("--quick", action="store_true", help="5,000 examples, to see that it runs")
    options = parser.parse_args()
    num = 5_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        rows: list[Row] = []
        _file(num, work)  # so that no part is timed with it
        for name, (title, _) in PARTS.items():
            found = _finished(work / f"{name}-{num}.json", name, num, work)
            rows.append({"name": title, "value": found["seconds"], "unit": "s"})
            rows.append({"name": f"{title}: memory added", "value": found["peak"] - found["before"], "unit": "bytes"})
            rows += [{"name": f"{title}: {k}", "value": v, "unit": k.split()[0]} for k, v in found["extra"].items()]
            print_rows(rows[-2 - len(found["extra"]) :])
    config = {"examples": num, "metrics": list(METRICS), "seed": 0, "quick": options.quick}
    print(f"\nwritten to {write_results(options.out, rows, config)}")


def _finished(path: Path, name: str, num: int, work: Path) -> dict[str, Any]:
    if not path.exists():
        # Forked, so that imports are not read again; they count as memory from before the part.
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=run_part, args=(name, num, work, queue))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"part {name} ended with status {process.exitcode}.")
        path.write_text(json.dumps(queue.get()), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
