"""Rows of methods that order, pace, weigh or mix all data."""

from __future__ import annotations

from experiments.baselines.method import RANDOM, Method

ROWS: tuple[Method, ...] = (Method(name=RANDOM["ordering"], config="uniform", family="ordering"),)
