"""CSV and TSV as rows, and cells that no spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from feedback.formats import packed
from feedback.formats.json_rows import MAX_LINE
from feedback.formats.rows import Raw, Refused
from storage.errors import BadInput

# A cell that a spreadsheet would run as a formula: such a lead, perhaps behind blanks. Source:
# OWASP, "CSV Injection". Apostrophes in front belong to the pattern, so that `guard` and `unguard`
# undo each other exactly: one is added to what matches, and taken from what matches after one.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20|%]")


def read_csv(
    path: Path,
    check_columns: Callable[[Sequence[str]], None],
    *,
    separator: str = ",",
    cells: Sequence[str] | None = None,
) -> Iterator[Raw | Refused]:
    """Yield the rows below the header.

    Args:
        check_columns: gets the header, and raises BadInput when columns are missing.
        separator: of the cells.
        cells: what the cells of a row are, where the header does not say it.
    """
    csv.field_size_limit(MAX_LINE)
    # Bytes that are not UTF-8 become surrogates, which the text check refuses with the row number.
    with (
        packed.open_bytes(path) as file,
        io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        reader = csv.reader(text, strict=True, delimiter=separator)
        header = _header(path, reader)
        check_columns(header)
        yield from _below(reader, cells or header)


def _below(reader: Iterator[list[str]], columns: Sequence[str]) -> Iterator[Raw | Refused]:
    number = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Refused(number, f"not CSV: {error}; quote the text and double its quotes")
            continue
        if not row:
            continue
        number += 1
        if len(row) != len(columns):
            yield Refused(
                number, f"the row has {len(row)} cells, the header has {len(columns)} columns"
            )
        else:
            yield Raw(number, dict(zip(columns, map(unguard, row), strict=True)))


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
