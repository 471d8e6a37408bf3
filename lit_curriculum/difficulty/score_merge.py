"""One set of scores from shards that were scored apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from lit_curriculum.difficulty.score_store import ScoreKey, StoredScores


def merge_scores(parts: Sequence[StoredScores]) -> StoredScores:
    """One set of scores from several, by content hash; where an example is in two, they have to say the same.

    Raises:
        ValueError: the parts are of different models, encodings or formulas, or differ about an example.
    """
    first = parts[0]
    for part in parts[1:]:
        part.check({n: v for n, v in asdict(first.key).items() if n not in ("data", "source", "formulas")})
        if dict(part.key.formulas) != dict(first.key.formulas):
            raise ValueError(
                f"{part.path} holds {dict(part.key.formulas)}, but {first.path} {dict(first.key.formulas)}; scores "
                "of different formulas cannot be merged."
            )
    table = pa.concat_tables([part.table.replace_schema_metadata(None) for part in parts])
    hashes = StoredScores(first.key, table).content_hashes
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    left, right = table.take(order[equal]), table.take(order[equal + 1])
    for metric in first.key.formulas:
        one, two = (t.column(metric).to_numpy() for t in (left, right))
        differs = np.flatnonzero(~((one == two) | (np.isnan(one) & np.isnan(two))))
        if len(differs):
            row = int(differs[0])
            raise ValueError(
                f"two scores of {metric!r} differ for the same example: {one[row]} for {left['id'][row].as_py()!r}, "
                f"{two[row]} for {right['id'][row].as_py()!r}; they are not of one model, or one file is damaged."
            )
    # Equal examples of one file stay; those that an earlier part holds already go.
    part_of = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    home = np.empty(len(hashes), dtype=np.int64)
    starts = np.flatnonzero(np.append(True, hashes[order][1:] != hashes[order][:-1]))
    home[order] = np.repeat(part_of[order][starts], np.diff(np.append(starts, len(order))))
    table = table.take(np.flatnonzero(home == part_of))
    data = "+".join(sorted({d for part in parts for d in part.key.data.split("+")}))
    fields = asdict(first.key) | {"data": data}
    return StoredScores(ScoreKey(**fields), table, " + ".join(p.path for p in parts))
