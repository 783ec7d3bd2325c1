"""The schema: from empty to newest, equal to what `tables` says, and nothing but primary keys."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from storage import migrations
from storage.migrations import MIGRATIONS, migrate
from storage.store import Store
from storage.tables import METADATA


@pytest.fixture
def file(store: Store, data: Path) -> duckdb.DuckDBPyConnection:
    store.close()
    return duckdb.connect(str(data / "hone.duckdb"), read_only=True)


def test_the_steps_lead_from_empty_to_the_tables(file: duckdb.DuckDBPyConnection) -> None:
    rows = file.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = 'hone' ORDER BY table_name, column_index"
    ).fetchall()
    names = {"VARCHAR": sa.String, "BIGINT": sa.BigInteger, "BOOLEAN": sa.Boolean,
             "DOUBLE": sa.Double, "TIMESTAMP": sa.DateTime}  # fmt: skip
    made = {}
    for table, column, kind, nullable in rows:
        made.setdefault(table, []).append((column, names[kind], nullable))
    described = {
        table.name: [(c.name, type(c.type), c.nullable) for c in table.columns]
        for table in METADATA.sorted_tables
    }
    assert made == described


def test_only_primary_keys_keep_things_apart(file: duckdb.DuckDBPyConnection) -> None:
    found = file.execute(
        "SELECT table_name, constraint_type, constraint_column_names FROM duckdb_constraints() "
        "WHERE database_name = 'hone'"
    ).fetchall()
    kinds = {kind for _, kind, _ in found}
    assert kinds == {"PRIMARY KEY", "NOT NULL", "CHECK"}
    keys = {table: names for table, kind, names in found if kind == "PRIMARY KEY"}
    assert keys == {
        table.name: [c.name for c in table.primary_key] for table in METADATA.tables.values()
    }
    assert keys["vote"] == keys["rating"] == keys["edit"] == ["assignment", "revision"]
    assert file.execute("SELECT count(*) FROM duckdb_indexes()").fetchall() == [(0,)]


def test_every_step_is_on_record_and_runs_once(store: Store, data: Path) -> None:
    query = "SELECT number, name FROM migration ORDER BY number"
    done = store._duck.read(lambda cursor: cursor.execute(query).fetchall())
    assert done == [(number, step.__name__) for number, step in sorted(MIGRATIONS.items())]
    assert migrate(store._duck.engine, data) == []


def test_a_step_that_fails_leaves_nothing_behind(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (id VARCHAR)")
        connection.exec_driver_sql("SELECT * FROM nowhere")

    later = max(MIGRATIONS) + 1
    monkeypatch.setattr(migrations, "MIGRATIONS", {**MIGRATIONS, later: half})
    with pytest.raises(sa.exc.DBAPIError):
        migrate(store._duck.engine, data)
    query = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'"
    assert store._duck.read(lambda cursor: cursor.execute(query).fetchall()) == [(0,)]


def test_numbers_have_no_gaps() -> None:
    assert sorted(MIGRATIONS) == list(range(1, len(MIGRATIONS) + 1))
