"""What the database said lately, so that what never changes is read once.

A look for one row costs a millisecond of processor time, and a page that shows three comparisons
needs forty rows and texts. Rows of tables that only grow are kept here by their ids, texts by
theirs; and each table has a number that grows with every change of it, for whoever keeps what
follows from a whole table.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from storage.records import Assignment, Comparison, Labeler, Prompt, Response

KINDS = (Labeler, Assignment, Comparison, Response, Prompt)  # whose rows never change
KEPT_ROWS = 50_000  # Choice: about 30 MB; more than 200 labelers look at in a day
KEPT_CHARS = 20_000_000  # Choice: 20 to 80 MB of texts
BULK = 2_000  # rows or texts at once: whoever reads so many goes through all, and keeps their own


class Remembered:
    """Rows and texts by id, changes by table; safe to use from every thread."""

    def __init__(self, rows: int = KEPT_ROWS, chars: int = KEPT_CHARS) -> None:
        self._most_rows, self._most_chars = rows, chars
        self._rows: OrderedDict[tuple[type, str], Any] = OrderedDict()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._chars = 0
        self._changes: Counter[type] = Counter()
        self._age = 0  # how often everything was forgotten
        self._lock = threading.Lock()

    def rows(self, kind: type, ids: Iterable[str]) -> dict[str, Any]:
        """Return those of the rows that are known, by id."""
        if kind not in KINDS:
            return {}
        with self._lock:
            return {id: row for id in ids if (row := self._rows.get((kind, id))) is not None}

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """Return those of the texts that are known, by id."""
        with self._lock:
            return {id: text for id in ids if (text := self._texts.get(id)) is not None}

    def age(self) -> int:
        """Return what `keep` wants to know: taken before the database was read."""
        with self._lock:
            return self._age

    def keep(self, age: int, kind: type, rows: Mapping[str, Any]) -> None:
        """Remember rows, unless everything was forgotten since they were read."""
        if kind not in KINDS or len(rows) > BULK:
            return
        with self._lock:
            if age == self._age:
                self._rows.update({(kind, id): row for id, row in rows.items()})
                while len(self._rows) > self._most_rows:
                    self._rows.popitem(last=False)

    def keep_texts(self, age: int, texts: Mapping[str, str]) -> None:
        """Remember texts, unless everything was forgotten since they were read."""
        with self._lock:
            if age != self._age or len(texts) > BULK:
                return
            for id, text in texts.items():
                if id not in self._texts:
                    self._texts[id] = text
                    self._chars += len(text)
            while self._chars > self._most_chars:
                self._chars -= len(self._texts.popitem(last=False)[1])

    def changes(self, kind: type) -> tuple[int, int]:
        """Return a number that is another one after each change of a table."""
        with self._lock:
            return self._age, self._changes[kind]

    def changed(self, kinds: Iterable[type]) -> None:
        """Count a change of tables; said after the commit, and before anybody is answered."""
        with self._lock:
            self._changes.update(dict.fromkeys(kinds, 1))

    def forget(self) -> None:
        """Drop everything: after texts were erased, or an error that left doubt."""
        with self._lock:
            self._rows.clear()
            self._texts.clear()
            self._chars = 0
            self._age += 1
