"""Volume, size and method together: a binomial regression by statsmodels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import statsmodels.api as sm

from lit_curriculum.methods.doit.study.records import GrowthRecord
from lit_curriculum.methods.doit.study.sensitivity import Interval


def volume_size_method(records: Sequence[GrowthRecord]) -> dict[str, Interval]:
    """Binomial regression of one ability: logit p on log4 n, log2 size, method and their products with volume.

    Args:
        records: Selected test records of one ability. Terms that do not vary are left out.

    Returns:
        Coefficients on the logit scale with 95 % Wald intervals: ``volume`` (per quadrupling), ``size`` (per
        doubling), ``synthetic``, ``volume:size``, ``volume:synthetic``.

    Raises:
        ValueError: volume does not vary.
    """
    x = np.log([r.rung for r in records]) / math.log(4)
    size = np.log2([r.params for r in records])
    synthetic = np.array([float(r.arm == "synthetic") for r in records])
    if np.ptp(x) == 0:
        raise ValueError(f"{records[0].ability} was measured at one volume; a regression on volume needs two rungs.")
    columns = {"volume": x}
    if np.ptp(size) > 0:
        size = size - size.mean()
        columns |= {"size": size, "volume:size": x * size}
    if np.ptp(synthetic) > 0:
        columns |= {"synthetic": synthetic, "volume:synthetic": x * synthetic}
    design = sm.add_constant(np.column_stack(list(columns.values())), has_constant="add")
    counts = np.array([[r.correct, r.total - r.correct] for r in records], dtype=float)
    result = sm.GLM(counts, design, family=sm.families.Binomial()).fit()
    bounds = result.conf_int()
    return {
        name: Interval(value=float(result.params[i + 1]), low=float(bounds[i + 1][0]), high=float(bounds[i + 1][1]))
        for i, name in enumerate(columns)
    }
