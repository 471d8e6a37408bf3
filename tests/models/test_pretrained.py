"""Real trained weights: the 260 thousand parameters of stories260k."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from lit_curriculum.models.causal_lm import CausalLMModule
from lit_curriculum.models.execution.token_nll import full_logits_nll
from lit_curriculum.types import Batch
from lit_curriculum.utils.hub import load_tokenizer

STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."


def test_stories260k_loads_by_path(shared_data: Path) -> None:
    source = str(shared_data / "models" / "stories260k")
    module = CausalLMModule(source=source)
    assert module.context_length == 512
    assert module.tokenizer_source == source
    module.configure_model()
    module.eval()
    tokenizer = load_tokenizer(source)
    ids = torch.tensor([tokenizer(STORY).input_ids])
    shuffled = ids[:, torch.randperm(ids.shape[1], generator=torch.Generator().manual_seed(0))]
    rows = torch.cat((ids, shuffled))
    scored = torch.ones_like(rows, dtype=torch.bool)
    scored[:, 0] = False
    batch = Batch(rows, torch.ones_like(rows), scored, torch.arange(2), torch.ones(2))
    with torch.no_grad():
        tokens = module.token_nll(batch)
        assert module.model is not None
        torch.testing.assert_close(tokens.nll, full_logits_nll(module.model, batch).nll)
    story, noise = (tokens.nll[tokens.row == row].mean().item() for row in (0, 1))
    # A story like its training data is far likelier than chance, its tokens in random order far less likely.
    assert story < 0.5 * math.log(512)
    assert noise > math.log(512)
    assert tokens.hit[tokens.row == 0].float().mean() > 0.4
    model: Any = module.model
    generated = model.generate(ids[:, :6], max_new_tokens=60, do_sample=False)
    text = tokenizer.decode(generated[0], skip_special_tokens=True)
    words = text.split()
    assert len(words) > 15
    assert "there was a little girl" in text
