"""Rows of a batch as one long row without padding, for attention that keeps them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lit_curriculum.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
