"""What lies ready to be given out: open items of a large stock, looked up once for everybody.

To look for open items reads every assignment and verdict, some 100 ms among 50,000 comparisons, and
of two hundred labelers each asks every few seconds. So while they ask closely one after the other,
and more is open than one look returns, what a look finds serves all of them for a moment. What was
given out since is counted here; what else happens (a skip that frees an item, a decision about a
repeat) shows a moment later. For one thread at a time, but for what is held.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from feedback.queue import Candidate

Look = Callable[[str], list[Candidate]]  # labeler → open items, the most wanted first

ANYBODY = ""  # a labeler who never had an item
# Choice: at thirty requests a second 29 looks are spared; nobody waits longer for a freed item.
FRESH_SECONDS = 1.0
LOOKING = (
    0.1  # of the time at most. Choice: a look takes the longer, the more comparisons there are
)
DRAINED = 0.1  # of a stock. Choice: what is left may be what this labeler had


@dataclass(slots=True)
class _Stock:
    stale_at: float
    items: list[Candidate]
    given: Counter[str] = field(default_factory=Counter)  # item → to how many since

    def left(self) -> list[Candidate]:
        return [one for one in self.items if one.room > self.given[one.item]]


class Shelf:
    """The open items of one data folder, by mode and campaign."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: clock: seconds from any start."""
        self._clock = clock
        self._stocks: dict[Hashable, _Stock] = {}
        self._held: Counter[str] = Counter()  # item → for how many
        self._lock = threading.Lock()
        self._plenty: dict[Hashable, float] = {}  # until when more is open than a look returns

    def items(
        self,
        key: Hashable,
        look: Look,
        labeler: str,
        had: Collection[str],
        *,
        n: int,
        most: int,
    ) -> list[Candidate]:
        """Return open items for a labeler, in any order.

        Args:
            key: what the look depends on, but for the labeler.
            had: what the labeler was given ever.
            n: how many are needed.
            most: how many a look returns at most.
        """
        now = self._clock()
        if now < self._plenty.get(key, now):
            for stock in self._stocks_of(key, now, look):
                free = [one for one in stock.left() if one.item not in had]
                if len(stock.items) == most and len(free) >= n:
                    self._plenty[key] = stock.stale_at + FRESH_SECONDS
                    return free
        found = self._looked(look, labeler)
        if len(found) == most:
            self._plenty[key] = self._clock() + FRESH_SECONDS
        return [one for one in found if one.room > 0]

    def _stocks_of(self, key: Hashable, now: float, look: Look) -> Iterator[_Stock]:
        """Yield what lies ready; where that is nearly all given out, then what a new look finds."""
        stock = self._stocks.get(key)
        if stock is not None and now < stock.stale_at:
            yield stock
            if len(stock.left()) > len(stock.items) * DRAINED:
                return
        items = self._looked(look, ANYBODY)
        took = self._clock() - now
        stock = self._stocks[key] = _Stock(now + max(FRESH_SECONDS, took / LOOKING), items)
        yield stock

    def _looked(self, look: Look, labeler: str) -> list[Candidate]:
        """Return what a look finds; what is held takes its room, since the store may lack it."""
        with self._lock:
            held = Counter(self._held)
        found = look(labeler)
        return [one._replace(room=one.room - held[one.item]) if one.item in held else one
                for one in found]  # fmt: skip

    @contextmanager
    def held(self, items: Collection[str]) -> Iterator[None]:
        """Keep items for somebody meanwhile, until the store knows of it; from any thread."""
        with self._lock:
            self._held.update(items)
        try:
            yield
        finally:
            with self._lock:
                self._held -= Counter(items)

    def give(self, key: Hashable, items: Iterable[str]) -> None:
        """Count what was given out."""
        if key in self._stocks:
            self._stocks[key].given.update(items)
