"""Token losses of a causal language model, with the output head applied to scored positions only.

A response is often a small part of a row, and the logits of a row are ``vocabulary / hidden size`` times larger than
its hidden states. So the decoder runs without its head, the hidden states that predict scored tokens are gathered,
and head and fp32 cross-entropy are taken in chunks of positions. What a model does to its logits after the head is
read from its configuration; :func:`check_headless` proves per model that nothing was missed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_curriculum.models.execution.attention import hidden_compiled, run_padded_rows
from lit_curriculum.models.execution.head_nll import (
    TILE_POSITIONS,
    can_be_tiled,
    chunk_nll,
    logit_transform,
    logits_nll,
    tiled_nll,
)
from lit_curriculum.models.execution.rows import SHORTEST, hidden_after_prefix, hidden_by_rows, shared_prefix
from lit_curriculum.types import Batch, TokenNLL

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)
_SCORING_CHUNK = 512
"""Positions per chunk on the CPU where no gradient is wanted: as fast as more, and the logits stay small."""
_PROBE_LOGIT_STD = 20.0
"""Spread of logits in the proof: wide enough for every soft cap in use (30 to 50) to show."""


Layout = Literal["padded", "compiled", "packed", "by rows"]
"""How a batch is run: as it is, by the decoder or a compiled one; as one row for flash attention, or as one row with
attention taken row by row."""


def hidden_without_padding(decoder: nn.Module, batch: Batch) -> Tensor:
    """Hidden states [B, L, H] of the decoder, zero where the rows are padded; no padding is run.

    Positions that restart at 0 show transformers where a row begins. Flash attention runs such rows by their lengths;
    the other implementations mask what belongs to another row, which costs more than the padding did.

    Args:
        decoder: A Hugging Face decoder.
        batch: B rows of L tokens, padded at their ends.
    """
    real = batch.attention_mask.bool()
    positions = torch.arange(real.shape[1], device=real.device).expand_as(real)
    output = decoder(input_ids=batch.input_ids[real][None], position_ids=positions[real][None], use_cache=False)
    found: Tensor = output.last_hidden_state[0]
    return found.new_zeros(*real.shape, found.shape[-1]).masked_scatter(real[..., None], found)


_OTHER_LAYOUTS = {"compiled": hidden_compiled, "packed": hidden_without_padding, "by rows": hidden_by_rows}


class HeadlessError(ValueError):
    """The parts that the fast path needs cannot be found in this model."""


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model itself, where ``model`` may be wrapped for LoRA."""
    unwrap = getattr(model, "get_base_model", None)
    return model if unwrap is None else unwrap()  # type: ignore[return-value]


def token_nll(model: nn.Module, batch: Batch, chunk: int, layout: Layout = "padded") -> TokenNLL:
    """Losses of the scored tokens of ``batch``, equal to those from full logits.

    Args:
        model: A Hugging Face causal language model, or one wrapped for LoRA.
        batch: B rows of L tokens; the token at position t is predicted from the hidden state at t - 1.
        chunk: Number of positions that the head is applied to at once; with vocabulary size V the peak is a few
            tensors [chunk, V] in fp32, in the backward pass too, where a chunk's logits are computed again.
        layout: ``packed`` needs :func:`check_packing`, ``by rows``
            :func:`~lit_curriculum.models.execution.rows.rows_are_exact`.

    Raises:
        HeadlessError: the model's decoder or output head cannot be found.
    """
    lm = causal_lm(model)
    learning = torch.is_grad_enabled()
    hidden, head, skipped = _hidden_states_and_head(lm, batch, layout, share_prefix=not learning)
    row, column = _predicting_positions(batch)
    inputs, targets = hidden[row, column - skipped], batch.input_ids[row, column + 1]
    transform = logit_transform(lm.config)
    if can_be_tiled(head, inputs):
        nll, hit = tiled_nll(head, transform, inputs, targets, tile_positions=min(chunk, TILE_POSITIONS))
        return TokenNLL(nll, row, hit)
    if not learning and inputs.device.type == "cpu":
        chunk = min(chunk, _SCORING_CHUNK)
    # An empty batch still makes one pass over nothing, so that every weight gets a gradient (of zero) on each rank.
    starts = range(0, max(len(targets), 1), chunk)
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    for start in starts:
        part = slice(start, start + chunk)
        # The last chunk keeps its logits: the backward pass starts with it, so dropping them would save nothing.
        if learning and start != starts[-1]:
            nll, hit = checkpoint(chunk_nll, head, transform, inputs[part], targets[part], use_reentrant=False)
        else:
            nll, hit = chunk_nll(head, transform, inputs[part], targets[part])
        losses.append(nll)
        hits.append(hit)
    return TokenNLL(torch.cat(losses), row, torch.cat(hits))


