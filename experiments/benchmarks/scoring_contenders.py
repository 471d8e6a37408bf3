"""The ways of scoring IFD that are timed against each other, all on the same encoded examples and the same weights."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lit_curriculum import CausalLMModule, InstructionFollowingDifficulty, ScoringEngine
from lit_curriculum.data.store import EncodedStore
from lit_curriculum.types import CONDITIONED, UNCONDITIONED, Batch, FloatArray

VIEWS = (CONDITIONED, UNCONDITIONED)
LOOP_BATCH = 8
LIMIT_SHARE = 0.25
"""Share of the tokens that the dense forward runs; its rate does not depend on it."""
DIRECT, WHOLE = "batch 1, two passes", "batch 8 in file order, all logits, two passes"
OURS, COMPILED = "ours", "ours, compiled"
LIMIT, LIMIT_HEAD = "limit: dense forward", "limit: dense forward, head on our share of positions"
WANA = "wana 0.5.1 (llama.cpp, 4-bit weights)"


@dataclass
class Setting:
    """What all contenders are given."""

    store: EncodedStore
    module: CausalLMModule
    device: torch.device
    token_budget: int
    compiled: bool = False
    """Whether ours is run by a compiled decoder too."""

    @property
    def model(self) -> Any:
        """The Hugging Face model."""
        return self.module.model

    @property
    def num_tokens(self) -> int:
        """Tokens of all views, padding not counted."""
        return int(sum(self.store.lengths(view).sum() for view in VIEWS))

    @property
    def scored_share(self) -> float:
        """Scored tokens over all tokens."""
        return float(sum(self.store.num_scored(view).sum() for view in VIEWS)) / self.num_tokens

    @property
    def loop_padding(self) -> float:
        """Share of the positions of :func:`padded_loop` that are padding."""
        run = 0
        for view in VIEWS:
            lengths = self.store.lengths(view)
            batches = [lengths[low : low + LOOP_BATCH] for low in range(0, len(lengths), LOOP_BATCH)]
            run += int(sum(len(batch) * batch.max() for batch in batches))
        return 1.0 - self.num_tokens / run

    def synchronise(self) -> None:
        """Wait for the device, so that a clock read next is right."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def one_at_a_time(setting: Setting) -> FloatArray:
    """Each view of each example alone, logits of the whole row: the loop of Superfiltering and Cherry_LLM."""
    means = np.zeros((len(setting.store), 2))
    for i in range(len(setting.store)):
        for v, view in enumerate(VIEWS):
            encoded = setting.store.encoded(i, view)
            ids = torch.tensor(np.array(encoded.input_ids)[None], dtype=torch.int64, device=setting.device)
            scored = torch.from_numpy(encoded.scored).to(setting.device)
            logits = setting.model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            means[i, v] = cross_entropy(logits[scored[1:]], ids[0, 1:][scored[1:]]).item()
    ratio: FloatArray = np.exp(means[:, 0] - means[:, 1])
    return ratio


def padded_loop(setting: Setting) -> FloatArray:
    """Rows of 8 in file order, padded, both views apart, fp32 logits of every position and their shifted copy.

    What the reference code of IterIT does (arXiv 2412.17365), as described in its release; our implementation.
    """
    means = np.zeros((len(setting.store), 2))
    for start in range(0, len(setting.store), LOOP_BATCH):
        rows = range(start, min(start + LOOP_BATCH, len(setting.store)))
        for v, view in enumerate(VIEWS):
            batch = Batch.from_views([(i, 1.0, setting.store.encoded(i, view)) for i in rows]).to(setting.device)
            labels = batch.input_ids.masked_fill(~batch.scored, -100)
            output = setting.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
            logits = output.logits.float()
            shifted, targets = logits[:, :-1].contiguous(), labels[:, 1:].contiguous()
            losses: Tensor = cross_entropy(shifted.flatten(0, 1), targets.flatten(), reduction="none")
            counts = (targets != -100).sum(dim=1)
            means[list(rows), v] = (losses.view_as(targets).sum(dim=1) / counts).double().cpu().numpy()
            if setting.device.type == "cuda":
                torch.cuda.empty_cache()
    ratio: FloatArray = np.exp(means[:, 0] - means[:, 1])
    return ratio


