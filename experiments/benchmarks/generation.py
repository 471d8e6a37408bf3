"""How fast does the student answer: our batched generation beside transformers' ``generate``, all greedy.

Contenders, timed by turns: ours (length-bucketed batches, KV cache, rows that have ended leave the batch),
transformers' ``generate`` one prompt at a time, and the same over padded batches in the order of the file. All have to
write the same tokens.

python -m experiments.benchmarks.generation --data FILE --source SOURCE --out DIR [--quick]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from experiments.common import Row, print_rows, summary, time_interleaved, write_results
from lit_curriculum.data.formats import to_example
from lit_curriculum.data.records import read_records
from lit_curriculum.models.generation import Decoding, TokenIds, end_ids, generate_tokens
from lit_curriculum.models.loading import load_model
from lit_curriculum.utils.hub import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OURS, SINGLE, PADDED = "ours", "generate, one at a time", "generate, padded batches"
PADDED_BATCH = 8
MAX_PROMPT = 256
"""Tokens of a prompt at most: longer ones are left out, for time."""


def read_prompts(path: Path, tokenizer: PreTrainedTokenizerBase, count: int) -> list[TokenIds]:
    """The first ``count`` instructions of a file as chat prompts."""
    rows = (to_example(r.fields, r.source) for r in read_records([str(path)]) if r.fields is not None)
    asked = ([{"role": "user", "content": e.instruction}] for e in rows)
    texts = (str(tokenizer.apply_chat_template(a, tokenize=False, add_generation_prompt=True)) for a in asked)
    ids = (np.asarray(tokenizer(t, add_special_tokens=False)["input_ids"], dtype=np.int32) for t in texts)
    return list(islice((i for i in ids if len(i) <= MAX_PROMPT), count))


def by_transformers(
    model: PreTrainedModel, prompts: list[TokenIds], decoding: Decoding, batch_size: int
) -> list[list[int]]:
    """The answers of ``generate``, ``batch_size`` prompts at a time, without the tokens that ended them."""
    answers = []
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        width = max(len(p) for p in part)
        ids = torch.tensor([[0] * (width - len(p)) + p.tolist() for p in part])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
        with torch.inference_mode():
            output: Any = model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=mask, max_new_tokens=decoding.max_new_tokens, do_sample=False,
                eos_token_id=sorted(decoding.end_ids), pad_token_id=min(decoding.end_ids),
            )  # fmt: skip
        for row in output[:, width:].tolist():
            ends = [place for place, token in enumerate(row) if token in decoding.end_ids]
            answers.append(row[: ends[0]] if ends else row)
    return answers


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="instructions to answer")
    parser.add_argument("--source", required=True, help="local model: folder, hub id or GGUF file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--max_new_tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="4 prompts, 4 tokens, 2 rounds")
    given = parser.parse_args()
    if given.quick:
        given.prompts, given.max_new_tokens, given.rounds = 4, 4, 2
    tokenizer = load_tokenizer(given.source)
    model = load_model(given.source, revision=None, dtype=torch.float32, attention=None, trust_remote_code=False).eval()
    decoding = Decoding(max_new_tokens=given.max_new_tokens, end_ids=end_ids(model, tokenizer))
    prompts = read_prompts(given.data, tokenizer, given.prompts)
    answers: dict[str, list[list[int]]] = {}

    def ours() -> None:
        answers[OURS] = [a.tolist() for a in generate_tokens(model, prompts, decoding)]

    def single() -> None:
        answers[SINGLE] = by_transformers(model, prompts, decoding, 1)

    def padded() -> None:
        answers[PADDED] = by_transformers(model, prompts, decoding, PADDED_BATCH)

    timings = time_interleaved({OURS: ours, SINGLE: single, PADDED: padded}, rounds=given.rounds, warmup=1)
    num_tokens = sum(len(a) for a in answers[SINGLE])
    rows: list[Row] = []
    for name, timing in timings.items():
        rows += timing.rows(f"{name}: seconds")
        rows.append(summary(f"{name}: tokens written a second", [num_tokens / s for s in timing.seconds], "tokens/s"))
    for name in (SINGLE, PADDED):
        pairs = zip(timings[name].seconds, timings[OURS].seconds, strict=True)
        rows.append(summary(f"speed of ours over {name}", [other / own for other, own in pairs], "ratio"))
        same = sum(a == b for a, b in zip(answers[OURS], answers[name], strict=True))
        rows.append({"name": f"answers equal to those of {name}", "value": same / len(prompts), "unit": "share",
                     "n": len(prompts), "low": same / len(prompts), "high": same / len(prompts)})  # fmt: skip
    config = {
        "model": given.source.rsplit("/", 1)[-1], "dtype": "float32", "prompts": len(prompts),
        "prompt_tokens": [min(map(len, prompts)), max(map(len, prompts))], "padded_batch": PADDED_BATCH,
        "max_new_tokens": given.max_new_tokens, "tokens_written": num_tokens, "rounds": given.rounds,
    }  # fmt: skip
    write_results(given.out, rows, config, [given.data])
    print_rows(rows)


if __name__ == "__main__":
    main()
