"""The child process that reads a file, so that a bomb or a broken parser takes nothing else along.

`python -m feedback.reader` is told by one line on its input what to read, and writes lines of JSON:
what the file looks like, then its rows some at a time, then how it ended. It has a share of memory
and of processor time and writes no file. What it says is checked again in `feedback.reading`.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from feedback import formats
from feedback.formats.carried import MAX_ROW, row_of, size_of
from feedback.formats.rows import Refused, Row
from storage.errors import NotFound, UserError

# Choice: objects made before a look for garbage; rows are none, and looking took a third of the
# time.
GARBAGE = 100_000
NICENESS = 10  # Choice: half way down, behind what people wait for
PART_ROWS, PART_CHARS = 500, 1_000_000  # rows, or characters of their texts, in one line


def main(asked: BinaryIO, out: BinaryIO) -> None:
    """Answer one request: {"do", "path", "format", "columns", "limits"}."""
    request = json.loads(asked.readline())
    limits = request["limits"]
    try:
        _confine(limits)
        for told in _answer(request, limits["rows"]):
            _say(out, told)
    except UserError as error:
        _say(out, {"error": str(error), "found": not isinstance(error, NotFound)})
    except MemoryError:
        _say(out, {"limit": "memory"})
    except BrokenPipeError:  # nobody listens any more
        os._exit(0)


def _confine(limits: Mapping[str, int]) -> None:
    """Give up memory and time beyond the limits, and the right to write any file.

    RLIMIT_DATA is what a process has of its own; a file that is looked at through memory counts
    for nothing, while RLIMIT_AS would count it.
    """
    os.nice(NICENESS)
    gc.set_threshold(GARBAGE)
    tempfile.gettempdir()  # which writes a file, once, to see whether it can
    for what, limit in (
        (resource.RLIMIT_DATA, limits["memory"]),
        (resource.RLIMIT_CPU, limits["cpu"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (limit if hard < 0 else min(limit, hard), hard))


def _answer(request: Mapping[str, Any], most_rows: int) -> Iterator[dict[str, Any]]:
    path, format, columns = Path(request["path"]), request["format"], request["columns"]
    if request["do"] == "read":
        chosen = formats.choose(path, format, columns)
        yield {"format": chosen}
        yield from _parts(formats.read(path, chosen, columns), most_rows)
        return
    show = {"look": formats.look, "preview": formats.preview}[request["do"]]
    seen = show(path, format, columns)
    rows = sorted((*seen.rows, *seen.refused), key=lambda row: row.row)
    yield {
        "format": seen.format,
        "rows": [row_of(_bounded(row)) for row in rows],
        "columns": [name[:1_000] for name in seen.columns[:1_000]],
        "named": dict(seen.named),
        "why": seen.why,
    }


def _parts(rows: Iterable[Row | Refused], most: int) -> Iterator[dict[str, Any]]:
    part: list[list[Any]] = []
    chars = count = 0
    for row in rows:
        count += 1
        if count > most:
            yield {"rows": part}
            yield {"limit": "rows"}
            return
        row = _bounded(row)
        part.append(row_of(row))
        chars += size_of(row)
        if len(part) >= PART_ROWS or chars >= PART_CHARS:
            yield {"rows": part}
            part, chars = [], 0
    yield {"rows": part}
    yield {"end": count}


def _bounded(row: Row | Refused) -> Row | Refused:
    """Return the row, or its refusal if it is too long to be handed on."""
    size = size_of(row)
    if isinstance(row, Refused) or size <= MAX_ROW:
        return row
    return Refused(row.row, f"the row has {size:,} characters, the limit is {MAX_ROW:,}; split it")


def _say(out: BinaryIO, told: Mapping[str, Any]) -> None:
    out.write(_line(told) + b"\n")
    out.flush()


def _line(told: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(told)
    except TypeError:  # half of a character in a reason, or a number of more than 64 bits
        return json.dumps(told, separators=(",", ":")).encode()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
