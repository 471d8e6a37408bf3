"""One option seeds a run, and each of its seeds can be given separately."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lit_curriculum import CurriculumCallback
from lit_curriculum.commands.run import CurriculumCLI

CONFIGS = Path(__file__).parents[2] / "configs"
LAYERS = [
    f"--config={CONFIGS / layer}.yaml" for layer in ("base", "model/tiny", "data/abilities", "curriculum/uniform")
]


def seeds(*args: str) -> tuple[int, int]:
    """Of the curriculum and of random weights."""
    cli = CurriculumCLI([*LAYERS, "--trainer.accelerator=cpu", "--trainer.logger=false", *args], run=False)
    [curriculum] = [c for c in cli.trainer.callbacks if isinstance(c, CurriculumCallback)]  # type: ignore[attr-defined]
    used = (curriculum.seed, cli.model.init_seed)
    assert (cli.config.curriculum.seed, cli.config.model.init_args.init_seed) == used  # what config.yaml will say
    return used


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), (0, 0)),
        (("--seed_everything=3",), (3, 3)),
        (("--seed_everything=false",), (0, 0)),
        (("--seed_everything=3", "--curriculum.seed=0"), (0, 3)),
        (("--seed_everything=3", "--model.init_seed=1"), (3, 1)),
    ],
)
def test_seed_everything_seeds_what_has_no_seed_of_its_own(args: tuple[str, ...], expected: tuple[int, int]) -> None:
    assert seeds(*args) == expected


def test_random_weights_follow_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        cli = CurriculumCLI([*LAYERS, "--trainer.accelerator=cpu", f"--seed_everything={seed}"], run=False)
        cli.model.configure_model()
        return next(cli.model.parameters()).detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
