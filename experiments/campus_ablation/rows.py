"""The rows of the ablation: each a policy with its metrics, as options of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.campus_ablation.profiles import Setting
from lit_curriculum import TextMetric
from lit_curriculum.types import ExampleStore, FloatArray

CONTROL = "random"


class RandomScore(TextMetric):
    """No difficulty at all: a number made from the content hash, so that a schedule by it is in random order."""

    unit = "none"
    formula = "random/1"

    def score(self, examples: ExampleStore) -> FloatArray:
        return np.array([int(key[:8], 16) / 2**32 for key in examples.content_hashes.tolist()])


METRICS = {
    "length": "lit_curriculum.Length",
    "mtld": "lit_curriculum.MTLD",
    "loss": "lit_curriculum.NegativeLogLikelihood",
    "scorer": "lit_curriculum.LearnedScorer",
    "random": f"{__name__}.RandomScore",
}
_THREE = ["length", "mtld", "loss"]
_FOUR = [*_THREE, "scorer"]
_STAGES = 200  # more than any of them takes; a run ends when its budget is spent


def metric(name: str, setting: Setting) -> dict[str, Any]:
    """A metric with its options, as the command line takes it."""
    options: dict[str, Any] = {}
    if name in ("length", "mtld") and setting.field != "response":
        options = {"field": setting.field}
    elif name == "scorer":
        options = {"update_every": setting.rescore_every} if setting.rescore_every > 1 else {}
        if setting.scorer_losses is not None:
            learns = {"num_losses": setting.scorer_losses}
            options["objective"] = {
                "class_path": "lit_curriculum.Reweighting",
                "init_args": learns,
            }
    return {"class_path": METRICS[name], **({"init_args": options} if options else {})}


Arguments = Callable[[Setting], list[str]]


def policy(class_name: str, read: list[str], stages: int | None = None, **options: Any) -> Arguments:
    """A row of a policy that reads the metrics ``read``; ``stages`` is by default the number of passes."""

    def arguments(setting: Setting) -> list[str]:
        chosen = {"class_path": f"lit_curriculum.{class_name}", "init_args": options}
        return [
            f"--curriculum.metrics={json.dumps({m: metric(m, setting) for m in read})}",
            f"--curriculum.policy={json.dumps(chosen)}",
            f"--trainer.max_epochs={stages or setting.passes}",
        ]

    return arguments


def campus(metrics: list[str], **options: Any) -> Arguments:
    """A row of CAMPUS with some of its options changed."""

    def arguments(setting: Setting) -> list[str]:
        aware = {"aware": [m for m in metrics if m == "loss"], "learned": [m for m in metrics if m == "scorer"]}
        own = {"num_bands": setting.bands, "budget_passes": setting.passes, **aware}
        own |= {"ppl_count": setting.ppl_count} if setting.ppl_count is not None else {}
        own |= {"rescore_every": setting.rescore_every, **options}
        read = [*metrics, *(["loss"] if "loss" not in metrics and len(metrics) > 1 else [])]
        needed = [*read, *(["loss"] if "scorer" in read and "loss" not in read else [])]
        return policy("CampusPolicy", needed, _STAGES, metrics=metrics, **own)(setting)

    return arguments


ROWS: dict[str, Arguments] = {
    CONTROL: policy("UniformPolicy", []),
    "random order in CAMPUS's stages": campus(["random"]),
    "static order by length": policy("OrderedPolicy", ["length"], metric="length"),
    "static order by MTLD": policy("OrderedPolicy", ["mtld"], metric="mtld"),
    "static order by loss": policy("OrderedPolicy", ["loss"], metric="loss"),
    "hard to easy by loss": policy("OrderedPolicy", ["loss"], metric="loss", direction="hard_to_easy"),
    "competence sampling, root, by length": policy("CompetencePolicy", ["length"], metric="length"),
    "competence sampling, linear, by length": policy("CompetencePolicy", ["length"], metric="length", power=1.0),
    "CAMPUS": campus(_FOUR),
    "CAMPUS, three views": campus(_THREE),
    "without length": campus(["mtld", "loss", "scorer"]),
    "without MTLD": campus(["length", "loss", "scorer"]),
    "without loss": campus(["length", "mtld", "scorer"]),
    "length alone": campus(["length"]),
    "MTLD alone": campus(["mtld"]),
    "loss alone": campus(["loss"]),
    "scorer alone": campus(["scorer"]),
    "static views only": campus(["length", "mtld"]),
    "aware views only": campus(["loss", "scorer"]),
    "three views, random choice": campus(_THREE, choice="random"),
    "three views, round robin": campus(_THREE, choice="round_robin"),
    "three views, highest perplexity": campus(_THREE, choice="max_ppl"),
    "three views, softmax": campus(_THREE, choice="softmax"),
    "CAMPUS, never re-sorted": campus(_FOUR, rescore_which="none"),
    "three views, never re-sorted": campus(_THREE, rescore_which="none"),
    "three views, all aware re-sorted": campus(_THREE, rescore_which="all_aware"),
    "three views, re-sorted every 5": campus(_THREE, rescore_every=5),
    "three views, remaining re-sorted": campus(_THREE, rescore_scope="remaining"),
    "three views, shared clock": campus(_THREE, clock="shared"),
    "three views, seen excluded": campus(_THREE, exclude_seen=True),
    "three views, bands in order": campus(_THREE, shuffle=False),
    "three views, linear pacing": campus(_THREE, power=1.0),
    "three views, cubic root pacing": campus(_THREE, power=3.0),
    "three views, first band of 5 %": campus(_THREE, initial_scope=0.05),
    "three views, shifted pacing": campus(_THREE, pacing_index="shifted"),
    "three views, half the bands": campus(_THREE, num_bands=5),
}
MAIN = [
    CONTROL, "static order by length", "static order by loss", "CAMPUS, three views", "CAMPUS",
]  # fmt: skip
"""The rows that are also run with a pretrained model and real data."""
VIEWS = [
    CONTROL, "static order by length", "static order by MTLD", "CAMPUS", "CAMPUS, three views", "without length",
    "without MTLD", "without loss", "length alone", "MTLD alone", "static views only", "CAMPUS, never re-sorted",
]  # fmt: skip
"""The rows that are also run with the diversity of instruction and response, as most short answers have one value."""
LONG = [*MAIN, "random order in CAMPUS's stages", "competence sampling, root, by length"]
"""The rows that are also run with a longer budget."""
