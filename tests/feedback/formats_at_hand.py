"""Files for the tests of formats: written line by line, read to the one row that they hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from feedback.formats import read
from feedback.formats.rows import Refused, Row

USER = {"role": "user", "content": "Hi?"}


def asked(text: str = "Hi?") -> tuple[dict[str, str], ...]:
    """Return the prompt that one user message is."""
    return ({"role": "user", "content": text},)


def said(text: str) -> dict[str, str]:
    """Return an assistant's message."""
    return {"role": "assistant", "content": text}


def jsonl(path: Path, *rows: Any) -> Path:
    """Write JSON lines; half characters stay escaped, as JSON has them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def listed(path: Path, *rows: Any) -> Path:
    """Write one JSON list."""
    path.write_text(json.dumps(list(rows), indent=1), "utf-8")
    return path


def packed(path: Path) -> Path:
    """Return the same file as gzip, beside it."""
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def rows(path: Path, format: str = "auto") -> list[Row | Refused]:
    """Return all rows of a file."""
    return list(read(path, format))


def taken(path: Path, format: str = "auto") -> list[Any]:
    """Return all rows of a file of which none is refused."""
    found = rows(path, format)
    assert [row for row in found if isinstance(row, Refused)] == []
    return found


def whys(path: Path, format: str = "auto") -> list[str]:
    """Return why rows were refused, of a file whose rows all are."""
    found = rows(path, format)
    assert [row for row in found if not isinstance(row, Refused)] == []
    return [row.why for row in found if isinstance(row, Refused)]
