"""Write a plan's rows in one transaction, and read how far the database has come."""

from __future__ import annotations

import contextlib

import duckdb

from storage.chain import START, Position
from storage.decide import Plan
from storage.duck import Cursor
from storage.inserts import Inserts
from storage.known import Known
from storage.tables import BATCH, COMMAND, TABLES


def apply(inserts: Inserts, known: Known, plan: Plan) -> None:
    """Write everything or nothing, and tell `known` of the new keys.

    A COMMIT after an error reports success and stores nothing, so an error always ends in ROLLBACK.

    Raises:
        duckdb.Error: nothing was stored, unless it came from the COMMIT itself (see `reached`).
    """
    cursor = inserts.cursor
    cursor.begin()
    try:
        for kind, table in TABLES.items():
            if rows := plan.rows.get(kind):
                inserts.insert(table, rows)
        if plan.commands:
            inserts.insert(COMMAND, plan.commands)
        if plan.batches:
            inserts.insert(BATCH, plan.batches)
        for kind, row in plan.updates:
            names = [column.name for column in TABLES[kind].columns][1:]
            sets = ", ".join(f'"{name}" = ?' for name in names)
            cursor.execute(
                f'UPDATE "{TABLES[kind].name}" SET {sets} WHERE id = ?', [*row[1:], row[0]]
            )
        cursor.commit()
    except duckdb.Error:
        inserts.forget()
        with contextlib.suppress(duckdb.Error):  # a connection that is lost is rolled back already
            cursor.rollback()
        raise
    for kind, rows in plan.rows.items():
        known.learn(TABLES[kind], [row[0] for row in rows])
    known.learn(COMMAND, [row[0] for row in plan.commands])


def reached(cursor: Cursor) -> Position:
    """Return the last number that the database has, and the hash of its last command."""
    rows = cursor.execute("SELECT n, hash FROM command ORDER BY n DESC LIMIT 1").fetchall()
    n, hash = rows[0] if rows else (0, START)
    (added,) = cursor.execute("SELECT coalesce(max(n), 0) FROM batch").fetchall()[0]
    return Position(max(n, added), hash)
