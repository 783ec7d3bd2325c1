"""Which of a snapshot's rows a run takes: the same for every run that asks for as many (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from align.enough import MIN_LABELS
from align.losses import Loss


def rows_of(
    loss: Loss, rows: Mapping[str, Sequence[Mapping[str, Any]]], most: int
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the rows that a run trains on, and the held-out pairs by which it is judged.

    Args:
        rows: of a snapshot, {"pairs": …, "labels": …}.
        most: of each at most so many, since a short run is judged briefly; 0: all.
    """
    train = [row for row in rows[loss.needs] if row["split"] == "train"]
    if loss.only_good:
        train = [row for row in train if row["label"]]
    held_out = [row for row in rows["pairs"] if row["split"] == "held_out"]
    return part_of(train, most), part_of(held_out, most)


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
