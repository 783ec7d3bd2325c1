"""What lies ready to be given out: open items of a large stock, looked up once for everybody.

To look for open items reads every assignment and verdict, some 50 ms among 10,000 comparisons, and
of two hundred labelers each asks every few seconds. So while they ask closely one after the other,
and more is open than one look returns, what a look finds serves all of them for a moment. What was
given out since is counted here; what else happens (a skip that frees an item, a decision about a
repeat) shows a moment later. For one thread at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Look = Callable[[str], "pd.DataFrame"]  # labeler → open items; see `storage.open_items`
Had = Callable[[list[str]], set[str]]  # items → those of them that the labeler has had

ANYBODY = ""  # a labeler who never had an item
# Choice: at thirty requests a second 29 looks are spared; nobody waits longer for a freed item.
FRESH_SECONDS = 1.0


@dataclass(slots=True)
class _Stock:
    at: float
    items: pd.DataFrame
    given: Counter[str] = field(default_factory=Counter)  # item → to how many since


class Shelf:
    """The open items of one data folder, by mode and campaign."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: clock: seconds from any start."""
        self._clock = clock
        self._stocks: dict[Hashable, _Stock] = {}
        self._plenty: dict[Hashable, float] = {}  # when more was open than a look returns

    def items(
        self, key: Hashable, look: Look, labeler: str, had: Had, *, item: str, n: int, most: int
    ) -> pd.DataFrame:
        """Return open items for a labeler, the most wanted first.

        Args:
            key: what the look depends on, but for the labeler.
            item: the column with the items' ids; `room` has how many more may be given each.
            n: how many are needed.
            most: how many a look returns at most.
        """
        now = self._clock()
        if key in self._plenty and now - self._plenty[key] < FRESH_SECONDS:
            stock = self._stocks.get(key)
            if stock is None or now - stock.at >= FRESH_SECONDS:
                stock = self._stocks[key] = _Stock(now, look(ANYBODY))
            ids = stock.items[item]
            left = stock.items["room"] > ids.map(lambda id: stock.given[id])
            free = stock.items[left & ~ids.isin(had(ids.tolist()))]
            if len(ids) == most and len(free) >= n:
                self._plenty[key] = now
                return free
        found = look(labeler)
        if len(found) == most:
            self._plenty[key] = now
        return found

    def give(self, key: Hashable, items: Iterable[str]) -> None:
        """Count what was given out."""
        if key in self._stocks:
            self._stocks[key].given.update(items)
