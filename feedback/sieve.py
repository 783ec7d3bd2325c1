"""Ids that may be there, in few bytes: of most that are not it is sure. Knows no store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from feedback.kept import keys

# Choice: 16 MB; with three million ids in it, one of 45 that are not there may be.
BITS = 1 << 27


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


def _places(ids: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
    """Return the byte of each id, and the bit in it."""
    hashed = keys(ids) % np.uint64(BITS)
    bits = np.left_shift(1, hashed & np.uint64(7), dtype=np.uint64)
    return (hashed >> np.uint64(3)).astype(np.intp), bits.astype(np.uint8)
