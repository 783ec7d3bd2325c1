"""Which ids may be stored, in few bytes: of most that are not it is sure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from feedback.kept import keys
from storage.records import Comparison
from storage.store import Store

# Choice: 16 MB; with three million ids in it, one of 45 that are not there may be.
BITS = 1 << 27
AT_ONCE = 200_000  # ids taken in together. Choice: 30 MB of them


class Sieve:
    """A set of ids that now and then takes one for another: one bit for each, by its hash."""

    def __init__(self) -> None:
        self._bits = np.zeros(BITS // 8, dtype=np.uint8)

    def add(self, ids: Sequence[str]) -> None:
        """Take ids in."""
        places, bits = _places(ids)
        np.bitwise_or.at(self._bits, places, bits)

    def may_hold(self, ids: Sequence[str]) -> list[str]:
        """Return the ids that were taken in, and a few that were not."""
        if not ids:
            return []
        places, bits = _places(ids)
        there = (self._bits[places] & bits) != 0
        return [ids[place] for place in np.nonzero(there)[0].tolist()]


class Known:
    """Which comparisons, and votes and ratings of imports, may be stored: all, until it is read.

    Whoever reads it holds `prompts_locked`, so no other import adds any. The ids of an import's
    votes and ratings are made of what its rows say; a comparison may be added by others too, which
    `is_true` finds out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sieve: Sieve | None = None
        self._was_read = False
        self._comparisons = 0  # as far as this knows

    @property
    def everything_may_be(self) -> bool:
        """Say whether nothing is known."""
        return self._sieve is None

    def read(self) -> None:
        """Read the ids of all that is stored, once."""
        if self._was_read:
            return
        self._was_read, self._sieve = True, Sieve()
        self._comparisons = self._store.count(Comparison)
        ids = self._store.frame("taken")["id"]
        for start in range(0, len(ids), AT_ONCE):
            self._sieve.add(ids[start : start + AT_ONCE].tolist())

    def among(self, ids: list[str]) -> list[str]:
        """Return the ids without those that are surely not stored."""
        return ids if self._sieve is None else self._sieve.may_hold(ids)

    def add(self, ids: list[str]) -> None:
        """Take in ids that are being stored."""
        if self._sieve is not None:
            self._sieve.add(ids)

    def count(self, comparisons: int) -> None:
        """Take note of how many comparisons were stored for whoever asks."""
        self._comparisons += comparisons

    def is_true(self) -> bool:
        """Return whether what `among` said is so; if not, nothing is known any more.

        It is not where somebody else added comparisons. Asked while nothing is being stored.
        """
        if self._sieve is None or self._store.count(Comparison) == self._comparisons:
            return True
        self._sieve = None
        return False


def _places(ids: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return the byte of each id, and the bit in it."""
    hashed = keys(ids) % np.uint64(BITS)
    bits = np.left_shift(1, hashed & np.uint64(7), dtype=np.uint64)
    return (hashed >> np.uint64(3)).astype(np.intp), bits.astype(np.uint8)
