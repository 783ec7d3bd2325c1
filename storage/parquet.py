"""Parquet files, read and written by a DuckDB in memory that knows nothing of the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from storage.duck import quoted
from storage.errors import BadInput, NotFound
from storage.limits import Limits

if TYPE_CHECKING:
    import pandas as pd


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the columns of a Parquet file.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no Parquet file, or too big to be read within the memory limit.
    """
    if not path.is_file():
        raise NotFound(f"{path} is not there: check the name")
    # A link with a plain name: DuckDB takes *, ? and [ in a name for a pattern.
    with tempfile.TemporaryDirectory() as folder, _memory() as connection:
        link = Path(folder) / "file.parquet"
        link.symlink_to(path.absolute())
        try:
            return connection.execute("SELECT * FROM read_parquet(?)", [str(link)]).df()
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
    return duckdb.connect(":memory:", config={"memory_limit": f"{Limits().memory_now()}B"})