def ours(setting: Setting) -> FloatArray:
    """The scoring engine over the model's own losses."""
    engine = ScoringEngine({"ifd": InstructionFollowingDifficulty()}, setting.token_budget, setting.device)
    return engine.score(setting.module, setting.store, np.arange(len(setting.store))).values["ifd"]


def ours_compiled(setting: Setting) -> FloatArray:
    """The same with ``model.torch_compile``; the first call waits for the compiler."""
    plain = setting.module.execution
    assert plain is not None
    setting.module.execution = replace(plain, options=replace(plain.options, torch_compile=True))
    try:
        return ours(setting)
    finally:
        setting.module.execution = plain


def dense_forward(setting: Setting, share: float = 1.0) -> None:
    """A quarter of the tokens in rows of one length, no padding and nothing but the forward: what the machine can do.

    Args:
        setting: Gives model, number of tokens, their mean row length and the tokens of a batch.
        share: Share of the positions that the output head is applied to.
    """
    length = max(2, round(setting.num_tokens / len(setting.store) / len(VIEWS)))
    rows = max(1, setting.token_budget // length)
    ids = torch.randint(0, setting.model.config.vocab_size, (rows, length), device=setting.device)
    done = 0
    while done < setting.num_tokens * LIMIT_SHARE:
        if share == 1.0:
            setting.model(input_ids=ids, use_cache=False)
        else:
            hidden = setting.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            setting.model.get_output_embeddings()(hidden.flatten(0, 1)[: round(share * ids.numel())])
        done += ids.numel()
    # The last batch would run over; the caller gets the time per token of what it wanted.
    setting.synchronise()


def contenders(setting: Setting) -> dict[str, Callable[[], FloatArray | None]]:
    """All that need nothing but this process, by name."""
    compiled = {COMPILED: lambda: ours_compiled(setting)} if setting.compiled else {}
    return {
        DIRECT: lambda: one_at_a_time(setting),
        WHOLE: lambda: padded_loop(setting),
        OURS: lambda: ours(setting),
        **compiled,
        LIMIT: lambda: dense_forward(setting),
        LIMIT_HEAD: lambda: dense_forward(setting, setting.scored_share),
    }


def tokens_run(name: str, setting: Setting) -> int:
    """Tokens that a contender's time is for: the data's, the package's share, or whole batches of the dense forward."""
    if name == WANA:
        rows = wana_rows(setting.store)
        return int(sum(setting.store.lengths(view)[:rows].sum() for view in VIEWS))
    if name not in (LIMIT, LIMIT_HEAD):
        return setting.num_tokens
    length = max(2, round(setting.num_tokens / len(setting.store) / len(VIEWS)))
    batch = max(1, setting.token_budget // length) * length
    return math.ceil(setting.num_tokens * LIMIT_SHARE / batch) * batch


def wana_rows(store: EncodedStore) -> int:
    """Number of rows, from the first on, that the package is timed on: it is slow enough for few."""
    return min(len(store), max(8, len(store) // 8))


_WANA_PROGRAM = """
import json, sys, time
from wana.adapters.logprob.bundled import BundledLogProbProvider
from wana.adapters.scoring.ifd import IFDScorer
from wana.domain.example import Example, Message, Role
rows, threads = json.load(open(sys.argv[1])), int(sys.argv[2])
scorer = IFDScorer(BundledLogProbProvider(threads=threads))
examples = [Example(id=str(i), messages=tuple(Message(Role(r), c) for r, c in turns)) for i, turns in enumerate(rows)]
scorer.score(examples[0])
started, before = time.perf_counter(), time.process_time()
scores = [scorer.score(e)[0].value for e in examples]
seconds, processor = time.perf_counter() - started, time.process_time() - before
print(json.dumps({"seconds": seconds, "processor": processor, "scores": scores}))
"""


def run_wana(python: str, store: EncodedStore, folder: Path, threads: int) -> dict[str, Any]:
    """Seconds, CPU seconds and scores of the package wana on the same conversations.

    Args:
        python: Interpreter of an environment that has it.
        store: The examples.
        folder: Takes the conversations on their way.
        threads: Threads of llama.cpp.
    """
    turns = [[[m.role, m.content] for m in store[i].messages] for i in range(wana_rows(store))]
    path = folder / "conversations.json"
    path.write_text(json.dumps(turns), encoding="utf-8")
    command = [python, "-c", _WANA_PROGRAM, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
