"""Read a file in a process of its own (`feedback.reader`), within limits of memory, time and rows.

A text of up to `SMALL` bytes is read here: it cannot become large, and starting a process would
take longer. Everything else may be a bomb: the child that reads it has its own memory, is stopped
when it takes too long, and what it hands over is checked again.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from feedback import formats
from feedback.formats import Preview, files, packed
from feedback.formats.carried import row_from, rows_from
from feedback.formats.rows import Refused, Row
from storage.errors import BadInput, NotFound

ROOT = Path(__file__).resolve().parent.parent
SMALL = 256 * 1024  # bytes
TEXTS = ("jsonl", "json", "csv", "tsv")
MAX_LINE = 128 << 20  # bytes of one line of the child's: its longest row, every sign as escapes
PIPE = 1 << 20  # bytes that the child may be ahead of us. Choice: what Linux allows everybody
PIECE = 1 << 20  # bytes read at a time
PART = list[Row | Refused]


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take."""

    memory: int = 1_500_000_000  # bytes. Choice: a JSON list of 256 MB as text, and its bytes
    cpu: int = 900  # seconds of processor time. Choice: ten million pairs
    silent: int = 120  # seconds without a word. Choice: unpacking 2 GB to look at it takes 10
    rows: int = 5_000_000  # Choice: fewer than a start can read back into memory


class Ended(BadInput):
    """Reading ended before the file did; what was handed over until then is good."""


@contextmanager
def opened(
    path: Path,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[str, Iterator[PART]]]:
    """Open a file; yield the name of its format and its rows, some at a time.

    Args:
        columns: as for `formats.read`.

    Raises:
        BadInput, NotFound: the file as a whole is none.
        Ended: later, from the rows: a limit was reached, or the child died.
    """
    if limits is None and _is_small(path):
        chosen = formats.choose(path, format, columns)
        yield chosen, ([row] for row in formats.read(path, chosen, columns))
        return
    with _Child(path, limits or Limits()) as child:
        child.ask("read", format, columns)
        told = child.hear()
        yield str(told["format"]), _parts(child)


def look(path: Path, format: str = "auto", columns: Mapping[str, str] | None = None) -> Preview:
    """Return what `formats.look` does, from a process of its own where the file is large."""
    if _is_small(path):
        return formats.look(path, format, columns)
    return _preview(path, "look", format, columns)


def preview(path: Path, format: str = "auto", columns: Mapping[str, str] | None = None) -> Preview:
    """Return what `formats.preview` does, from a process of its own where the file is large."""
    if _is_small(path):
        return formats.preview(path, format, columns)
    return _preview(path, "preview", format, columns)


def _is_small(path: Path) -> bool:
    """Say whether a file is plain text of at most `SMALL` bytes."""
    if not path.is_file() or path.stat().st_size > SMALL:
        return not path.is_dir() and not path.is_file()  # what is not there says so itself
    return not packed.is_packed(path) and files.kind_of(path) in TEXTS


def _preview(path: Path, do: str, format: str, columns: Mapping[str, str] | None) -> Preview:
    with _Child(path, Limits()) as child:
        child.ask(do, format, columns)
        told = child.hear()
    rows = [row_from(values) for values in told["rows"]]
    return Preview(
        str(told["format"]),
        tuple(row for row in rows if not isinstance(row, Refused)),
        tuple(row for row in rows if isinstance(row, Refused)),
        tuple(map(str, told["columns"])),
        {str(field): str(column) for field, column in told["named"].items()},
        str(told["why"]),
    )


def _parts(child: _Child) -> Iterator[PART]:
    while "end" not in (told := child.hear()):
        yield rows_from(told["rows"])


def _read(line: bytes) -> dict[str, Any]:
    try:
        told: dict[str, Any] = orjson.loads(line)
    except ValueError:  # what it does not read, `json` may: half of a character
        told = json.loads(line)
    return told


class _Child:
    """The process that reads one file."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._buffer = bytearray()

    def __enter__(self) -> _Child:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "feedback.reader"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us: we end it
            pipesize=PIPE if sys.platform == "linux" else -1,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    def ask(self, do: str, format: str, columns: Mapping[str, str] | None) -> None:
        """Say what to read."""
        request = {
            "do": do,
            "path": str(self._path.absolute()),
            "format": format,
            "columns": dict(columns) if columns is not None else None,
            "limits": asdict(self._limits),
        }
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once: `hear` says so
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.close()

    def hear(self) -> dict[str, Any]:
        """Return the next thing that it says.

        Raises:
            BadInput, NotFound: it cannot read the file. Ended: a limit was reached, or it died.
        """
        line = self._line()
        if line is None:
            raise self._death()
        told = _read(line)
        if "error" in told:
            message = str(told["error"])
            raise BadInput(message) if told.get("found") else NotFound(message)
        if "limit" in told:
            raise self._over(str(told["limit"]))
        return told

    def _line(self) -> bytes | None:
        """Return the next line, or None at the end."""
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        until = time.monotonic() + self._limits.silent
        at = 0
        while (end := self._buffer.find(b"\n", at)) < 0:
            at = len(self._buffer)
            ready, _, _ = select.select([source], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise self._over("silent")
            piece = os.read(source, PIECE)
            if not piece:
                return None
            self._buffer += piece
            if len(self._buffer) > MAX_LINE:
                raise self._over("memory")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _death(self) -> Ended:
        """Return why it died without a word."""
        code = self._process.wait()
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return self._over("cpu" if code == -signal.SIGXCPU else "killed")
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Ended(f"{self._path}: the process that reads it died ({why}); is the file damaged?")

    def _over(self, limit: str) -> Ended:
        limits = self._limits
        why = {
            "memory": f"needs more than {limits.memory >> 20:,} MB of memory to be read",
            "cpu": f"takes more than {limits.cpu:,} s of processor time to be read",
            "silent": f"gave no row for {limits.silent:,} s",
            "rows": f"has more than {limits.rows:,} rows",
            "killed": "was being read by a process that somebody ended, or memory ran out",
        }[limit]
        return Ended(f"{self._path}: {why}; split it, or write it as JSON lines")
