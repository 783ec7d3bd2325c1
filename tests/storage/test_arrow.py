"""Arrow files: what pyarrow writes is read, and damaged bytes get one line."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.arrow import read_arrow
from storage.errors import BadInput

WHEN = datetime(1960, 2, 3, 4, 5, 6, 7000, tzinfo=UTC)
TALK = [{"role": "user", "content": "é\u2028"}, {"role": "assistant", "content": None}]
TABLE = pa.table(
    {
        "text": ["A", None, "", "x" * 50],
        "large": pa.array(["q", None, "", "r"], pa.large_string()),
        "messages": [TALK, [], None, TALK[:1]],
        "large_list": pa.array([[1], None, [], [2, None]], pa.large_list(pa.int8())),
        "struct": [{"a": [True]}, None, {"a": None}, {"a": []}],
        "i16": pa.array([1, None, -3, 4], pa.int16()),
        "u64": pa.array([0, 2**64 - 1, None, 1], pa.uint64()),
        "f32": pa.array([1.5, None, -2.0, float("inf")], pa.float32()),
        "f64": [0.1, 0.2, None, 0.3],
        "truth": [True, None, False, True],
        "ms": pa.array([WHEN, None, WHEN, WHEN], pa.timestamp("ms", "UTC")),
        "ns": pa.array([WHEN, None, WHEN, WHEN], pa.timestamp("ns", "UTC")),
        "none": pa.nulls(4),
    }
)


def write(path: Path, table: pa.Table, form: Callable[..., Any] = pa.ipc.new_stream, **how) -> Path:
    with form(path, table.schema, **how) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


@pytest.mark.parametrize("form", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("part", [slice(0, 4), slice(1, 3), slice(0, 0)])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_what_pyarrow_writes_is_read(
    tmp_path: Path, form: Callable[..., Any], part: slice, compression: str | None
) -> None:
    table = TABLE.slice(part.start, part.stop - part.start)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    columns, rows = read_arrow(write(tmp_path / "x.arrow", table, form, options=options))
    assert columns == table.column_names
    assert list(rows) == [tuple(row.values()) for row in table.to_pylist()]


def test_what_is_no_arrow_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"ARROW1\0\0", b"PAR1" * 9, bytes(64)):
        path = tmp_path / "x.arrow"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="x.arrow: is no Arrow file that can be read"):
            list(read_arrow(path)[1])


def test_a_file_that_is_cut_off_is_refused_before_its_first_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.arrow", TABLE)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="x.arrow: is no Arrow file that can be read"):
            read_arrow(path)


def test_damaged_bytes_never_get_more_than_one_line(tmp_path: Path) -> None:
    """500 times a few bytes are others: it is refused, or read as something else."""
    path = write(tmp_path / "x.arrow", TABLE)
    whole, rng, told = path.read_bytes(), random.Random(0), []
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.choice([0, 127, 128, 255, rng.randrange(256)])
        path.write_bytes(data)
        try:
            list(read_arrow(path)[1])
        except BadInput as error:
            told.append(str(error))
    assert len(told) > 100
    assert [line for line in told if "\n" in line] == []
