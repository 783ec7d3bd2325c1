"""Parquet files, read and written by a DuckDB in memory that knows nothing of the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
MAX_ROWS = 5_000_000  # Choice: fewer than a start can read back into memory
# Choice: a million pairs of the usual length are 2 GB. What the file says of its own size is not
# believed: 230 kB may say that they unpack to as much, and be 20 GB.
MAX_UNPACKED = 8 << 30  # bytes
# Choice: a column of few different texts packs 100 times, a bomb 10,000 times.
MAX_RATIO, RATIO_FROM = 500, 256 << 20  # asked from so many unpacked bytes on


def read_parquet(path: Path) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the columns of a Parquet file, and its rows as plain values (None: missing).

    The file is looked through once before its first row is given out, so that one that is damaged
    or far too big gives none.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no Parquet file; from the first row on: it is too big.
    """
    if not path.is_file():
        raise NotFound(f"{path} is not there: check the name")
    connection = _memory()
    # A link with a plain name: DuckDB takes *, ? and [ in a name for a pattern.
    folder = tempfile.TemporaryDirectory()
    link = Path(folder.name) / "file.parquet"
    link.symlink_to(path.absolute())
    with ExitStack() as unread:
        unread.callback(folder.cleanup)
        unread.callback(connection.close)
        with _said(path, link):
            described = connection.execute("DESCRIBE FROM read_parquet(?)", [str(link)]).fetchall()
        unread.pop_all()  # from here on the rows close them
    return [name for name, *_ in described], _rows(connection, folder, path, link)


def _look_through(connection: duckdb.DuckDBPyConnection, path: Path, link: Path) -> None:
    """Refuse a file that cannot be read to its end within the limits."""
    source = "FROM read_parquet(?)"
    ((rows,),) = connection.execute(f"SELECT count(*) {source}", [str(link)]).fetchall()
    if rows > MAX_ROWS:
        raise BadInput(f"{path} has {rows:,} rows, the limit is {MAX_ROWS:,}: split it")
    sizes = f"SELECT sum(strlen(columns(*)::VARCHAR)) {source}"
    (found,) = connection.execute(sizes, [str(link)]).fetchall()
    size = sum(int(size or 0) for size in found)
    if size > RATIO_FROM and size > MAX_RATIO * path.stat().st_size:
        raise BadInput(
            f"{path} unpacks to {size >> 20:,} MB, over {MAX_RATIO} times its size, as a bomb: "
            "write it anew without what repeats itself"
        )
    if size > MAX_UNPACKED:
        raise BadInput(f"{path} needs more than {MAX_UNPACKED >> 20} MB when unpacked: split it")


def _rows(
    connection: duckdb.DuckDBPyConnection,
    folder: tempfile.TemporaryDirectory[str],
    path: Path,
    link: Path,
) -> Iterator[tuple[Any, ...]]:
    with folder, connection, _said(path, link):
        _look_through(connection, path, link)
        rows = connection.execute("FROM read_parquet(?)", [str(link)])
        while part := rows.fetchmany(AT_ONCE):
            yield from part


@contextmanager
def _said(path: Path, link: Path) -> Iterator[None]:
    """Turn the database's errors into a sentence."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise BadInput(
            f"{path} needs more than {Limits().memory_now() >> 20} MB when unpacked: split it"
        ) from None
    except duckdb.Error as error:
        why = str(error).splitlines()[0].replace(str(link), path.name)
        raise BadInput(f"{path} is not a Parquet file that can be read: {why}") from None


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
    connection = duckdb.connect(
        ":memory:", config={"memory_limit": memory, "temp_directory": "", "threads": 1}
    )
    connection.execute("SET enable_progress_bar = false")
    return connection