def full_logits_nll(model: nn.Module, batch: Batch) -> TokenNLL:
    """The same losses by way of all logits [B, L, V]; slow and large, but true of every architecture."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
    return nll_of_logits(logits, batch)


def nll_of_logits(logits: Tensor, batch: Batch) -> TokenNLL:
    """Losses at the scored positions of ``batch`` from all its logits [B, L, V], for a model of one's own."""
    row, column = _predicting_positions(batch)
    targets = batch.input_ids[row, column + 1]
    nll, hit = logits_nll(logits[row, column].float(), targets)
    return TokenNLL(nll, row, hit)


def next_token_logits(model: nn.Module, batch: Batch, headless: bool) -> Tensor:
    """Logits [B, V] in fp32 of the token that would follow each row.

    Args:
        model: A Hugging Face causal language model, or one wrapped for LoRA.
        batch: B rows; what is scored does not matter.
        headless: The result of :func:`check_headless`; where false, logits of all positions are made.
    """
    last = batch.attention_mask.sum(dim=1) - 1
    rows = torch.arange(len(batch), device=last.device)
    if not headless:
        logits: Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
        return logits[rows, last].float()
    lm = causal_lm(model)
    hidden, head, _ = _hidden_states_and_head(lm, batch)
    return logit_transform(lm.config)(head(hidden[rows, last]))


def check_headless(model: nn.Module, seed: int = 0) -> bool:
    """Whether :func:`token_nll` equals :func:`full_logits_nll` on this model; logs one sentence where it does not.

    Two random rows are run both ways, with the decoder's output amplified until the logits spread widely: at the
    small logits of an untrained model a forgotten soft cap would not show.

    Args:
        model: The model, on any device; its train/eval flags and the global random state stay as they are.
        seed: Of the random tokens.
    """
    lm = causal_lm(model)
    training = {module: module.training for module in model.modules()}
    batch = _probe_batch(lm, seed)
    try:
        model.eval()
        with torch.no_grad():
            reason = _difference(model, lm, batch)
    except HeadlessError as error:
        reason = str(error)
    finally:
        for module, flag in training.items():
            module.training = flag
    if reason is not None:
        _log.warning("losses of %s are computed from full logits, which is slower: %s", type(lm).__name__, reason)
    return reason is None


def _difference(model: nn.Module, lm: PreTrainedModel, batch: Batch) -> str | None:
    hidden, head, _ = _hidden_states_and_head(lm, batch)
    spread = head(hidden).float().std().item()
    factor = _PROBE_LOGIT_STD / spread if spread > 0.0 else 1.0

    def amplify(_module: nn.Module, _args: object, output: dict[str, Tensor]) -> dict[str, Tensor]:
        output["last_hidden_state"] = output["last_hidden_state"] * factor
        return output

    hook = lm.get_decoder().register_forward_hook(amplify)  # type: ignore[no-untyped-call]
    try:
        fast, slow = token_nll(model, batch, chunk=4).nll, full_logits_nll(model, batch).nll
    finally:
        hook.remove()
    # Half precision rounds logits of this size to a quarter; a missed factor or cap is off by far more.
    tolerance = 1e-3 if lm.dtype == torch.float32 else 0.5
    if torch.allclose(fast, slow, rtol=tolerance / 10, atol=tolerance):
        return None
    return f"its logits are not those of decoder and output head (losses differ by {(fast - slow).abs().max():.3g})"


