"""Arrow files as `datasets` writes them: the stream or the file format of Arrow's IPC.

pyarrow trusts the offsets that a file names, so every batch is validated whole, once, before the
first row is given out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import BadInput

MAGIC = b"ARROW1"  # of the file format; a stream has none


def read_arrow(path: Path) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the columns of an Arrow file, and its rows as plain values (None: missing).

    Raises:
        BadInput: it is cut off, damaged, or no Arrow file.
    """
    with _opened(path) as reader:
        for batch in _batches(reader):
            batch.validate(full=True)
        return list(reader.schema.names), _rows(path)


def _rows(path: Path) -> Iterator[tuple[Any, ...]]:
    with _opened(path) as reader:
        for batch in _batches(reader):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):  # of the file format
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow as pa  # here: half a second that nothing else needs

    wrong = (pa.ArrowException, OSError, ValueError, OverflowError)
    try:
        with path.open("rb") as start:
            whole = start.read(len(MAGIC)) == MAGIC
        with pa.memory_map(str(path)) as file:
            yield pa.ipc.open_file(file) if whole else pa.ipc.open_stream(file)
    except wrong as error:
        why = (str(error).splitlines() or ["it is damaged"])[0]
        raise BadInput(
            f"{path}: is no Arrow file that can be read ({why}); write it as Parquet"
        ) from None
