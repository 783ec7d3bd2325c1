"""Walk the hash chain: does every event still say what was acknowledged?

Where a name was erased the event says a pseudonym, and its digest is the one noted then; the link
keeps the first digest, so the chain is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.chain import START, event_digest, link
from storage.duck import Cursor, present
from storage.journal import Journal
from storage.records import Rewritten
from storage.tables import EVENTS, TABLES

AT_ONCE = 5_000  # commands in memory


def verify(cursor: Cursor, journal: Journal, last: int | None = None) -> list[str]:
    """Return what is wrong, in the order of the chain.

    Args:
        cursor: a reading cursor.
        journal: the independent copy, compared line by line.
        last: look only at so many of the newest commands; all if None.
    """
    total, *_ = cursor.execute("SELECT count(*) FROM command").fetchall()[0]
    skip = max(0, total - last) if last is not None else 0
    return [*_broken_links(cursor, skip), *_strays(cursor), *_unlike_journal(cursor, journal, skip)]


def _broken_links(cursor: Cursor, skip: int) -> Iterator[str]:
    """Recompute each command's digest and hash."""
    names = "n, id, kind, accepted, reason, digest, hash"
    before = START
    if skip:
        query = "SELECT hash FROM command ORDER BY n LIMIT 1 OFFSET ?"
        before = cursor.execute(query, [skip - 1]).fetchall()[0][0]
    while True:
        query = f"SELECT {names} FROM command ORDER BY n LIMIT {AT_ONCE} OFFSET ?"
        commands = cursor.execute(query, [skip]).fetchall()
        if not commands:
            return
        skip += len(commands)
        digests = dict(_digests(cursor, commands))
        ids = [command[1] for command in commands]
        since = dict(present(cursor, TABLES[Rewritten], ids, ("id", "digest")))
        for n, id, kind, accepted, reason, digest, hash in commands:
            if accepted and digests.get((kind, id)) not in (digest, since.get(id, digest)):
                what = "was altered" if (kind, id) in digests else "is missing"
                yield f"number {n}: {kind} {id} {what}"
            if link(before, n, id, accepted, reason, digest) != hash:
                yield f"number {n}: command {id} was altered, or one before it is missing"
            before = hash


def _digests(cursor: Cursor, commands: list[tuple]) -> Iterator[tuple[tuple[str, str], str]]:
    for kind in EVENTS:
        table = TABLES[kind]
        ids = [command[1] for command in commands if command[2] == table.name and command[3]]
        names = [column.name for column in table.columns]
        for row in present(cursor, table, ids, names):
            yield (table.name, row[0]), event_digest(table.name, row)


def _strays(cursor: Cursor) -> Iterator[str]:
    """Find events that no command ever brought."""
    for kind in EVENTS:
        name = TABLES[kind].name
        query = (
            f'SELECT id FROM "{name}" WHERE id NOT IN '
            "(SELECT id FROM command WHERE accepted AND kind = ?) LIMIT 10"
        )
        for (id,) in cursor.execute(query, [name]).fetchall():
            yield f"{name} {id} was never acknowledged"


def _unlike_journal(cursor: Cursor, journal: Journal, skip: int) -> Iterator[str]:
    """Compare the commands with the journal's lines of the same numbers."""
    query = "SELECT n FROM command ORDER BY n LIMIT 1 OFFSET ?"
    first = cursor.execute(query, [skip]).fetchall()
    if not first:
        return
    known: dict[int, str] = dict(
        cursor.execute("SELECT n, hash FROM command WHERE n >= ?", [first[0][0]]).fetchall()
    )
    for entry in journal.entries(first[0][0] - 1):
        if entry["do"] == "event" and known.get(entry["n"], entry["hash"]) != entry["hash"]:
            yield f"number {entry['n']}: the journal has another {entry['kind']} {entry['id']}"
