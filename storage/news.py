"""The newest accepted events, so that a meter can move with each instead of reading all of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from storage.records import Event

KEPT = 20_000  # events. Choice: 12 MB; whoever looks seldomer reads everything again


class Told(NamedTuple):
    """An accepted event, its number in the journal, and the event that it takes the place of."""

    n: int
    event: Event
    before: Event | None


class News:
    """What was accepted since a number of the journal; safe to use from every thread."""

    def __init__(self, since: int, kept: int = KEPT) -> None:
        self._since: int | None = since  # all events after this number are here; None: who knows
        self._told: deque[Told] = deque()
        self._kept = kept
        self._lock = threading.Lock()

    def after(self, n: int) -> list[Told] | None:
        """Return the events after a number, in their order; None where some of them are gone."""
        with self._lock:
            if self._since is None or n < self._since:
                return None
            found: list[Told] = []
            for told in reversed(self._told):
                if told.n <= n:
                    break
                found.append(told)
            return found[::-1]

    def reached(self) -> int:
        """Return the number of the newest event; -1, of which nothing is known, after an error."""
        with self._lock:
            if self._told:
                return self._told[-1].n
            return -1 if self._since is None else self._since

    def tell(self, news: Iterable[Told]) -> None:
        """Take events that were committed, in their order."""
        with self._lock:
            for told in news:
                if self._since is None:
                    self._since = told.n - 1
                self._told.append(told)
            while len(self._told) > self._kept:
                self._since = self._told.popleft().n

    def restart(self, since: int | None) -> None:
        """Drop everything: what counted up to this number has to be read again.

        Args:
            since: None after an error that left doubt about the last number.
        """
        with self._lock:
            self._told.clear()
            self._since = since
