"""The rows of the results file, from the measurements of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.benchmarks.scoring_contenders import COMPILED, DIRECT, LIMIT, LIMIT_HEAD, OURS, WANA, WHOLE
from experiments.common import Row, summary

TOP_SHARE = 0.05
"""Share of the examples with the highest scores below 1 that two sets of scores are compared on."""


def report(found: Sequence[dict[str, Any]], dtypes: Sequence[str]) -> list[Row]:
    """All rows: speed, share of the limit, ratios between contenders, memory, and how far scores differ.

    Ratios are taken within a round between neighbours in time and the median of those is reported; ``in products``
    means that both were first divided by the time of the matrix product beside them. CPU time (``processor``) excludes
    other programs, but counts threads that wait for each other: with one thread it is the steadiest.
    """
    rows: list[Row] = []
    for name, dtype in dict.fromkeys((m["name"], m["dtype"]) for m in found if m["kind"] == "time"):
        timed = _times(found, name, dtype)
        label = f"{name}, {dtype}"
        rows.append(summary(f"{label}: tokens", [m["tokens"] / m["seconds"] for m in timed.values()], "tokens/s"))
        if not name.startswith("limit"):
            rows.append(summary(f"{label}: examples", [m["rows"] / m["seconds"] for m in timed.values()], "examples/s"))
        per_product = [m["tokens"] / (m["seconds"] / m["product"]) for m in timed.values()]
        rows.append(summary(f"{label}: tokens per matrix product", per_product, "tokens"))
    first = dtypes[0]
    pairs = [((OURS, first), (DIRECT, first)), ((OURS, first), (WHOLE, first)), ((OURS, first), (WANA, "q4_1"))]
    for dtype in dtypes:
        pairs += [
            ((OURS, dtype), (LIMIT, dtype)),
            ((OURS, dtype), (LIMIT_HEAD, dtype)),
            ((COMPILED, dtype), (OURS, dtype)),
        ]
    pairs += [((OURS, dtype), (OURS, first)) for dtype in dtypes[1:]]
    for fast, slow in pairs:
        rows += _ratios(found, fast, slow)
    memory = {(m["name"], m["dtype"]): m["bytes"] for m in found if m["kind"] == "memory"}
    for (name, dtype), size in memory.items():
        rows.append({"name": f"{name}, {dtype}: peak beyond the weights", "value": size / 2**20, "unit": "MiB"})
    if (WHOLE, first) in memory:
        share = memory[OURS, first] / memory[WHOLE, first]
        rows.append({"name": f"{OURS} over {WHOLE}: peak beyond the weights", "value": share, "unit": "times"})
    scores = {(m["name"], m["dtype"]): np.array(m["scores"]) for m in found if m.get("scores")}
    for key, values in scores.items():
        if key != (OURS, first):
            rows += _agreement(f"{OURS}, {first} and {key[0]}, {key[1]}", scores[OURS, first], values)
    return rows


def _times(found: Sequence[dict[str, Any]], name: str, dtype: str) -> dict[int, dict[str, Any]]:
    return {m["round"]: m for m in found if (m["kind"], m["name"], m["dtype"]) == ("time", name, dtype)}


def _ratios(found: Sequence[dict[str, Any]], fast: tuple[str, str], slow: tuple[str, str]) -> list[Row]:
    a, b = _times(found, *fast), _times(found, *slow)
    both = [number for number in a if number in b]
    if not both:
        return []

    def ratios(seconds: Callable[[dict[str, Any]], float]) -> list[float]:
        return [(a[n]["tokens"] / seconds(a[n])) / (b[n]["tokens"] / seconds(b[n])) for n in both]

    title = f"{', '.join(fast)} over {', '.join(slow)}"
    return [
        summary(f"{title}: speed", ratios(lambda m: m["seconds"]), "times"),
        summary(f"{title}: in products", ratios(lambda m: m["seconds"] / m["product"]), "times"),
        summary(f"{title}: in processor time", ratios(lambda m: m["processor"]), "times"),
    ]


def _agreement(title: str, ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> list[Row]:
    ours = ours[: len(theirs)]
    usable = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[usable], theirs[usable]
    count = max(1, round(TOP_SHARE * len(ours)))
    top = [set(np.argsort(np.where(s < 1, s, -np.inf))[-count:].tolist()) for s in (ours, theirs)]
    rank: Row = {"name": f"{title}: Spearman", "value": float(spearmanr(ours, theirs).statistic), "unit": ""}
    if WANA in title:
        return [rank]  # its formula is the ratio of losses, of 4-bit weights and another form of the prompt
    return [
        rank,
        {"name": f"{title}: largest difference", "value": float(np.abs(ours - theirs).max()), "unit": "IFD"},
        {"name": f"{title}: largest relative difference", "value": float(np.abs(theirs / ours - 1).max()), "unit": ""},
        {"name": f"{title}: same in the top {TOP_SHARE:.0%}", "value": len(top[0] & top[1]), "unit": f"of {count}"},
    ]
