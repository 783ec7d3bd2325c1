"""Files as rows, whatever the rows mean; hostile files get one clear line.

JSON lines, JSON lists, CSV and TSV (each of them gzip'd or not), Parquet, Arrow, SQLite, and
folders: of Parquet files, or as `datasets` saves a set. A row that cannot be read is a `Refused`
with its number; the others come through.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from feedback.formats import csv_rows, json_rows, packed
from feedback.formats.rows import Raw, Refused, Row, listed
from feedback.formats.unknown import kept
from storage.errors import BadInput, NotFound

TABLE = "comparisons"  # of an SQLite file: the only one that a format here (feedloop) knows
SUFFIXES = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "csv": "csv",
    "tsv": "tsv",
    "parquet": "parquet",
    "arrow": "arrow",
}
_MAGIC = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd; unpack it first",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
}

CheckColumns = Callable[[Sequence[str]], None]


def kind_of(path: Path) -> str:
    """Return what a path holds by looking, not by its name.

    Returns:
        "jsonl", "json" (one list), "csv", "tsv", "parquet", "arrow", "sqlite" or "folder".

    Raises:
        NotFound: no such file. BadInput: empty, binary, or not what its name says.
    """
    if path.is_dir():
        return "folder"
    if not path.is_file():
        raise NotFound(f"{path}: there is no such file; give the path of a file")
    kind = _kind_of_head(path, packed.head_of(path, 65_536))
    says = SUFFIXES.get(_suffix(path), kind)
    if says == "json" and kind == "jsonl":
        return kind  # JSON lines are often named .json
    if says != kind:
        raise BadInput(f"{path}: its name says {says}, but it holds {kind}; name it .{kind}")
    return kind


def _suffix(path: Path) -> str:
    """Return the ending of a file's name, before the `.gz` if there is one."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower().lstrip(".")


