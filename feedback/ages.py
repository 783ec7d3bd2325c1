"""In which round an answer was made, and which adapter answers now: what the promotions say.

A round begins when somebody promotes an adapter, or goes back to an earlier one; before the first
promotion the base answers, in round 0. Answers are placed by when they were made, wherever they
come from, so that those of a file have an age too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from storage.records import Promotion

if TYPE_CHECKING:
    from storage.store import Store

BASE = ""  # `Promotion.run`, `Response.adapter` of the base itself


def promotions(store: Store) -> list[Promotion]:
    """Return every decision about who answers, oldest first."""
    return store.rows(Promotion, order="created_at")


def line_of_succession(decided: Iterable[Promotion]) -> list[str]:
    """Return who answered before whom, the one that answers now last; the base is the first.

    Going back to an earlier one takes out those after it, so that going back twice leads two back.

    >>> from storage.records import Promotion
    >>> line_of_succession(Promotion(str(n), run, {}, "", "") for n, run in enumerate("aba"))
    ['', 'a']
    """
    line = [BASE]
    for one in decided:
        if one.run in line:
            line = line[: line.index(one.run)]
        line.append(one.run)
    return line


def sampler(store: Store) -> str:
    """Return the id of the run whose adapter answers now; "" is the base."""
    return line_of_succession(promotions(store))[-1]


def beginnings(store: Store) -> list[datetime]:
    """Return when each round after the first one began."""
    return [one.created_at for one in promotions(store)]


def round_of(began: Sequence[datetime], moment: datetime) -> int:
    """Return the number of the round that a moment lies in, from 0.

    Args:
        began: when each round after the first one began, in order.
    """
    return bisect_right(began, moment)


def rounds_of_responses(store: Store) -> dict[str, int]:
    """Return Response.id → round, of those that are not of round 0."""
    began = beginnings(store)
    if not began:
        return {}
    frame = store.frame("responses")
    later = frame[frame["created_at"] >= began[0]]
    rows = zip(later["response"], later["created_at"], strict=True)
    return {response: round_of(began, moment) for response, moment in rows}
