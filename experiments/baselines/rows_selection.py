"""Rows of methods that select a part of the data."""

from __future__ import annotations

from experiments.baselines.method import RANDOM, Method

ROWS: tuple[Method, ...] = (
    Method(name=RANDOM["selection"], config="uniform", options={"policy.init_args.fresh": "once"}),
    Method(name="random, fresh each stage", config="uniform"),
)
