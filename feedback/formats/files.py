"""JSONL, CSV and Parquet files as rows, whatever the rows mean; hostile files get one clear line.

A row that cannot be read is a `Refused` with its number, and the others come through. JSONL is
split at line feeds only (`str.splitlines` would also split at U+2028 inside a text). Writing goes
to a temporary file that is renamed when it is whole.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from feedback.formats.rows import Refused
from storage.errors import BadInput, DiskFull, NotFound

# Choice: a text of 10 MB is read and refused by its own limit; a line longer than this is not read.
MAX_LINE = 64 * 1024 * 1024  # bytes
PARQUET_ROWS = 1_000  # converted at a time
_MAGIC = {
    b"\x1f\x8b": "gzip; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd; unpack it first",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"SQLite format 3": "an SQLite database",
}

# A cell that a spreadsheet would run as a formula: such a lead, perhaps behind blanks. Source:
# OWASP, "CSV Injection". Apostrophes in front belong to the pattern, so that `guard` and `unguard`
# undo each other exactly: one is added to what matches, and taken from what matches after one.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20|%]")

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as the file has it."""

    row: int
    fields: Fields


def kind_of(path: Path) -> str:
    """Return "jsonl", "csv" or "parquet" by what the file holds, not by its name.

    Raises:
        NotFound: no such file. BadInput: empty, binary, or not what its name says.
    """
    if not path.is_file():
        raise NotFound(f"{path}: there is no such file; give the path of a file")
    try:
        with path.open("rb") as file:
            head = file.read(65_536)
    except OSError as error:
        why = f"{path}: cannot be read ({error.strerror}); give it read permission"
        raise BadInput(why) from None
    kind = _kind_of_head(path, head)
    named = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "parquet": "parquet"}
    says = named.get(path.suffix.lower().lstrip("."), kind)
    if says != kind:
        raise BadInput(f"{path}: its name says {says}, but it holds {kind}; name it .{kind}")
    return kind


def _kind_of_head(path: Path, head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise BadInput(f"{path}: holds {what}; give JSONL, CSV or Parquet")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{path}: is UTF-16; save it as UTF-8")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise BadInput(f"{path}: is empty; give a file with at least one row")
    if path.suffix.lower() == ".parquet":
        raise BadInput(f"{path}: is not a Parquet file, whatever its name says; write it again")
    broken = sum(text.decode("utf-8", "replace").count(sign) for sign in ("\ufffd", "\0"))
    if broken > len(text) // 10:  # Choice: a wrong byte here and there is a matter of its row
        raise BadInput(
            f"{path}: holds binary data, or text that is not UTF-8; "
            "give JSONL, CSV or Parquet, in UTF-8"
        )
    if text.startswith(b"["):
        raise BadInput(f"{path}: holds one JSON list; write one JSON object per line (JSONL)")
    return "jsonl" if text.startswith(b"{") or path.suffix.lower() == ".jsonl" else "csv"


def read_rows(
    path: Path, check_columns: Callable[[Sequence[str]], None]
) -> Iterator[Raw | Refused]:
    """Yield the rows of a file, reading as little as possible at a time.

    `check_columns` gets the column names of a CSV or Parquet file before the first row, and raises
    BadInput when some are missing. The keys of a JSONL file may differ from line to line.
    """
    kind = kind_of(path)
    if kind == "jsonl":
        return _read_jsonl(path)
    return (_read_csv if kind == "csv" else _read_parquet)(path, check_columns)


def _read_jsonl(path: Path) -> Iterator[Raw | Refused]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > MAX_LINE:
                yield Refused(number, f"the line has more than {MAX_LINE:,} bytes; split its text")
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
            elif line.strip():
                yield _parse_line(number, line)


def _parse_line(number: int, line: bytes) -> Raw | Refused:
    try:
        fields = json.loads(line.decode("utf-8"), object_pairs_hook=_no_repeats)
    except UnicodeDecodeError as error:
        return Refused(number, f"byte {error.start + 1} of the line is not UTF-8; save it as UTF-8")
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"}\n") else "; is the line cut off?"
        return Refused(number, f"not JSON: {error.msg} at character {error.colno}{cut}")
    except RecursionError:
        return Refused(number, "the JSON is nested too deeply; write plain fields")
    except BadInput as error:
        return Refused(number, str(error))
    except ValueError:  # Python refuses to read integers of more than 4,300 digits
        return Refused(number, "a number has more than 4,300 digits; write it as a text")
    if not isinstance(fields, dict):
        return Refused(number, f"the line is a JSON {type(fields).__name__}; write an object {{…}}")
    return Raw(number, fields)


def _no_repeats(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"the key {twice[:40]!r} is there twice; keep one")
    return fields


def _read_csv(
    path: Path, check_columns: Callable[[Sequence[str]], None]
) -> Iterator[Raw | Refused]:
    csv.field_size_limit(MAX_LINE)
    # Bytes that are not UTF-8 become surrogates, which the text check refuses with the row number.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = _header(path, reader)
        check_columns(columns)
        number = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield Refused(number, f"not CSV: {error}; quote the text and double its quotes")
                continue
            if not cells:
                continue
            number += 1
            if len(cells) != len(columns):
                yield Refused(
                    number, f"the row has {len(cells)} cells, the header has {len(columns)} columns"
                )
            else:
                yield Raw(number, dict(zip(columns, map(unguard, cells), strict=True)))


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise BadInput(f"{path}: its first line is not a CSV header ({error})") from None
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise BadInput(f"{path}: its columns are not separated by commas; save it with commas")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise BadInput(f"{path}: the column {twice[0][:40]!r} is there twice; keep one")
    if not all(name.isprintable() for name in columns):
        raise BadInput(f"{path}: its header is not readable text; is it CSV, in UTF-8?")
    return columns


def _read_parquet(
    path: Path, check_columns: Callable[[Sequence[str]], None]
) -> Iterator[Raw | Refused]:
    from storage.parquet import read_parquet

    frame = read_parquet(path)
    check_columns(list(frame.columns))
    for start in range(0, len(frame), PARQUET_ROWS):
        part = frame.iloc[start : start + PARQUET_ROWS]
        for number, fields in enumerate(part.to_dict("records"), start=start + 1):
            yield Raw(number, {str(name): plain(value) for name, value in fields.items()})


def plain(value: Any) -> Any:
    """Return a Parquet value as JSON would have it: lists, dicts, None for what is missing."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if isinstance(value, np.generic) else value


def guard(cell: str) -> str:
    """Return a CSV cell that no spreadsheet runs as a formula: an apostrophe in front where needed.

    Example:
        >>> guard("=1+1"), guard("'=1+1"), guard("'twas night"), unguard(guard("=1+1"))
        ("'=1+1", "''=1+1", "'twas night", '=1+1')
    """
    return "'" + cell if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """Return the text that `guard` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


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
    from storage.parquet import write_parquet

    frame = pd.DataFrame(list(rows), columns=list(columns))
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
