"""Arrow files as `datasets` writes them, read without pyarrow, which Hone does not bring along.

The stream and the file format of Arrow's IPC, uncompressed and without dictionaries, of texts,
numbers, truth values, times, lists and structs. Every offset is checked against what is there.
Source: https://arrow.apache.org/docs/format/Columnar.html and its `Message.fbs`, `Schema.fbs`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from storage.errors import BadInput
from storage.flatbuffers import Damaged, Table

MAGIC = b"ARROW1\0\0"  # of the file format; the stream follows
GOES_ON = b"\xff\xff\xff\xff"  # before each message
# Choice: a batch is held in memory whole; `datasets` writes 1,000 rows a batch.
MAX_BATCH = 1 << 30  # bytes
MAX_FIELDS = 1_000  # Choice: columns and their parts; a set of preferences has some ten
SCHEMA, BATCH = 1, 3  # kinds of message
NULL, INT, FLOAT, UTF8, BOOL, TIMESTAMP, LIST, STRUCT, LARGE_UTF8, LARGE_LIST = (
    1, 2, 3, 5, 6, 10, 12, 13, 20, 21,
)  # fmt: skip
FORMS = {UTF8: "<i4", LIST: "<i4", LARGE_UTF8: "<i8", LARGE_LIST: "<i8", TIMESTAMP: "<i8"}
# What is read, and how many parts it has at most.
KINDS = dict.fromkeys((NULL, INT, FLOAT, UTF8, BOOL, TIMESTAMP, LARGE_UTF8), 0)
KINDS |= {LIST: 1, LARGE_LIST: 1, STRUCT: MAX_FIELDS}
INTS = {(8 * n, form == "i"): f"<{form}{n}" for n in (1, 2, 4, 8) for form in "iu"}
FLOATS = ("<f2", "<f4", "<f8")
TICKS = (1_000_000, 1_000, 1, 0.001)  # microseconds of a second, a milli-, micro-, nanosecond
# What reading damaged bytes may raise: a place, a size or a number that cannot be.
WRONG = (Damaged, struct.error, ValueError, LookupError, OverflowError, RecursionError)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Field:
    """A column, or a part of one."""

    name: str
    kind: int
    form: str  # of its values as numpy writes it; of its offsets where it has parts
    tick: float  # microseconds, of a time
    parts: tuple[_Field, ...]


class _Body:
    """The body of a record batch: its nodes and buffers in the order of the schema."""

    def __init__(self, header: Table, body: bytes) -> None:
        self._body = memoryview(body)
        self._nodes = iter(header.pairs(1))
        self._buffers = iter(header.pairs(2))

    def node(self) -> int:
        """Return how many values the next column, or part of one, has."""
        length, _ = next(self._nodes, (-1, 0))
        if not 0 <= length <= 8 * len(self._body) + 1024:  # a bit each, but for nulls
            raise Damaged(f"a column has {length} values")
        return length

    def buffer(self) -> memoryview:
        """Return the next buffer."""
        offset, length = next(self._buffers, (-1, 0))
        if not 0 <= offset <= offset + length <= len(self._body):
            raise Damaged("a buffer ends behind its batch")
        return self._body[offset : offset + length]

    def numbers(self, form: str, size: int) -> np.ndarray:
        """Return the next buffer's first `size` numbers."""
        data = self.buffer()
        return np.frombuffer(data, form, size) if size else np.zeros(0, form)

    def bits(self, size: int) -> np.ndarray | None:
        """Return the next buffer's first `size` truth values; None: it is left out."""
        data = self.buffer()
        if not len(data):
            return None
        bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")
        if len(bits) < size:
            raise Damaged("a buffer of truth values is too short")
        return bits[:size].astype(bool)

    def offsets(self, form: str, size: int) -> np.ndarray:
        """Return where each of `size` values begins, and where the last one ends."""
        found = self.numbers(form, size + 1 if size else 0)
        if not size:
            return np.zeros(1, form)
        if found[0] < 0 or np.any(found[1:] < found[:-1]):
            raise Damaged("the offsets of a column go back")
        return found


