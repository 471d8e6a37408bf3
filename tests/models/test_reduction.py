"""The loss of a batch from the losses of its examples, by hand; and that absolute weights give unbiased gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_curriculum.models.reduction import positive, reduce_losses
from lit_curriculum.types import Batch
from tests.models.tiny_runs import Batches, make_batch, make_module, make_trainer, sgd


@pytest.mark.parametrize(
    ("reduction", "weighting", "expected"),
    [
        # Means 2, 1 and 4 of examples that weigh 1, 2 and 0; the fourth has no scored token.
        ("example", "relative", (2.0 + 2.0) / 3.0),
        ("example", "absolute", (2.0 + 2.0) / 2.0),
        ("token", "relative", (4.0 + 2.0 * 3.0) / (2.0 + 2.0 * 3.0)),
        ("token", "absolute", (4.0 + 2.0 * 3.0) / (2.0 + 3.0)),
    ],
)
def test_golden_losses(reduction: Any, weighting: Any, expected: float) -> None:
    sums, counts = torch.tensor([4.0, 3.0, 4.0, 0.0]), torch.tensor([2, 3, 1, 0])
    numerator, denominator = reduce_losses(sums, counts, torch.tensor([1.0, 2.0, 0.0, 5.0]), reduction, weighting)
    assert float(numerator / positive(denominator)) == pytest.approx(expected)
    assert float(positive(torch.zeros(()))) > 0.0


def _gradient(batch: Batch, weighting: Any, folder: Path) -> Tensor:
    """Of the loss that the module really trains on."""
    found: list[Tensor] = []
    module = make_module(weighting=weighting, optimizer=sgd)

    def keep(*_: Any) -> None:
        found.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).clone())

    module.on_before_optimizer_step = keep  # type: ignore[method-assign, assignment]
    make_trainer(folder).fit(module, Batches([batch]))
    return found[0]


def test_the_expected_gradient_of_pruned_batches_is_that_of_all_examples(tmp_path: Path) -> None:
    """Four examples, two of them kept with probability 1/2 and then of weight 2: all four outcomes, equally likely."""
    responses = [3, 1, 6, 2]
    full = 4 * _gradient(make_batch(0, responses), "absolute", tmp_path)
    everything = make_batch(0, responses)
    expected: dict[str, Tensor] = {}
    for weighting in ("absolute", "relative"):
        sums = []
        for first in (True, False):
            for second in (True, False):
                rows = [0, 1, *([2] if first else []), *([3] if second else [])]
                batch = Batch(
                    everything.input_ids[rows], everything.attention_mask[rows], everything.scored[rows],
                    everything.index[rows], torch.tensor([2.0 if r >= 2 else 1.0 for r in rows]),
                )  # fmt: skip
                sums.append(len(rows) * _gradient(batch, weighting, tmp_path))
        expected[weighting] = torch.stack(sums).mean(dim=0)
    torch.testing.assert_close(expected["absolute"], full, rtol=1e-4, atol=1e-5)
    # The control: a weighted mean is not linear in the weights.
    assert (expected["relative"] - full).abs().max() > 100 * (expected["absolute"] - full).abs().max()
