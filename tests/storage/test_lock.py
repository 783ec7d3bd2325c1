"""One process per data folder, and everybody else learns who it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from storage.errors import Locked, StoreError
from storage.lock import read_lock
from storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
OPEN = """
import sys
from pathlib import Path
from storage.errors import Locked
from storage.store import Store
try:
    Store.open(Path(sys.argv[1]))
except Locked as error:
    print(error)
"""


def open_elsewhere(data: Path) -> str:
    command = [sys.executable, "-c", OPEN, str(data)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout


def test_a_second_process_is_refused_with_pid_and_address(store: Store, data: Path) -> None:
    store.announce("http://127.0.0.1:7860", "secret-token")
    said = open_elsewhere(data)
    assert f"in use by process {os.getpid()} and answers at http://127.0.0.1:7860" in said
    assert "--data" in said
    assert "secret-token" not in said


def test_reading_the_database_file_in_the_process_does_not_let_a_second_one_in(
    store: Store, data: Path
) -> None:
    """Closing any handle of the file drops DuckDB's own lock on it; ours is on another file."""
    (data / "hone.duckdb").read_bytes()
    assert "in use by process" in open_elsewhere(data)


def test_a_second_store_in_the_same_process_is_refused(store: Store, data: Path) -> None:
    with pytest.raises(Locked):
        Store.open(data)


def test_the_lock_tells_who_holds_the_folder_until_it_is_closed(data: Path) -> None:
    assert read_lock(data) is None
    store = Store.open(data)
    assert read_lock(data) == {"pid": os.getpid(), "address": "", "token": ""}
    store.announce("http://127.0.0.1:7860", "t")
    store.announce("http://h", "t2")
    assert read_lock(data) == {"pid": os.getpid(), "address": "http://h", "token": "t2"}
    store.close()
    assert read_lock(data) is None
    Store.open(data).close()


def test_a_lock_that_nobody_holds_is_no_lock(data: Path) -> None:
    """What a killed process wrote stays in the file; the lock itself went with the process."""
    data.mkdir()
    (data / "LOCK").write_text(json.dumps({"pid": 1, "address": "http://gone", "token": "x"}))
    assert read_lock(data) is None
    Store.open(data).close()


def test_only_the_owner_may_read_the_token(store: Store, data: Path) -> None:
    assert (data / "LOCK").stat().st_mode & 0o777 == 0o600


def test_a_file_that_another_program_has_open_is_named_with_its_pid(data: Path) -> None:
    Store.open(data).close()
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    command = [sys.executable, "-c", hold, str(data / "hone.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Locked, match=f"is open in process {other.pid}"):
            Store.open(data)
        other.communicate(b"\n")
    Store.open(data).close()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="cannot be used as data folder"):
        Store.open(tmp_path / "data")


def test_nothing_but_the_data_folder_can_be_reached_from_sql(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for statement in (
        f"SELECT * FROM read_text('{tmp_path}/secret.txt')",
        f"SELECT * FROM read_text('{tmp_path}/data/../secret.txt')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "SET memory_limit = '10GB'",
        "SET enable_external_access = true",
    ):
        with pytest.raises((duckdb.Error, StoreError)):
            store._duck.read(lambda cursor, sql=statement: cursor.execute(sql).fetchall())
