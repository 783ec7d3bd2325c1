"""Parquet files: exact round trips, and one clear line for what is none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from storage.errors import BadInput, NotFound
from storage.parquet import read_parquet, write_parquet


def test_a_frame_comes_back(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "it's\u2028ü"}], []]
    frame = pd.DataFrame({"n": [1, 2], "text": ["a'b", None], "messages": messages})
    path = tmp_path / "it's [1] *.parquet"
    write_parquet(frame, path)
    columns, rows = read_parquet(path)
    assert columns == ["n", "text", "messages"]
    assert list(rows) == [(1, "a'b", messages[0]), (2, None, [])]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    path.write_text("not parquet at all, but long enough to look at")
    with pytest.raises(BadInput, match=r"votes.parquet is not a Parquet file that can be read: "):
        read_parquet(path)
    with pytest.raises(NotFound, match="is not there"):
        read_parquet(tmp_path / "none.parquet")
