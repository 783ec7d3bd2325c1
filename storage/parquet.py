"""Parquet files, read and written by a DuckDB in memory that knows nothing of the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from storage.duck import quoted
from storage.errors import BadInput, NotFound
from storage.limits import Limits

if TYPE_CHECKING:
    import pandas as pd

# Choice: rows made into Python values at a time; 200 texts as long as the limit are 200 MB.
AT_ONCE = 200


def read_parquet(path: Path) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the columns of a Parquet file, and its rows as plain values (None: missing).

    The file is unpacked into DuckDB's own memory first, which has a limit: 50 kB of Parquet may
    hold one text of a megabyte 20,000 times, which as Python values would take all of the machine.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no Parquet file, or too big to be read within the memory limit.
    """
    if not path.is_file():
        raise NotFound(f"{path} is not there: check the name")
    connection = _memory()
    # A link with a plain name: DuckDB takes *, ? and [ in a name for a pattern.
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "file.parquet"
        link.symlink_to(path.absolute())
        try:
            connection.execute("CREATE TABLE rows AS FROM read_parquet(?)", [str(link)])
        except duckdb.OutOfMemoryException:
            raise BadInput(
                f"{path} needs more than {Limits().memory_now() >> 20} MB when unpacked: split it"
            ) from None
        except duckdb.Error as error:
            why = str(error).splitlines()[0].replace(str(link), path.name)
            raise BadInput(f"{path} is not a Parquet file that can be read: {why}") from None
    columns = [name for name, *_ in connection.execute("DESCRIBE rows").fetchall()]
    return columns, _rows(connection)


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    with connection:
        ((count,),) = connection.execute("SELECT count(*) FROM rows").fetchall()
        for start in range(0, count, AT_ONCE):
            part = "FROM rows WHERE rowid >= ? AND rowid < ? ORDER BY rowid"
            yield from connection.execute(part, [start, start + AT_ONCE]).fetchall()


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as a Parquet file, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _memory() as connection:
        connection.register("frame", frame)
        connection.execute(f"COPY frame TO {quoted(str(unfinished))} (FORMAT parquet)")
    unfinished.replace(path)


def _memory() -> duckdb.DuckDBPyConnection:
    """Open a database in memory that stays within the limit: nothing of it goes to the disk."""
    memory = f"{Limits().memory_now()}B"
    return duckdb.connect(
        ":memory:", config={"memory_limit": memory, "temp_directory": "", "threads": 1}
    )
