"""Which of the open items a labeler gets next. Pure: candidates and a random source in, ids out."""

from __future__ import annotations

from typing import Protocol

import pandas as pd


class Random(Protocol):
    """What is needed of a random source: `random.Random` and NumPy's generators have it."""

    def random(self) -> float: ...


def choose(
    candidates: pd.DataFrame,
    n: int,
    rng: Random,
    *,
    item: str = "comparison",
    done: str = "votes",
) -> list[str]:
    """Return up to `n` ids: least judged first, then prompts in turn, then by chance.

    Among equally judged items a prompt comes again only after every other prompt had its turn,
    because two items of one prompt in a row are judged against each other. Chance decides among
    equals, so that a file sorted by topic or by model does not become a labeler's afternoon.

    Args:
        candidates: Open items, one a row, with columns `item`, "prompt" and `done`.
        n: How many ids to return at most.
        rng: Decides among equals; the same state gives the same answer whatever the rows' order.
        item: Name of the column with the ids.
        done: Name of the column with the number of verdicts so far.

    Returns:
        Ids without repeats, in the order in which to show them.
    """
    if n <= 0 or candidates.empty:
        return []
    rows = sorted(zip(candidates[item], candidates["prompt"], candidates[done], strict=True))
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int, str]] = []
    for _, row in sorted(((int(row[2]), rng.random()), row) for row in rows):
        turn = turns.get(row[1], 0)
        turns[row[1]] = turn + 1
        ranked.append((int(row[2]), turn, len(ranked), row[0]))
    return [str(id) for *_, id in sorted(ranked)[:n]]