def _probe_batch(lm: PreTrainedModel, seed: int) -> Batch:
    weight: Any = lm.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(weight.shape[0], (2, 8), generator=generator, device="cpu")
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    scored = mask.bool()
    scored[:, 0] = False
    return Batch(ids, mask, scored, torch.arange(2), torch.ones(2)).to(weight.device)


def _hidden_states_and_head(
    lm: PreTrainedModel, batch: Batch, layout: Layout = "padded", share_prefix: bool = False
) -> tuple[Tensor, nn.Module, int]:
    """Hidden states [B, L, H] that the output head is applied to, the head, and how many columns are left out.

    Args:
        lm: The model.
        batch: B rows.
        layout: See :func:`token_nll`.
        share_prefix: Run what padded rows begin with once; its columns, and those of no use, are then left out.
    """
    head: nn.Module | None = lm.get_output_embeddings()  # type: ignore[no-untyped-call]
    decoder: nn.Module = lm.get_decoder()  # type: ignore[no-untyped-call]
    if head is None or decoder is lm:
        raise HeadlessError("it does not offer its decoder and its output head apart")
    if layout != "padded":
        return _OTHER_LAYOUTS[layout](decoder, batch), head, 0
    if share_prefix and len(batch) > 1 and (length := shared_prefix(batch)) >= SHORTEST:
        hidden = hidden_after_prefix(decoder, batch, length)
        if hidden is not None:
            return hidden, head, length
    output = run_padded_rows(decoder, batch)
    hidden = getattr(output, "last_hidden_state", None)
    if not isinstance(hidden, Tensor) or hidden.shape[-1] != getattr(head, "in_features", None):
        raise HeadlessError("its output head does not fit on what its decoder returns")
    return hidden, head, 0


def _predicting_positions(batch: Batch) -> tuple[Tensor, Tensor]:
    """Row and column [S] of the position before every scored token, row by row and left to right."""
    scored = batch.on_cpu.scored
    assert not scored[:, 0].any(), "the first token of a row has no context and cannot be scored"
    places = scored[:, 1:].nonzero()
    if batch.cpu_copy is not None:
        if batch.input_ids.is_cuda:
            places = places.pin_memory()  # else the copy waits its turn behind all that the device has to do
        places = places.to(batch.input_ids.device, non_blocking=True)
    row, column = places.unbind(dim=1)
    return row, column


def check_packing(lm: PreTrainedModel, headless: bool, seed: int = 0) -> None:
    """Refuse ``model.packing`` where a row's hidden states depend on its neighbours.

    Args:
        lm: The model, whose train/eval flags stay as they are.
        headless: Whether its decoder is run without the output head, which packing needs.
        seed: Of the random tokens.

    Raises:
        ValueError: the model or its attention does not keep packed rows apart, or its head is not apart.
    """
    if not headless:
        raise ValueError(
            f"model.packing needs decoder and output head apart, which {type(lm).__name__} does not offer here (or its "
            "weights are sharded); set model.packing to false."
        )
    ids = torch.randint(lm.config.get_text_config().vocab_size, (2, 8), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    batch = Batch(ids, mask, mask.bool(), torch.arange(2), torch.ones(2)).to(lm.device)
    decoder: nn.Module = lm.get_decoder()  # type: ignore[no-untyped-call]
    training = {module: module.training for module in lm.modules()}
    lm.eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = hidden_without_padding(decoder, batch)
        expected = decoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)[0]
    for module, flag in training.items():
        module.training = flag
    difference = float(((found - expected).float() * batch.attention_mask[..., None]).abs().max())
    if difference > (1e-3 if lm.dtype == torch.float32 else 0.1) * float(expected.float().abs().max()):
        raise ValueError(
            f"model.packing: {type(lm).__name__} with attention {lm.config._attn_implementation} does not keep packed "
            f"rows apart (hidden states differ by {difference:.3g}); set model.packing to false."
        )
