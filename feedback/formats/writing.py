"""JSONL, CSV and Parquet files as they are written: under their name only when they are whole."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from feedback.formats.csv_rows import guard
from feedback.formats.rows import Fields
from storage.errors import BadInput, DiskFull


def write_jsonl(path: Path, rows: Iterable[Fields]) -> int:
    """Write one JSON object per line, return how many."""
    with _whole(path) as file:
        count = 0
        for fields in rows:
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
            count += 1
    return count


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Fields]) -> int:
    """Write a header and rows, every cell quoted and guarded, return how many rows."""
    with _whole(path) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        count = 0
        for fields in rows:
            writer.writerow([guard(fields[name]) for name in columns])
            count += 1
    return count


def write_parquet_rows(path: Path, columns: Sequence[str], rows: Iterable[Fields]) -> int:
    """Write rows as Parquet, return how many; they have to fit into memory."""
    import pandas as pd  # here: half a second that reading does not need

    from storage.parquet import write_parquet

    frame = pd.DataFrame(list(rows))
    others = [name for name in frame.columns if name not in columns]
    frame = frame.reindex(columns=[*columns, *others])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write_parquet(frame, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(frame)


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """Open a text file that appears under its name only when it is complete and on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> BadInput | DiskFull:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return DiskFull(f"{path}: the disk is full; make room and export again")
    return BadInput(f"{path}: cannot be written ({error.strerror}); choose another folder")