def read_arrow(path: Path) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the columns of an Arrow file, and its rows as plain values (None: missing).

    Raises:
        BadInput: it is cut off or damaged, or holds what is not read here.
    """
    with path.open("rb") as file, _told(path):
        messages = _messages(file)
        kind, header, _ = next(messages, (0, None, b""))
        if kind != SCHEMA or header is None:
            raise Damaged("it does not begin with a schema")
        made = count()
        fields = [_field(one, made) for one in header.tables(1)]
        for kind, header, _ in messages:
            if kind != BATCH or header is None or header.table(3) is not None:
                raise Damaged("it is compressed, or has dictionaries")
    return [field.name for field in fields], _rows(path, fields)


def _rows(path: Path, fields: list[_Field]) -> Iterator[tuple[Any, ...]]:
    with path.open("rb") as file, _told(path):
        for kind, header, data in _messages(file):
            if kind == BATCH and header is not None:
                body = _Body(header, data)
                columns = [_values(field, body) for field in fields]
                yield from zip(*columns, strict=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except WRONG as error:
        raise BadInput(
            f"{path}: is no Arrow file that can be read ({error}); write it as Parquet"
        ) from None


def _messages(file: BinaryIO) -> Iterator[tuple[int, Table | None, bytes]]:
    """Yield kind, header and body of each message, up to the mark of the end."""
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        file.seek(0)
    while True:
        start = file.read(4)
        if start == GOES_ON:
            start = file.read(4)
        (length,) = struct.unpack("<i", start)
        if length == 0:
            return
        if not 0 < length <= size - file.tell():
            raise Damaged("it is cut off")
        data = file.read(length)
        message = Table(data, struct.unpack_from("<I", data)[0])
        rest = message.number(3, "<q")
        if not 0 <= rest <= min(size - file.tell(), MAX_BATCH):
            raise Damaged("it is cut off, or a batch is too big")
        yield message.number(1, "<B"), message.table(2), file.read(rest)


def _field(table: Table, made: Iterator[int]) -> _Field:
    if next(made) > MAX_FIELDS:  # one that holds itself would hold ever more
        raise Damaged("it has too many columns")
    name, kind, detail = table.text(0), table.number(2, "<B"), table.table(3)
    parts = tuple(_field(part, made) for part in table.tables(5))
    form, tick = FORMS.get(kind, ""), 0.0
    if detail is not None and kind == INT:
        form = INTS[detail.number(0, "<i"), bool(detail.number(1, "<?"))]
    elif detail is not None and kind == FLOAT:
        form = FLOATS[detail.number(0, "<h")]
    elif detail is not None and kind == TIMESTAMP:
        tick = TICKS[detail.number(0, "<h")]
    if kind not in KINDS or table.table(4) is not None or len(parts) > KINDS[kind]:
        raise Damaged(f"the column {name[:40]!r} holds what is not read here")
    return _Field(name, kind, form, tick, parts)


def _values(field: _Field, body: _Body) -> list[Any]:
    """Return the values of a column, or of a part of one, in a batch."""
    size = body.node()
    if field.kind == NULL:
        return [None] * size
    valid = body.bits(size)
    found = _READERS[field.kind](field, body, size)
    if valid is None:
        return found
    return [value if there else None for value, there in zip(found, valid, strict=True)]


def _numbers(field: _Field, body: _Body, size: int) -> list[Any]:
    return body.numbers(field.form, size).tolist()


def _times(field: _Field, body: _Body, size: int) -> list[Any]:
    ticks = body.numbers(field.form, size).tolist()
    return [EPOCH + timedelta(microseconds=tick * field.tick) for tick in ticks]


def _truths(field: _Field, body: _Body, size: int) -> list[Any]:
    bits = body.bits(size)
    if bits is None and size:
        raise Damaged("a column of truth values is empty")
    return [] if bits is None else bits.tolist()


def _texts(field: _Field, body: _Body, size: int) -> list[Any]:
    ends = body.offsets(field.form, size)
    data = bytes(body.buffer())
    if ends[-1] > len(data):
        raise Damaged("a text ends behind its column")
    places = zip(ends.tolist(), ends[1:].tolist(), strict=False)
    return [data[start:end].decode("utf-8", "surrogateescape") for start, end in places]


def _lists(field: _Field, body: _Body, size: int) -> list[Any]:
    ends = body.offsets(field.form, size)
    (part,) = field.parts
    inner = _values(part, body)
    if ends[-1] > len(inner):
        raise Damaged("a list ends behind its column")
    return [inner[a:b] for a, b in zip(ends.tolist(), ends[1:].tolist(), strict=False)]


def _structs(field: _Field, body: _Body, size: int) -> list[Any]:
    names = [part.name for part in field.parts]
    columns = [_values(part, body) for part in field.parts]
    if any(len(column) != size for column in columns):
        raise Damaged("the parts of a column are not equally long")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


_READERS: dict[int, Callable[[_Field, _Body, int], list[Any]]] = {
    INT: _numbers,
    FLOAT: _numbers,
    UTF8: _texts,
    LARGE_UTF8: _texts,
    BOOL: _truths,
    TIMESTAMP: _times,
    LIST: _lists,
    LARGE_LIST: _lists,
    STRUCT: _structs,
}
