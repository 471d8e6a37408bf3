"""The rows of IterIT's ablation: the policy with one thing changed, and what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CONTROL = "random, fresh each stage"
UNTRAINED = "as it came"
WITHIN = "IterIT within each ability"
AS_MANY_TOKENS = "random, as many tokens"
IFD = "lit_curriculum.InstructionFollowingDifficulty"
LOSS_RATIO = "lit_curriculum.LossRatioIFD"


@dataclass(frozen=True)
class Budget:
    """What a row trains on."""

    fraction: float
    """Share of the data of a stage (rho)."""
    stages: int
    """Stages on the chosen part (T)."""
    warm_stages: int
    """Passes over all data in random order before, the same in all rows; none for a pretrained model."""


Arguments = Callable[[Budget], list[str]]


def policy(class_name: str, metrics: dict[str, str], **options: Any) -> Arguments:
    """Options of the command line for a policy behind the common first passes."""
    return lambda budget: _command(_block(class_name, **{"fraction": budget.fraction, **options}), metrics, budget)


def iterit(ifd: str = IFD, **options: Any) -> Arguments:
    """IterIT at the recommended settings, with some of them changed."""
    return policy("IterITPolicy", {"ifd": ifd}, **options)


def within_abilities(budget: Budget) -> list[str]:
    """IterIT inside each ability or source, at the same share of each."""
    inside = _block("IterITPolicy", fraction=budget.fraction)
    return _command(_block("WithinAbilitiesPolicy", policy=inside), {"ifd": IFD}, budget)


def _block(class_name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": f"lit_curriculum.{class_name}", "init_args": options}


def _command(chosen: dict[str, Any], metrics: dict[str, str], budget: Budget) -> list[str]:
    if budget.warm_stages:
        chosen = _block("WarmStartPolicy", first=_block("UniformPolicy"), policy=chosen, stages=budget.warm_stages)
    named = {name: {"class_path": path} for name, path in metrics.items()}
    return [
        f"--curriculum.metrics={json.dumps(named)}",
        f"--curriculum.policy={json.dumps(chosen)}",
        f"--trainer.max_epochs={budget.warm_stages + budget.stages}",
    ]


def untrained(budget: Budget) -> list[str]:
    """One stage at a learning rate of 0, which changes no weight: what the model is worth before."""
    short = Budget(budget.fraction, stages=1, warm_stages=0)
    return [*policy("UniformPolicy", {})(short), "--model.optimizer.init_args.lr=0.0"]


ROWS: dict[str, Arguments] = {
    CONTROL: policy("UniformPolicy", {}),
    UNTRAINED: untrained,
    "random, drawn once": policy("UniformPolicy", {}, fresh="once"),
    "IterIT": iterit(),
    WITHIN: within_abilities,
    "scored once": iterit(strategy="static"),
    "complexity alone": iterit(score="complexity"),
    "complexity alone, scored once": iterit(score="complexity", strategy="static"),
    "novelty alone": iterit(score="novelty"),
    "novelty of the instruction": iterit(text="instruction"),
    "novelty of both": iterit(text="both"),
    "everything re-scored": iterit(refresh_factor=None),
    "complexity alone, everything re-scored": iterit(score="complexity", refresh_factor=None),
    "short list of 2": iterit(refresh_factor=2.0),
    "short list of 5": iterit(refresh_factor=5.0),
    "short list refreshed": iterit(shortlist="refreshed"),
    "decay 0": iterit(novelty_decay=0.0),
    "decay 0.5": iterit(novelty_decay=0.5),
    "decay 1": iterit(novelty_decay=1.0),
    "ratio of losses": iterit(LOSS_RATIO),
    "too hard taken too": iterit(max_complexity=None),
    "half of it a stage, twice the stages": lambda b: iterit()(Budget(b.fraction / 2, 2 * b.stages, b.warm_stages)),
    "twice of it a stage, half the stages": lambda b: iterit()(
        Budget(min(1.0, 2 * b.fraction), b.stages // 2, b.warm_stages)
    ),
    "a quarter of it a stage, four times the stages": lambda b: iterit()(
        Budget(b.fraction / 4, 4 * b.stages, b.warm_stages)
    ),
}


def as_many_tokens(budget: Budget, tokens: int) -> list[str]:
    """Random examples of ``tokens`` tokens a stage, whatever their number."""
    return policy("UniformPolicy", {}, fraction=None, tokens=tokens)(budget)


MAIN = [
    CONTROL, "IterIT", WITHIN, "scored once", "novelty of the instruction", "complexity alone, everything re-scored",
]  # fmt: skip
"""The rows that are also run with a pretrained model and real data."""
FEW = [CONTROL, "IterIT"]
"""The rows of what costs much: answers that are written, and a larger model."""
