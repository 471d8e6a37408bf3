"""How likely a model finds each digit behind many prompts, on disk as it comes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lit_curriculum.difficulty.batching import pack_by_tokens, pack_unknown, sequence_digest
from lit_curriculum.difficulty.fingerprint import model_fingerprint
from lit_curriculum.difficulty.shared_cache import open_cache
from lit_curriculum.methods.baselines.scorers.scorer import Scorer
from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.execution.token_nll import check_headless, next_token_logits
from lit_curriculum.types import Batch, EncodedView, FloatArray, IntArray
from lit_curriculum.utils.distributed import broadcast_object, rank_and_world, scatter
from lit_curriculum.utils.float64 import to_float64
from lit_curriculum.utils.progress import display


def digit_answers(
    scorer: Scorer,
    module: CausalLMModule | None,
    prompts: Sequence[EncodedView],
    digit_ids: Sequence[int],
    token_budget: int,
    home: Path | None = None,
) -> FloatArray:
    """Probabilities [U, K] of the tokens ``digit_ids``, among these alone, right behind each prompt.

    Asked again about the same prompts in batches of the same size, also after it was killed, the model runs only
    what it has not answered yet, and all answers are the same to the last bit.

    Args:
        scorer: The model.
        module: It, where it is loaded already.
        prompts: Token ids of each; nothing of them is scored.
        digit_ids: K of them.
        token_budget: Padded tokens in one batch.
        home: Folder that the answers are kept in; by default the package's cache.

    Raises:
        ValueError: an answer is NaN or infinite.
    """
    answers = np.zeros((len(prompts), len(digit_ids)))
    if not prompts:
        return answers
    module = scorer.load() if module is None else module
    model, device, rank = module.model, scorer.device, rank_and_world()[0]
    assert model is not None
    headless = check_headless(model)
    fingerprint = model_fingerprint(module)
    assert fingerprint is not None, "a scorer is whole on every process"
    summary = f"digit-probabilities/1({','.join(map(str, digit_ids))})"
    names = b"".join(sequence_digest(prompt) for prompt in prompts)
    digests = np.frombuffer(names, dtype=np.uint64).reshape(-1, 2)
    own = hashlib.blake2b(f"{token_budget} ".encode() + names, digest_size=8).hexdigest()
    cache = open_cache(own, fingerprint, device, "none", rank, home, same_data_only=True)
    known, kept = broadcast_object(cache.known([summary], digests), device)
    if known.any():
        answers[known] = kept[summary]
    lengths: IntArray = np.array([len(prompt.input_ids) for prompt in prompts], dtype=np.int64)
    batches = pack_unknown(known, lambda items: pack_by_tokens(lengths[items], token_budget))

    def ask(mine: list[IntArray]) -> list[FloatArray]:
        found: list[FloatArray] = []
        done, total = 0, int(sum(lengths[rows].sum() for rows in mine))
        with display(f"Rating with {scorer.name}", " tok") as progress:
            for rows in mine:
                batch = Batch.from_views([(int(i), 1.0, prompts[i]) for i in rows]).to(device)
                found.append(digit_probabilities(model, batch, headless, digit_ids).cpu().numpy())
                # What shows that the model is broken is not kept.
                if np.isfinite(found[-1]).all():
                    cache.append(digests[rows], {summary: found[-1]})
                done += int(lengths[rows].sum())
                progress(done, total)
        return found

    try:
        for rows, found in zip(batches, scatter(batches, ask, together=False), strict=True):
            answers[rows] = found
    finally:
        cache.close()
    if not np.isfinite(answers).all():
        raise ValueError(f"{scorer.source} gives NaN or infinite logits; its weights are broken.")
    return answers


@torch.no_grad()
def digit_probabilities(model: nn.Module, batch: Batch, headless: bool, digit_ids: Sequence[int]) -> Tensor:
    """[B, K] probabilities, among these tokens alone, of the token that follows each row, in fp64."""
    return to_float64(next_token_logits(model, batch, headless)[:, list(digit_ids)]).softmax(dim=1)
