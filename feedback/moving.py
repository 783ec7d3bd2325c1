"""What is kept in memory of an open data folder and moves with every accepted event.

A vote then costs the same with a million others as with ten. All is read from the store once, and
again when somebody excludes something or more happened than the store remembers.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback.kept import keys
from storage.news import Told
from storage.records import Comparison, Response, Text
from storage.store import Store

Numbers = npt.NDArray[np.int32]  # of one name


class Moving(ABC):
    """Something that is counted of a store's events; use `lock` around `follow` and reading."""

    def __init__(self, store: Store) -> None:
        self.store, self.lock = store, threading.Lock()
        self._n: int | None = None  # the journal's number up to which events are in

    def follow(self) -> None:
        """Take what was accepted since the last time; read everything where that is not known."""
        news = None if self._n is None else self.store.news(self._n)
        if news is None:
            self._n = self.read_all()
        elif news:
            self.take(news)
            self._n = news[-1].n

    @abstractmethod
    def read_all(self) -> int:
        """Read everything; return the journal's number up to which events are in."""

    @abstractmethod
    def take(self, news: Sequence[Told]) -> None:
        """Add what events say, and take away what they take the place of."""


class Table:
    """Numbers by name: 8 bytes for a name, whatever its length; new names cost as in a dict."""

    def __init__(self, names: pd.Series, values: npt.NDArray[np.int32]) -> None:
        hashed = keys(names.astype(object))
        order = np.argsort(hashed)
        self._keys, self._values = hashed[order], values[order]
        self._new: dict[str, Numbers] = {}

    def found(self, names: Collection[str]) -> dict[str, Numbers]:
        """Return the numbers of each name that has some, to read or to change in place."""
        rows = {name: self._new[name] for name in names if name in self._new}
        asked = [name for name in names if name not in rows]
        if not asked or not len(self._keys):
            return rows
        hashed = keys(asked)
        at = np.minimum(np.searchsorted(self._keys, hashed), len(self._keys) - 1)
        there = zip(asked, at.tolist(), (self._keys[at] == hashed).tolist(), strict=True)
        return rows | {name: self._values[place] for name, place, is_there in there if is_there}

    def add(self, name: str, values: Sequence[int]) -> Numbers:
        self._new[name] = np.array(values, dtype=np.int32)
        return self._new[name]


def lengths(store: Store, comparisons: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return comparison → characters of its answers a and b; one that is unknown is left out."""
    known: _Lengths = store.companions.setdefault(_Lengths, _Lengths(store))
    return known.of(comparisons)


class _Lengths:
    """How long both answers of every comparison are: that never changes."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._table: Table | None = None

    def of(self, comparisons: Iterable[str]) -> dict[str, tuple[int, int]]:
        with self._lock:
            if self._table is None:
                frame = self._store.frame("lengths")
                self._table = Table(
                    frame["comparison"], frame[["chars_a", "chars_b"]].to_numpy(np.int32)
                )
            table, wanted = self._table, list(dict.fromkeys(comparisons))
            found = table.found(wanted)
            missing = [name for name in wanted if name not in found]
            found |= {name: table.add(name, two) for name, two in self._looked_up(missing)}
        return {name: (int(two[0]), int(two[1])) for name, two in found.items()}

    def _looked_up(self, names: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
        if not names:  # as nearly always: no query
            return []
        pairs = self._store.found(Comparison, names)
        chars = answer_chars(self._store, (id for one in pairs.values() for id in (one.a, one.b)))
        return [
            (one.id, (chars[one.a], chars[one.b]))
            for one in pairs.values()
            if one.a in chars and one.b in chars
        ]


def answer_chars(store: Store, responses: Iterable[str]) -> dict[str, int]:
    """Return response → its characters."""
    found = store.found(Response, responses)
    texts = store.found(Text, (one.text for one in found.values()))
    return {one.id: texts[one.text].chars for one in found.values() if one.text in texts}
