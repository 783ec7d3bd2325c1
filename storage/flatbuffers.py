"""Tables of a flatbuffer, as Arrow's metadata is written; read with every offset checked.

Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


class Damaged(ValueError):
    """What stands in a file cannot be so."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its fields are found through a list of offsets.

    Each way to read a field raises `struct.error` where it would leave the data.
    """

    data: bytes
    at: int

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Return a field that holds a number; `form` as `struct` writes it."""
        place = self._place(field)
        return struct.unpack_from(form, self.data, place)[0] if place else default

    def table(self, field: int) -> Table | None:
        """Return the table that a field points to."""
        place = self._place(field)
        return Table(self.data, self._points_to(place)) if place else None

    def text(self, field: int) -> str:
        """Return a field that holds a text."""
        place = self._place(field)
        if not place:
            return ""
        start, size = self._vector(place)
        return self.data[start : start + size].decode("utf-8")

    def tables(self, field: int) -> list[Table]:
        """Return the tables of a field that holds a list of them."""
        place = self._place(field)
        if not place:
            return []
        start, size = self._vector(place)
        places = range(start, start + 4 * size, 4)
        return [Table(self.data, self._points_to(one)) for one in places]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return the structs of two numbers of a field that holds a list of them."""
        place = self._place(field)
        if not place:
            return []
        start, size = self._vector(place)
        return [struct.unpack_from("<qq", self.data, start + 16 * n) for n in range(size)]

    def _place(self, field: int) -> int:
        """Return where a field stands, 0 if it is left out."""
        (back,) = struct.unpack_from("<i", self.data, self.at)
        table = self.at - back
        (size,) = struct.unpack_from("<H", self.data, table)
        if 4 + 2 * field >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, table + 4 + 2 * field)
        return self.at + offset if offset else 0

    def _points_to(self, place: int) -> int:
        return place + struct.unpack_from("<I", self.data, place)[0]

    def _vector(self, place: int) -> tuple[int, int]:
        start = self._points_to(place)
        (size,) = struct.unpack_from("<I", self.data, start)
        if size > len(self.data):
            raise Damaged("a list is longer than the file")
        return start + 4, size
