"""Unique token sequences of a scoring pass, batches of them, and the fastest token budget."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_curriculum.difficulty.base import encoded_view, num_scored
from lit_curriculum.types import BoolArray, EncodedView, ExampleStore, IntArray

Digests = NDArray[np.uint64]
"""[U, 2] 128-bit names of token sequences."""
ENGINE_VERSION = "5"
"""Raised whenever the same model may get other losses for the same tokens from a changed engine."""


_ALIKE, _WORTH_A_BATCH = 0.9, 4
CPU_TOKEN_BUDGET, ACCELERATOR_TOKEN_BUDGET = 2048, 16_384
"""Padded tokens in a batch where nothing is tried out: a CPU's caches hold little, a GPU needs work at once."""
_SMALLEST, _LARGEST = 1024, 1 << 18
_GAIN = 1.03
_COST = 0.03
_REPEATS = 2


@dataclass(frozen=True, slots=True)
class UniqueSequences:
    """The distinct sequences of some examples, and where each example finds its own.

    Sequences are in the order of their digests, so batches depend on neither file order nor that of the request.
    """

    examples: IntArray
    """[U] example index of each distinct sequence."""
    views: list[str]
    """Names of the views, indexed by :attr:`view_of`."""
    view_of: IntArray
    """[U] view of each distinct sequence."""
    lengths: IntArray
    """[U] tokens up to the last scored one."""
    digests: Digests
    """[U, 2] names of the sequences, from token ids and which of them are scored."""
    slots: dict[str, IntArray]
    """View -> [K] place in [U] of each example's sequence; 0 where there is nothing to score."""
    scorable: dict[str, BoolArray]
    """View -> [K] true where at least one token is scored."""

    @classmethod
    def build(cls, store: ExampleStore, indices: IntArray, views: list[str]) -> UniqueSequences:
        """Look at ``views`` of the examples ``indices`` [K] of ``store``."""
        names, owners, kinds, places, lengths = [], [], [], [], []
        scorable = {view: num_scored(store, view)[indices] > 0 for view in views}
        for v, view in enumerate(views):
            found = np.flatnonzero(scorable[view])
            digests = bytearray(16 * len(found))
            sizes = np.zeros(len(found), dtype=np.int64)
            for row, k in enumerate(found):
                encoded = trim(encoded_view(store, int(indices[k]), view))
                digests[16 * row : 16 * row + 16] = sequence_digest(encoded)
                sizes[row] = len(encoded.input_ids)
            names.append(np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 2))
            owners.append(indices[found])
            kinds.append(np.full(len(found), v, dtype=np.int64))
            places.append(found)
            lengths.append(sizes)
        name, owner, kind = np.concatenate(names), np.concatenate(owners), np.concatenate(kinds)
        order = np.lexsort((owner, kind, name[:, 1], name[:, 0]))
        ordered = name[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        slot = np.empty(len(order), dtype=np.int64)
        slot[order] = np.cumsum(first) - 1
        chosen = order[first]
        slots = {}
        low = 0
        for view, place in zip(views, places, strict=True):
            slots[view] = np.zeros(len(indices), dtype=np.int64)
            slots[view][place] = slot[low : low + len(place)]
            low += len(place)
        return cls(
            owner[chosen].astype(np.int64), views, kind[chosen], np.concatenate(lengths)[chosen], name[chosen],
            slots, scorable,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.lengths)

    def pack(self, items: IntArray, token_budget: int, padded: bool) -> list[IntArray]:
        """Batches of the sequences ``items`` [N], as positions in [N], for a model that pads its rows or does not."""
        lengths = self.lengths[items]
        return (
            pack_by_tokens(lengths, token_budget) if padded else pack_rows(lengths, self.view_of[items], token_budget)
        )

    def size(self, items: IntArray, padded: bool) -> int:
        """Tokens of a batch of ``items`` [B], as :meth:`pack` counts them."""
        lengths = self.lengths[items]
        return int(len(items) * lengths.max() if padded else lengths.sum())

    def view(self, store: ExampleStore, item: int) -> EncodedView:
        """The tokens of one distinct sequence."""
        return trim(encoded_view(store, int(self.examples[item]), self.views[int(self.view_of[item])]))

    def unscorable(self, views: tuple[str, ...]) -> BoolArray:
        """[K] true where one of ``views`` has no scored token."""
        missing = np.zeros(len(self.scorable[views[0]]), dtype=np.bool_)
        for view in views:
            missing |= ~self.scorable[view]
        return missing


def sequence_digest(view: EncodedView) -> bytes:
    """16 bytes that name a sequence by its token ids and by which of them are scored."""
    digest = hashlib.blake2b(np.asarray(view.input_ids, dtype=np.int32).tobytes(), digest_size=16)
    digest.update(view.scored.tobytes())
    return digest.digest()


def trim(view: EncodedView) -> EncodedView:
    """Leave out what follows the last scored token: it cannot change an earlier loss."""
    end = int(np.flatnonzero(view.scored)[-1]) + 1
    return EncodedView(view.input_ids[:end], view.scored[:end])


def pack_by_tokens(lengths: IntArray, token_budget: int) -> list[IntArray]:
    """Batches of items of nearly equal length, longest first, each at most ``token_budget`` padded tokens.

    An item longer than the budget is a batch. A batch that holds a quarter of the budget ends where the
    next item is under nine tenths as long as its longest: padding costs more there than a smaller batch does.

    Args:
        lengths: [U] tokens of each item.
        token_budget: Rows times longest row.

    Returns:
        Item numbers of each batch; every item is in exactly one.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    low = 0
    while low < len(order):
        longest = int(lengths[order[low]])
        rows = max(1, token_budget // longest)
        alike = int(np.searchsorted(-lengths[order[low : low + rows]], -_ALIKE * longest, side="right"))
        rows = min(rows, max(alike, -(-token_budget // (_WORTH_A_BATCH * longest))))
        batches.append(order[low : low + rows])
        low += rows
    return batches


def pack_rows(lengths: IntArray, kinds: IntArray, token_budget: int) -> list[IntArray]:
    """Batches for a model that runs no padding: items of one kind, longest first, at most ``token_budget`` tokens.

    Rows of one kind begin alike, and what all rows of a batch begin with is run once.

    Args:
        lengths: [U] tokens of each item.
        kinds: [U] what an item is of, its view say; no batch holds two.
        token_budget: Sum of the tokens of a batch's items; a longer item is a batch.

    Returns:
        Item numbers of each batch; every item is in exactly one.
    """
    order = np.lexsort((-lengths, kinds))
    batches = []
    for kind in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
        ends = np.cumsum(lengths[kind])
        low = 0
        while low < len(kind):
            before = int(ends[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(ends, before + token_budget, side="right")))
            batches.append(kind[low:high])
            low = high
    return batches


def pack_unknown(known: BoolArray, pack: Callable[[IntArray], list[IntArray]]) -> list[IntArray]:
    """Batches of the items that are not known yet.

    Where every batch of all the items is either known or not, those that are not: a pass that was killed resumes
    with the batches that it would have run, so its scores are the same to the last bit. Else the unknown items are
    packed again.

    Args:
        known: [U] true where the result is at hand.
        pack: Makes batches of the items [N] it is given, as positions in [N].
    """
    batches = pack(np.arange(len(known)))
    if not known.any():
        return batches
    if all(known[b].all() or not known[b].any() for b in batches):
        return [b for b in batches if not known[b[0]]]
    unknown = np.flatnonzero(~known)
    return [unknown[b] for b in pack(unknown)]


def find_token_budget(lengths: IntArray, seconds: Callable[[IntArray], float], otherwise: int) -> int:
    """The number of tokens, doubled from 1024 on, after which the rate rises by less than 3 % or memory ends.

    Trying out may cost 3 % of the tokens to score; where that buys nothing the answer is ``otherwise``.

    Args:
        lengths: [U] tokens of each sequence to score.
        seconds: Runs these items as one batch and times it; infinite where memory does not suffice. All processes
            of a run have to get the same answers.
        otherwise: The answer where there is too little to score for trying out to pay.
    """
    order = np.argsort(-lengths, kind="stable")
    allowed = _COST * float(lengths.sum())
    best, best_rate, budget = 0, 0.0, _SMALLEST
    while budget <= _LARGEST:
        # From the middle on: of typical length.
        low = len(order) // 2
        items = order[low : low + max(1, budget // int(lengths[order[low]]))] if len(order) else order
        tokens = int(lengths[items].sum())
        allowed -= _REPEATS * tokens
        if allowed < 0 or tokens < budget // 2:
            break
        rate = tokens / min(seconds(items) for _ in range(_REPEATS))
        if rate <= best_rate * _GAIN or not math.isfinite(rate):
            break
        best, best_rate = budget, rate
        budget *= 2
    return best or otherwise
