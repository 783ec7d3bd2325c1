"""A part of the training rows, the same one for every run that asks for as many (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from align.enough import MIN_LABELS


def part_of(rows: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """Return at most so many rows of a snapshot, in their order; all of them for 0.

    Which ones, the hash of their ids decides: a random part, the same for every method, seed and
    beta, so that runs can be compared and share the reference's scores. Of labels, good and bad
    ones keep their shares, and both stay enough to learn from.
    """
    if not 0 < most < len(rows):
        return list(rows)
    good = [row for row in rows if row.get("label")]
    rest = [row for row in rows if not row.get("label")]
    of_good = round(most * len(good) / len(rows))
    if good and rest:
        of_good = min(max(of_good, MIN_LABELS), max(most - MIN_LABELS, 1))
    taken = {id(row) for row in [*_first(good, of_good), *_first(rest, most - of_good)]}
    return [row for row in rows if id(row) in taken]


def _first(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    return sorted(rows, key=_rank)[:count]


def _rank(row: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(str(row["id"]).encode()).digest()
