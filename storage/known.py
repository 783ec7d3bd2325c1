"""Which keys a table surely does not hold, told from memory.

Most keys that are looked for on the way in are new. DuckDB says so by its index in 50 µs a key or
by reading the whole column (0.1 s of a million rows); here it takes 2 ms for any number of rows. A
key is known by DuckDB's own 64-bit hash of it, 8 bytes in memory, the newest ones by themselves;
what may be there is looked for in the table. Only for tables of which no row ever goes, read in the
order of their row ids.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from storage.duck import Cursor, Duck, present
from storage.rows import Row
from storage.tables import MUTABLE, TABLES

CHANGING = frozenset(TABLES[kind].name for kind in MUTABLE)  # a changed row gets another place
SEVERAL = 4  # keys. Choice: fewer are found through the index in the same time
LATELY = 10_000  # keys by themselves. Choice: a megabyte; then they are read with the others
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
        if len(keys) >= least and table.name not in CHANGING:
            keys = self._possible(cursor, table, keys)
        return present(cursor, table, keys, columns)

    def learn(self, table: sa.Table, keys: Sequence[str]) -> None:
        """Take keys that a table holds now: after their commit, before anybody is answered."""
        with self._lock:
            if table.name in self._tables:
                self._tables[table.name].learn(keys)

    def forget(self) -> None:
        """Drop everything, after an error that left doubt."""
        with self._lock:
            self._tables.clear()

    def _possible(self, cursor: Cursor, table: sa.Table, keys: Sequence[str]) -> list[str]:
        """Return the keys that the table may hold: all that it holds, and by chance another."""
        query = "SELECT hash(unnest(string_split(?, chr(0)))) AS hash"  # no key has a NUL
        hashes = cursor.execute(query, ["\x00".join(keys)]).fetchnumpy()["hash"]
        with self._lock:
            if self._generation != self._duck.generation:
                self._tables.clear()
                self._generation = self._duck.generation
            known = self._tables.setdefault(table.name, _Hashes())
            known.catch_up(cursor, table)
            return known.possible(keys, hashes)


class _Hashes:
    """The sorted hashes of one table's keys: most in one array, the newest in another."""

    def __init__(self) -> None:
        import numpy as np  # here: a tenth of a second that a lone vote does not need

        self._most, self._newest = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._next = 0  # the first row id that is not in them
        self._lately: set[str] = set()  # keys that are in none of them yet
        self._behind = True  # more came than these

    def catch_up(self, cursor: Cursor, table: sa.Table) -> None:
        """Take the rows that came since the last time, unless each is known by itself."""
        import numpy as np

        if not self._behind:
            return
        query = f'SELECT hash(id) AS hash, rowid AS place FROM "{table.name}" WHERE rowid >= ?'
        found = cursor.execute(query, [self._next]).fetchnumpy()
        self._behind = False
        self._lately.clear()
        if not len(found["place"]):
            return
        self._next = int(found["place"].max()) + 1
        self._newest = np.sort(np.concatenate([self._newest, found["hash"]]))
        if len(self._newest) * NEWEST > len(self._most):
            both = np.concatenate([self._most, self._newest])
            self._most, self._newest = np.sort(both, kind="stable"), np.empty(0, np.uint64)

    def learn(self, keys: Sequence[str]) -> None:
        """Take keys of rows that came since the last time, or note that they are too many."""
        self._behind = self._behind or len(self._lately) + len(keys) > LATELY
        if not self._behind:
            self._lately.update(keys)

    def possible(self, keys: Sequence[str], hashes: Any) -> list[str]:
        """Return the keys that may be among them."""
        held = (_among(self._most, hashes) | _among(self._newest, hashes)).tolist()
        lately = self._lately
        return [key for key, may in zip(keys, held, strict=True) if may or key in lately]


def _among(some: Any, hashes: Any) -> Any:
    """Return of each hash whether it is in a sorted array."""
    if not len(some):
        return hashes != hashes
    places = some.searchsorted(hashes)
    places[places == len(some)] = 0
    return some[places] == hashes
