"""Erase texts and a name for good: from the journal, and from a database file that is made anew.

DuckDB leaves what was deleted in its file, and the journal never forgets; so both are written anew
beside their places and renamed. Hashes stay: events name texts by hash, and where a pseudonym takes
a name's place the event's new digest is noted (`Rewritten`), so that the chain still verifies.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.chain import event_digest
from storage.decide import Addition, Job
from storage.duck import Cursor, Duck, disk_full, quoted
from storage.inserts import Inserts
from storage.journal import Entry, Journal
from storage.reconcile import quarantine
from storage.records import (
    Account,
    Adjudication,
    Admission,
    ApiKey,
    Audit,
    Campaign,
    Exclusion,
    Labeler,
    Promotion,
    Rewritten,
    Text,
)
from storage.rows import COMPACT, Row, encoded
from storage.tables import EVENTS, KINDS, TABLES

FRESH = ".erasing"  # how the next file ends, beside the one whose place it takes
SPARE = 1.5  # times the file that must be free. Choice: the copy, and its log meanwhile
CUT = 80, 59  # characters of a name that `feedback.values.shown` looks at, and that it keeps
NAMES = {"labeler", "account"}  # columns that hold a person's name and nothing else
WORDS: dict[type, tuple[str, ...]] = {  # columns in which people write of each other
    Exclusion: ("reason",),
    Promotion: ("reason", "evidence"),
    Audit: ("what",),
    Adjudication: ("reason",),
}
OTHER_NAMES = {
    (Labeler, "id"), (Account, "id"), (ApiKey, "name"), (Exclusion, "item"), (Admission, "person"),
}  # fmt: skip
LISTS = {(Campaign, "labelers")}  # columns with a list of names, as JSON
_TEXT_ID = re.compile(rb'"id":"([0-9a-f]{64})"')


@dataclass(frozen=True)
class Erasing:
    """What is to be erased: texts by their ids, and a name."""

    blanks: Mapping[str, str] = field(default_factory=dict)  # Text.id → what stands there then
    name: str = ""  # of a labeler, or ""
    pseudonym: str = ""  # what takes its place

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """The name as it stands in columns: itself, inside JSON in ASCII, and as `shown` has it."""
        if not self.name:
            return ()
        chars, kept = CUT
        quoted = repr(self.name[:chars])
        shown = quoted[1:-1] if len(quoted) <= kept + 1 else f"{quoted[1:kept]}…"
        return tuple(dict.fromkeys((self.name, json.dumps(self.name)[1:-1], shown)))

    @cached_property
    def _name(self) -> re.Pattern[str]:
        longest_first = sorted(self.forms, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    @cached_property
    def _in_lines(self) -> list[bytes]:
        """The forms as they stand inside the journal's JSON."""
        return [COMPACT.encode(form)[1:-1].encode() for form in self.forms]

    def words(self, text: str) -> str:
        """Return a text of others with the pseudonym in the name's place."""
        return self._name.sub(lambda _: self.pseudonym, text) if self.name else text

    def told(self, line: bytes) -> bool:
        """Say whether a line of the journal may hold any of it."""
        if any(form in line for form in self._in_lines):
            return True
        found = _TEXT_ID.search(line[:120])  # of a text's line it comes right after the number
        return found is not None and found[1].decode() in self.blanks

    def entry(self, entry: Entry) -> Entry:
        """Return an entry of the journal without it; number, digest and hash stay as they are."""
        if "do" not in entry:
            blank = self.blanks.get(entry["id"])
            return entry if blank is None else {**entry, "content": blank}
        if entry["do"] == "event":
            row = entry["row"]
            values = self.row(KINDS[entry["kind"]], tuple(row), tuple(row.values()))
            return {**entry, "row": dict(zip(row, values, strict=True))}
        if "rows" not in entry:
            return entry
        packed = {
            name: {**part, "rows": [self.row(KINDS[name], part["columns"], row)
                                    for row in part["rows"]]}
            for name, part in entry["rows"].items()
        }  # fmt: skip
        return {**entry, "rows": packed}

    def row(self, kind: type, columns: Sequence[str], row: Sequence[Any]) -> Row:
        """Return a row without it."""
        if kind is Text:
            id = row[columns.index("id")]
            blank = self.blanks.get(id)
            return tuple(row) if blank is None else (id, blank, len(blank))
        changed = tuple(self._value(kind, *one) for one in zip(columns, row, strict=True))
        if kind is Account and changed != tuple(row):  # nobody logs in by it again
            at = columns.index("password")
            changed = (*changed[:at], "", *changed[at + 1 :])
        return changed

    def _value(self, kind: type, column: str, value: Any) -> Any:
        if not self.name or not isinstance(value, str):
            return value
        if column in WORDS.get(kind, ()):
            return self.words(value)
        if (kind, column) in LISTS:
            names = [self.pseudonym if one == self.name else one for one in json.loads(value)]
            return encoded(kind, column, names)
        return self.pseudonym if value == self.name and _is_name(kind, column) else value


