"""Write a plan's rows in one transaction, and read how far the database has come."""

from __future__ import annotations

import contextlib

import duckdb

from storage.chain import START, Position
from storage.decide import Plan
from storage.duck import Cursor
from storage.inserts import insert
from storage.tables import BATCH, COMMAND, TABLES


def apply(cursor: Cursor, plan: Plan) -> None:
    """Write everything or nothing.

    A COMMIT after an error reports success and stores nothing, so an error always ends in ROLLBACK.

    Raises:
        duckdb.Error: nothing was stored, unless it came from the COMMIT itself (see `reached`).
    """
    cursor.begin()
    try:
        for kind, table in TABLES.items():
            if rows := plan.rows.get(kind):
                insert(cursor, table, rows)
        if plan.commands:
            insert(cursor, COMMAND, plan.commands)
        if plan.batches:
            insert(cursor, BATCH, plan.batches)
        for kind, row in plan.updates:
            names = [column.name for column in TABLES[kind].columns][1:]
            sets = ", ".join(f'"{name}" = ?' for name in names)
            cursor.execute(
                f'UPDATE "{TABLES[kind].name}" SET {sets} WHERE id = ?', [*row[1:], row[0]]
            )
        cursor.commit()
    except duckdb.Error:
        with contextlib.suppress(duckdb.Error):  # a connection that is lost is rolled back already
            cursor.rollback()
        raise


def reached(cursor: Cursor) -> Position:
    """Return the last number that the database has, and the hash of its last command."""
    rows = cursor.execute("SELECT n, hash FROM command ORDER BY n DESC LIMIT 1").fetchall()
    n, hash = rows[0] if rows else (0, START)
    (added,) = cursor.execute("SELECT coalesce(max(n), 0) FROM batch").fetchall()[0]
    return Position(max(n, added), hash)
