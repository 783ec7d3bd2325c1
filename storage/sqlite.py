"""A table of somebody else's SQLite file: read only, and never trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from storage.errors import BadInput

# Choice: as long as the longest line of JSON that is read; SQLite's own limit is a gigabyte.
MAX_VALUE = 64 * 1024 * 1024  # bytes of a text or of a whole row


def read_table(path: Path, table: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the columns of a table, and its rows; text that is not UTF-8 holds surrogates.

    The file is opened as one that nobody writes ("immutable"), so that nothing is created beside
    it. Its views and triggers are never run.

    Raises:
        BadInput: it is no SQLite file, is damaged, lacks the table, or is being written.
    """
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise BadInput(
            f"{path}: what came last is still in {log.name}; stop the program that writes it"
        )
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = [name for (name,) in found]
    except sqlite3.Error as error:
        connection.close()
        raise BadInput(f"{path}: is not an SQLite file that can be read ({error})") from None
    if problem != "ok" or table not in tables:
        connection.close()
        why = f"is damaged ({problem})" if problem != "ok" else f"has no table {table!r}"
        raise BadInput(f"{path}: {why}; give another copy or another file")
    rows = connection.execute(f'SELECT * FROM "{table}"')
    return [name for name, *_ in rows.description], _rows(connection, rows)


def _rows(connection: sqlite3.Connection, rows: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    try:
        yield from rows
    except sqlite3.Error as error:  # what the quick check did not see
        raise BadInput(f"the SQLite file is damaged ({error}); give another copy") from None
    finally:
        connection.close()
