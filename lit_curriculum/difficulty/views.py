"""The views that a metric may ask for: those that a store keeps, and the one that is made of them."""

from __future__ import annotations

import numpy as np

from lit_curriculum.types import CONDITIONED, WHOLE, EncodedView, ExampleStore, IntArray


def encoded_view(store: ExampleStore, index: int, view: str) -> EncodedView:
    """The tokens of one view of one example."""
    if view != WHOLE:
        return store.encoded(index, view)
    ids = store.encoded(index, CONDITIONED).input_ids
    return EncodedView(ids, np.arange(len(ids)) > 0)


def num_scored(store: ExampleStore, view: str) -> IntArray:
    """[N] number of scored tokens of ``view``."""
    return store.num_scored(view) if view != WHOLE else np.maximum(store.lengths(CONDITIONED) - 1, 0)
