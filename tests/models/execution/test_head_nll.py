"""Losses by tiles of the logits against all logits in fp64, and what a tile may not lose: ties, infinities, NaN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_curriculum.models.execution.head_nll import (
    LogitTransform,
    can_be_tiled,
    chunk_nll,
    logits_nll,
    tiled_nll,
)

HIDDEN, VOCABULARY, POSITIONS = 16, 37, 29
TRANSFORMS = {"none": LogitTransform(), "cap": LogitTransform(softcap=5.0), "scale": LogitTransform(scale=0.25)}


def head_with(bias: bool, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(HIDDEN, VOCABULARY, bias=bias).to(dtype)


def positions() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = 9.0 * torch.randn(POSITIONS, HIDDEN, generator=generator)
    return hidden, torch.randint(VOCABULARY, (POSITIONS,), generator=generator)


def exact(head: nn.Linear, transform: LogitTransform, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = hidden.double() @ head.weight.double().T
    if head.bias is not None:
        logits = logits + head.bias.double()
    logits = logits * transform.scale
    if transform.softcap is not None:
        logits = transform.softcap * torch.tanh(logits / transform.softcap)
    return -torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tile", [(1, 1), (7, 5), (29, 37), (1000, 1000)])
@torch.no_grad()
def test_tiles_give_the_losses_of_all_logits(tile: tuple[int, int], bias: bool, transform: str) -> None:
    head, (hidden, targets) = head_with(bias), positions()
    hidden[::3] *= 4  # the most likely token is nearly certain there
    best = TRANSFORMS[transform](head(hidden)).argmax(dim=-1)
    targets[::3] = best[::3]
    expected = exact(head, TRANSFORMS[transform], hidden, targets)
    nll, hit = tiled_nll(head, TRANSFORMS[transform], hidden, targets, *tile)
    assert nll.dtype == torch.float32
    # Behind a head, fp32 logits are off by their own rounding: some 1e-6 of the largest of them.
    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=2e-5)
    assert torch.equal(hit, best == targets)
    assert hit[::3].all()
    assert not hit.all()


@torch.no_grad()
def test_one_tile_of_everything_has_the_bits_of_all_logits() -> None:
    head, (hidden, targets) = head_with(False), positions()
    nll, hit = tiled_nll(head, LogitTransform(), hidden, targets, POSITIONS, VOCABULARY)
    slow, slow_hit = chunk_nll(head, LogitTransform(), hidden, targets)
    assert torch.equal(nll, slow)
    assert torch.equal(hit, slow_hit)


@pytest.mark.parametrize("width", [1, 2, 5])
@torch.no_grad()
def test_among_equals_the_first_token_is_the_most_likely(width: int) -> None:
    head = nn.Linear(1, 6, bias=False)
    head.weight.copy_(torch.tensor([[0.0], [2.0], [1.0], [2.0], [2.0], [-1.0]]))
    targets = torch.arange(6)
    nll, hit = tiled_nll(head, LogitTransform(), torch.ones(6, 1), targets, 4, width)
    assert hit.tolist() == [False, True, False, False, False, False]
    assert torch.equal(hit, logits_nll(head(torch.ones(6, 1)), targets)[1])
    assert nll[1] == nll[3] == nll[4]


@torch.no_grad()
def test_a_loss_near_zero_keeps_its_digits() -> None:
    head = nn.Linear(1, 40, bias=False)
    head.weight.fill_(0.0)
    head.weight[30] = 14.0
    nll, hit = tiled_nll(head, LogitTransform(), torch.ones(1, 1), torch.tensor([30]), 1, 8)
    expected = torch.log1p(39 * torch.exp(torch.tensor(-14.0, dtype=torch.float64)))
    torch.testing.assert_close(nll[0].double(), expected, rtol=5e-3, atol=0.0)
    assert hit.item()


@torch.no_grad()
def test_tokens_that_cannot_be_drawn_add_nothing_and_nan_stays_nan() -> None:
    head, (hidden, targets) = head_with(True), positions()
    expected = exact(head, LogitTransform(), hidden, targets)
    wide = nn.Linear(HIDDEN, VOCABULARY + 8)
    wide.weight.copy_(torch.cat((torch.zeros(8, HIDDEN), head.weight)))
    wide.bias.copy_(torch.cat((torch.full((8,), -torch.inf), head.bias)))
    nll, _ = tiled_nll(wide, LogitTransform(), hidden, targets + 8, 10, 4)  # two whole tiles of them at the beginning
    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=2e-5)
    hidden[3] = torch.nan
    broken = tiled_nll(wide, LogitTransform(), hidden, targets + 8, 10, 4)[0].isnan()
    assert broken.nonzero().flatten().tolist() == [3]


@torch.no_grad()
def test_bfloat16_weights_and_autocast_round_as_all_logits_do() -> None:
    hidden, targets = positions()
    half = head_with(True, torch.bfloat16)
    nll, hit = tiled_nll(half, LogitTransform(), hidden.bfloat16(), targets, 8, 8)
    slow, slow_hit = chunk_nll(half, LogitTransform(), hidden.bfloat16(), targets)
    torch.testing.assert_close(nll, slow, rtol=1e-6, atol=1e-6)
    assert torch.equal(hit, slow_hit)
    head = head_with(True)
    with torch.autocast("cpu", torch.bfloat16):
        found = tiled_nll(head, LogitTransform(), hidden, targets, 8, 8)[0]
        expected = chunk_nll(head, LogitTransform(), hidden, targets)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    plain = chunk_nll(head, LogitTransform(), hidden, targets)[0]
    assert not torch.allclose(found, plain, rtol=1e-6, atol=1e-6), "autocast changes nothing here"


@torch.no_grad()
def test_no_position_at_all() -> None:
    nll, hit = tiled_nll(head_with(True), LogitTransform(), torch.zeros(0, HIDDEN), torch.zeros(0, dtype=torch.int64))
    assert nll.shape == hit.shape == (0,)


def test_tiles_are_for_plain_heads_without_a_gradient() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2.0 * super().forward(input)

    hidden = positions()[0]
    assert not can_be_tiled(head_with(True), hidden)
    with torch.no_grad():
        assert can_be_tiled(head_with(True), hidden)
        assert not can_be_tiled(Scaled(HIDDEN, VOCABULARY), hidden)
        assert not can_be_tiled(head_with(True), torch.empty(2, HIDDEN, device="meta"))