def _kind_of_head(path: Path, head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SQLite format 3\0"):
        return "sqlite"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise BadInput(f"{path}: holds {what}; give JSONL, JSON, CSV, TSV or Parquet")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{path}: is UTF-16; save it as UTF-8")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise BadInput(f"{path}: is empty; give a file with at least one row")
    if _suffix(path) == "parquet":
        raise BadInput(f"{path}: is not a Parquet file, whatever its name says; write it again")
    broken = sum(text.decode("utf-8", "replace").count(sign) for sign in ("\ufffd", "\0"))
    if broken > len(text) // 10:  # Choice: a wrong byte here and there is a matter of its row
        raise BadInput(
            f"{path}: holds binary data, or text that is not UTF-8; "
            "give JSONL, JSON, CSV, TSV or Parquet, in UTF-8"
        )
    return _kind_of_text(path, text)


def _kind_of_text(path: Path, text: bytes) -> str:
    if text.startswith(b"["):
        return "json"
    if text.startswith(b"{") or _suffix(path) in ("jsonl", "ndjson"):
        return "jsonl"
    header = text.split(b"\n", 1)[0]
    return "tsv" if b"\t" in header and b"," not in header else "csv"


def read_rows(
    path: Path, check_columns: CheckColumns, *, cells: Sequence[str] | None = None
) -> Iterator[Raw | Refused]:
    """Yield the rows of a file, reading as little as possible at a time.

    Args:
        check_columns: gets the column names of a table before its first row, and raises BadInput
            when some are missing. The keys of JSON may differ from row to row.
        cells: what the cells of a CSV row are, where its header does not say it.

    Raises:
        BadInput: a gzip, a Parquet or an SQLite file is damaged or too big; no row was read yet.
    """
    kind = kind_of(path)
    if kind == "folder":
        return _read_folder(path, check_columns)
    packed.check_packed(path)
    if kind == "jsonl":
        return json_rows.read_lines(path)
    if kind == "json":
        return json_rows.read_list(path)
    if kind in ("csv", "tsv"):
        separator = "\t" if kind == "tsv" else ","
        return csv_rows.read_csv(path, check_columns, separator=separator, cells=cells)
    return _read_table(path, kind, check_columns)


def read_each(
    path: Path,
    rows_of: Callable[[Raw], Iterable[Row | Refused]],
    looks: Callable[[Iterable[str]], bool],
    needs: str,
    *,
    cells: Sequence[str] | None = None,
    known: Collection[str] | None = None,
) -> Iterator[Row | Refused]:
    """Return what a format makes of each row of a file.

    Args:
        rows_of: the format's rows of one row; the BadInput that it raises refuses that row.
        looks: are these columns the format's? Asked of a table's header.
        needs: what the format needs, for the message where the header is another one's.
        cells: what the cells of a CSV row are, where its header does not say it.
        known: the fields that the format reads; the others are kept. None: it keeps none.
    """

    def check_columns(columns: Sequence[str]) -> None:
        if not looks(columns):
            raise BadInput(f"{path}: has the columns {listed(columns)}; {needs}")

    return made(read_rows(path, check_columns, cells=cells), rows_of, known)


def made(
    raws: Iterable[Raw | Refused],
    rows_of: Callable[[Raw], Iterable[Row | Refused]],
    known: Collection[str] | None = None,
) -> Iterator[Row | Refused]:
    """Yield what a format makes of each row; the BadInput that it raises refuses that row."""
    for raw in raws:
        if isinstance(raw, Refused):
            yield raw
            continue
        try:
            for row in rows_of(raw):
                if known is None or isinstance(row, Refused):
                    yield row
                else:
                    yield kept(row, raw.fields, known)
        except BadInput as error:
            yield Refused(raw.row, str(error))


def _read_table(path: Path, kind: str, check_columns: CheckColumns) -> Iterator[Raw | Refused]:
    from storage.arrow import read_arrow
    from storage.parquet import read_parquet
    from storage.sqlite import read_table

    if packed.is_packed(path):
        raise BadInput(f"{path}: is {kind} inside gzip; unpack it first")
    readers: dict[str, Callable[[Path], tuple[list[str], Iterator[tuple[Any, ...]]]]] = {
        "parquet": read_parquet,
        "arrow": read_arrow,
        "sqlite": partial(read_table, table=TABLE),
    }
    columns, rows = readers[kind](path)
    check_columns(columns)
    return _numbered(columns, rows)


def _numbered(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[Raw]:
    for number, values in enumerate(rows, start=1):
        yield Raw(number, dict(zip(columns, values, strict=True)))


def _read_folder(folder: Path, check_columns: CheckColumns) -> Iterator[Raw | Refused]:
    """Yield the rows of a folder's tables in the order of their names, numbered through."""
    saved = [path for state in sorted(folder.rglob("state.json")) for path in _saved(state)]
    paths = saved or sorted(folder.rglob("*.parquet"))
    if not paths:
        raise BadInput(
            f"{folder}: is a folder with no Parquet file, and none that `datasets` saved a set to; "
            "give a file"
        )
    number = 0
    for path in paths:
        for row in _read_table(path, "arrow" if saved else "parquet", check_columns):
            number += 1
            yield Raw(number, row.fields) if isinstance(row, Raw) else row


def _saved(state: Path) -> list[Path]:
    """Return the Arrow files of a set that `Dataset.save_to_disk` wrote: its state names them.

    What else lies beside them is left alone: `datasets` keeps what it computed there.
    """
    try:
        files = json.loads(state.read_text("utf-8"))["_data_files"]
        names = [Path(str(one["filename"])).name for one in files]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise BadInput(f"{state}: names no data files; save the set again") from None
    missing = next((name for name in names if not (state.parent / name).is_file()), None)
    if missing is not None:
        raise BadInput(f"{state}: names {missing[:60]!r}, which is not there; copy the whole set")
    return [state.parent / name for name in names]
