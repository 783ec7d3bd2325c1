"""Which keys a table surely does not hold, and where it holds the others, told from memory.

Most keys that are looked for on the way in are new. DuckDB says so by its index in 50 µs a key or
by reading the whole column (0.1 s of a million rows); here it takes 2 ms for any number of rows. A
key is known by DuckDB's own 64-bit hash of it and by its row, 16 bytes in memory, the newest ones
by themselves; what may be there is looked for in the table, many keys by their rows: two thousand
of 600,000 take 6 to 12 ms, by the column of keys 80 to 110. Only for tables of which no row ever
goes, read in the order of their row ids.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from storage.duck import KEYS_PER_STATEMENT, LOOKUPS, Cursor, Duck, present
from storage.rows import Row
from storage.tables import MUTABLE, TABLES

CHANGING = frozenset(TABLES[kind].name for kind in MUTABLE)  # a changed row gets another place
SEVERAL = 4  # keys. Choice: fewer are found through the index in the same time
LATELY = 10_000  # keys by themselves. Choice: a megabyte; then they are read with the others
NOWHERE, ABSENT = -1, -2  # in place of a row: it is not known; there is none
NEWEST = 8  # times fewer than the others are sorted in again with each look. Choice: 1 ms


class Known:
    """The hashes of the keys of one open database, read when they are first asked for."""

    def __init__(self, duck: Duck) -> None:
        self._duck = duck
        self._generation = duck.generation
        self._tables: dict[str, _Hashes] = {}
        self._lock = threading.Lock()

    def present(
        self,
        cursor: Cursor,
        table: sa.Table,
        keys: Sequence[str],
        columns: Sequence[str] = ("id",),
        least: int = SEVERAL,
    ) -> list[Row]:
        """Return what `duck.present` returns; outside of transactions only.

        Args:
            least: how many keys have to be asked for before it is worth asking here first.
        """
        if len(keys) < least or table.name in CHANGING:
            return present(cursor, table, keys, columns)
        places = self._possible(cursor, table, keys)
        if len(places) <= LOOKUPS[-1]:
            return present(cursor, table, list(places), columns)
        rest = [key for key, place in places.items() if place == NOWHERE]
        return [*_placed(cursor, table, places, columns), *present(cursor, table, rest, columns)]

    def learn(self, table: sa.Table, keys: Sequence[str]) -> None:
        """Take keys that a table holds now: after their commit, before anybody is answered."""
        with self._lock:
            if table.name in self._tables:
                self._tables[table.name].learn(keys)

    def forget(self) -> None:
        """Drop everything, after an error that left doubt."""
        with self._lock:
            self._tables.clear()

    def _possible(self, cursor: Cursor, table: sa.Table, keys: Sequence[str]) -> dict[str, int]:
        """Return the keys that the table may hold, all that it holds and by chance another, each
        with the row where it is then, or `NOWHERE`."""
        query = "SELECT hash(unnest(string_split(?, chr(0)))) AS hash"  # no key has a NUL
        hashes = cursor.execute(query, ["\x00".join(keys)]).fetchnumpy()["hash"]
        with self._lock:
            if self._generation != self._duck.generation:
                self._tables.clear()
                self._generation = self._duck.generation
            known = self._tables.setdefault(table.name, _Hashes())
            known.catch_up(cursor, table)
            return known.possible(keys, hashes)


def _placed(
    cursor: Cursor, table: sa.Table, places: Mapping[str, int], columns: Sequence[str]
) -> list[Row]:
    """Return `columns` of the rows at the places that are known, where they hold the keys."""
    names = ", ".join(f'"{name}"' for name in ("id", *columns))
    query = f'SELECT {names} FROM "{table.name}" WHERE rowid IN (SELECT unnest(?::BIGINT[]))'
    sought, found = sorted(set(places.values()) - {NOWHERE}), []
    for start in range(0, len(sought), KEYS_PER_STATEMENT):
        part = sought[start : start + KEYS_PER_STATEMENT]
        found += cursor.execute(query, [part]).fetchall()
    return [row[1:] for row in found if row[0] in places]


class _Hashes:
    """The sorted hashes of one table's keys: most in one array, the newest in another."""

    def __init__(self) -> None:
        self._most, self._newest = _Sorted.none(), _Sorted.none()
        self._next = 0  # the first row id that is not in them
        self._lately: set[str] = set()  # keys that are in none of them yet
        self._behind = True  # more came than these

    def catch_up(self, cursor: Cursor, table: sa.Table) -> None:
        """Take the rows that came since the last time, unless each is known by itself."""
        if not self._behind:
            return
        query = f'SELECT hash(id) AS hash, rowid AS place FROM "{table.name}" WHERE rowid >= ?'
        found = cursor.execute(query, [self._next]).fetchnumpy()
        self._behind = False
        self._lately.clear()
        if not len(found["place"]):
            return
        self._next = int(found["place"].max()) + 1
        self._newest = self._newest.with_more(_Sorted(found["hash"], found["place"]))
        if len(self._newest.hashes) * NEWEST > len(self._most.hashes):
            self._most, self._newest = self._most.with_more(self._newest), _Sorted.none()

    def learn(self, keys: Sequence[str]) -> None:
        """Take keys of rows that came since the last time, or note that they are too many."""
        self._behind = self._behind or len(self._lately) + len(keys) > LATELY
        if not self._behind:
            self._lately.update(keys)

    def possible(self, keys: Sequence[str], hashes: Any) -> dict[str, int]:
        """Return the keys that may be among them, with their rows; see `Known._possible`."""
        import numpy as np

        most, newest = self._most.of(hashes), self._newest.of(hashes)
        both = np.where(newest == ABSENT, most, NOWHERE)
        places = np.where(most == ABSENT, newest, both)
        there = (places != ABSENT).nonzero()[0]
        found = {keys[at]: int(places[at]) for at in there.tolist()}
        return found | {key: NOWHERE for key in keys if key in self._lately}


class _Sorted(NamedTuple):
    """Hashes of keys and the row of each; sorted by hash, once they were put together."""

    hashes: Any  # (N,) uint64
    places: Any  # (N,) int64

    @staticmethod
    def none() -> _Sorted:
        import numpy as np  # here: a tenth of a second that a lone vote does not need

        return _Sorted(np.empty(0, np.uint64), np.empty(0, np.int64))

    def with_more(self, more: _Sorted) -> _Sorted:
        import numpy as np

        hashes = np.concatenate([self.hashes, more.hashes])
        order = np.argsort(hashes, kind="stable")  # which is quick with what is sorted already
        return _Sorted(hashes[order], np.concatenate([self.places, more.places])[order])

    def of(self, hashes: Any) -> Any:
        """Return of each hash the row of its key, (n,): `ABSENT` if no key has it, `NOWHERE` if
        several have."""
        import numpy as np

        first = self.hashes.searchsorted(hashes)
        many = self.hashes.searchsorted(hashes, side="right") - first
        found = np.where(many == 0, ABSENT, NOWHERE)
        found[many == 1] = self.places[first[many == 1]]
        return found