def _is_name(kind: type, column: str) -> bool:
    return column in NAMES or (kind, column) in OTHER_NAMES


def carry_out(
    duck: Duck,
    journal: Journal,
    erasing: Erasing,
    erasure: str,
    commit: Callable[[Sequence[Job]], None],
) -> int:
    """Erase it everywhere; return how many events got a pseudonym. Nothing else is written then.

    Raises:
        DiskFull: there is no room for a second file.
    """
    folder = duck.path.parent
    if shutil.disk_usage(folder).free < SPARE * duck.path.stat().st_size:
        raise disk_full(folder)
    with duck.cursor() as cursor:
        changed = {kind: _changed(cursor, kind, erasing) for kind in TABLES}
    rewritten = [
        (row[0], event_digest(TABLES[kind].name, row), erasure)
        for kind in EVENTS
        for row in changed[kind].values()
    ]
    if rewritten:
        commit([Addition({Rewritten: rewritten})])
    journal.rewrite(erasing.told, erasing.entry)
    fresh = duck.path.with_suffix(FRESH)
    try:
        with duck.cursor() as cursor:
            _copy(cursor, fresh, changed)
        duck.swap(fresh)
    finally:
        _remove(fresh)
    shutil.rmtree(quarantine(duck.path), ignore_errors=True)  # old logs, which the journal outlived
    return len(rewritten)


def forget_passwords(
    duck: Duck, journal: Journal, account: str, commit: Callable[[Sequence[Job]], None]
) -> int:
    """Take the hashes of passwords that an account had before out of the journal's lines."""
    columns = [column.name for column in TABLES[Account].columns]
    query = "SELECT password FROM account WHERE id = ?"
    with duck.cursor() as cursor:
        kept = {hash for (hash,) in cursor.execute(query, [account]).fetchall()} | {""}
    at, name = columns.index("password"), COMPACT.encode(account).encode()

    def row(given: Sequence[Any]) -> list[Any]:
        old = given[0] == account and given[at] not in kept
        return [*given[:at], "", *given[at + 1 :]] if old else list(given)

    def told(line: bytes) -> bool:
        if b'"account":{' not in line or name not in line:
            return False
        try:
            rows = json.loads(line)["rows"]["account"]["rows"]
        except ValueError:  # damaged: nobody reads it
            return False
        return any(row(one) != one for one in rows)

    def changed(entry: Entry) -> Entry:
        part = entry["rows"]["account"]
        packed = {**entry["rows"], "account": {**part, "rows": list(map(row, part["rows"]))}}
        return {**entry, "rows": packed}

    return journal.rewrite(told, changed)


def _changed(cursor: Cursor, kind: type, erasing: Erasing) -> dict[int, Row]:
    """Return rowid → row, as it is then, of the rows that hold any of it."""
    table = TABLES[kind]
    columns = [column.name for column in table.columns]
    values: list[Any]
    if kind is Text:
        tests, values = ["id IN (SELECT unnest(?::VARCHAR[]))"], [list(erasing.blanks)]
    elif erasing.name:
        tests = [f'"{name}" = ?' for name in columns if _is_name(kind, name)]
        values = [erasing.name] * len(tests)
        for name in columns:
            if name in WORDS.get(kind, ()) or (kind, name) in LISTS:
                tests += [f'contains("{name}", ?)'] * len(erasing.forms)
                values += erasing.forms
    else:
        return {}
    if not tests:
        return {}
    query = f'SELECT rowid, {_names(table)} FROM "{table.name}" WHERE {" OR ".join(tests)}'
    found = cursor.execute(query, values).fetchall()
    return {rowid: erasing.row(kind, columns, row) for rowid, *row in found}


def _copy(cursor: Cursor, fresh: Path, changed: Mapping[type, Mapping[int, Row]]) -> None:
    """Write the database into a new file, with these rows in the place of their old ones."""
    rows_of = {TABLES[kind].name: (TABLES[kind], rows) for kind, rows in changed.items()}
    home = cursor.execute("SELECT current_database()").fetchall()[0][0]
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
    tables = cursor.execute(query, [home]).fetchall()
    _remove(fresh)  # of an earlier try
    cursor.execute(f"ATTACH {quoted(str(fresh))} AS fresh")
    try:
        cursor.execute(f'COPY FROM DATABASE "{home}" TO fresh (SCHEMA)')
        for (name,) in tables:
            table, rows = rows_of.get(name, (None, {}))
            cursor.execute(
                f'INSERT INTO fresh."{name}" SELECT * FROM "{name}" '
                "WHERE rowid NOT IN (SELECT unnest(?::BIGINT[]))",
                [list(rows)],
            )
            if table is not None and rows:
                cursor.execute("USE fresh")
                Inserts(cursor).insert(table, list(rows.values()))
                cursor.execute(f'USE "{home}"')
    finally:
        cursor.execute(f'USE "{home}"')
        cursor.execute("DETACH fresh")


def _names(table: sa.Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _remove(fresh: Path) -> None:
    """Remove a file that was to be the next one, and its log."""
    for left in fresh.parent.glob(f"{fresh.name}*"):
        left.unlink()
