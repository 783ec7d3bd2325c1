"""Files that would take memory, time or the server with them: read in a process, within limits.

Each child takes about 0.4 s to start; the limits are small so that the files can be.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from feedback import reading
from feedback.formats import json_rows, packed, read
from feedback.formats.carried import MAX_ROW, row_from, row_of, rows_from
from feedback.formats.rows import Answer, RatingRow, Refused, VoteRow
from feedback.imports import import_file
from feedback.reading import Ended, Limits, opened
from storage import parquet
from storage.errors import BadInput, NotFound
from storage.store import Store
from tests.feedback.formats_at_hand import asked, jsonl

PAIR = {"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."}
VOTE = VoteRow(
    3, asked("Hé?"), Answer("a\u2028", "m"), Answer(""), "both_bad", "ann", "b",
    datetime(2026, 11, 23, 9, 30, tzinfo=UTC), "v1", "c1", "gold", '{"tag":1}',
)  # fmt: skip
ROWS = [
    VOTE,
    VoteRow(1, asked(), Answer("x"), Answer("y"), "a"),
    RatingRow(7, asked(), Answer("x", "m"), "down", "bob", '{"n":2}'),
    Refused(9, "it holds \ud800"),
]


def pairs(n: int, text: str = "") -> list[dict[str, str]]:
    return [{**PAIR, "prompt": f"Question {i}? {text}"} for i in range(n)]


def everything(path: Path, limits: Limits) -> list[Any]:
    with opened(path, limits=limits) as (_, parts):
        return [row for part in parts for row in part]


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is read by a child, also the smallest."""
    monkeypatch.setattr(reading, "SMALL", 0)


# What is handed over


@pytest.mark.parametrize("row", ROWS)
def test_a_row_comes_over_exactly(row: Any) -> None:
    assert row_from(json.loads(json.dumps(row_of(row)))) == row


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, "z"), (1, -1), (1, "3"), (2, []), (2, [["root", "Hi?"]]), (2, [["user"]]), (3, "a\0"),
     (3, None), (4, "m\nn"), (5, "x\ud800"), (7, "undone"), (8, 5.5), (9, "c"), (10, "soon"),
     (13, "other"), (14, "[]"), (14, "{"), (14, None)],
)  # fmt: skip
def test_a_forged_row_is_refused(place: int, value: Any) -> None:
    forged = row_of(VOTE)
    if (place, value) == (8, 5.5):  # a number is a name in some files, and so it is here
        forged = forged[:8]
    else:
        forged[place] = value
    with pytest.raises(BadInput):
        row_from(forged)
    with pytest.raises(BadInput):
        rows_from([row_of(VOTE), forged, row_of(VOTE)])


def test_many_rows_come_over_as_one_by_one() -> None:
    """Votes alone are looked at together; any other row among them, or a conversation, is not."""
    talk = ({"role": "system", "content": "Be brief."}, *asked("Hi?"))
    plain = [replace(VOTE, row=number, labeler=f"l{number % 3}") for number in range(9)]
    trimmed = [*row_of(VOTE)[:8], " ann ", *row_of(VOTE)[9:]]
    for rows in (plain, [*plain, replace(VOTE, prompt=talk)], [*plain, *ROWS], []):
        assert rows_from([row_of(row) for row in rows]) == rows
    assert rows_from([trimmed, row_of(VOTE)]) == [VOTE, VOTE]
    named = [*row_of(VOTE)[:8], 5, *row_of(VOTE)[9:]]  # a number is a name in some files
    assert rows_from([named]) == [row_from(named)] == [replace(VOTE, labeler="5")]


def test_a_child_reads_what_would_be_read_here(tmp_path: Path) -> None:
    """More rows than one line of its holds; refused ones among them, and what is no text."""
    odd = [{"prompt": "\ud800", "chosen": "a", "rejected": "b"}, {**PAIR, "seen": 3}, [1]]
    path = jsonl(tmp_path / "x.jsonl", *pairs(1_200), *odd)
    with path.open("a") as file:
        file.write('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
        file.write(json.dumps({**PAIR, "prompt": "last"}) + "\n")
    assert everything(path, Limits()) == list(read(path, "trl"))


def test_a_file_as_a_whole_gets_the_same_words(tmp_path: Path, every: None) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="no known format looks like"), opened(path):
        pass
    with pytest.raises(NotFound, match="there is no such file"), opened(tmp_path / "none.csv"):
        pass
    assert reading.look(path).columns == ("a", "b")
    preview = reading.preview(jsonl(tmp_path / "y.jsonl", PAIR, {}))
    assert (preview.format, len(preview.rows), len(preview.refused)) == ("trl", 1, 1)


def test_a_row_that_is_too_long_to_be_handed_on_is_refused(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "x" * 900_000}] * (MAX_ROW // 900_000 + 1)
    path = jsonl(tmp_path / "x.jsonl", {**PAIR, "prompt": talk}, PAIR)
    long, good = everything(path, Limits())
    assert "the limit is 8,000,000; split it" in long.why
    assert good.row == 2


# Limits


def test_memory_time_and_rows_have_limits(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"prompt": "' + "x" * 60_000_000 + '"}]')
    with pytest.raises(Ended, match="needs more than 95 MB of memory to be read; split it"):
        everything(path, Limits(memory=100_000_000))
    rows = jsonl(tmp_path / "x.jsonl", *pairs(5))
    with pytest.raises(Ended, match="has more than 3 rows"):
        everything(rows, Limits(rows=3))
    with pytest.raises(Ended, match="gave no row for 0 s"):
        everything(rows, Limits(silent=0))
    slow = tmp_path / "slow.jsonl"
    slow.write_text('{"chosen": 1, "rejected": 2}\n' * 200_000)
    with pytest.raises(Ended, match="takes more than 1 s of processor time"):
        everything(slow, Limits(cpu=1))


def test_a_child_that_is_killed_is_told_of_and_one_that_nobody_wants_is_ended(
    tmp_path: Path,
) -> None:
    path = jsonl(tmp_path / "x.jsonl", *pairs(20_000, "x" * 200))

    def killed() -> Iterator[int]:
        with opened(path) as (_, parts):
            for part in parts:
                yield len(part)
                for child in readers():
                    child.kill()

    with pytest.raises(Ended, match="somebody ended, or memory ran out"):
        sum(killed())
    with opened(path) as (_, parts):
        assert len(next(parts)) == 500
    assert readers() == []


def readers() -> list[psutil.Process]:
    """Return the children that read a file; the tests of other files have children as well."""
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if any("reader" in word for word in one.cmdline())]


def test_an_import_that_ends_early_says_what_is_stored_and_can_be_repeated(
    tmp_path: Path, every: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jsonl(tmp_path / "x.jsonl", *pairs(5))
    with Store.open(tmp_path / "data") as store:
        with monkeypatch.context() as few:
            few.setattr(reading, "Limits", lambda: Limits(rows=3))
            few.setattr("feedback.imports.AT_ONCE", 2)
            with pytest.raises(BadInput, match=r"more than 3 rows.*\(2 rows in front of that are"):
                import_file(store, path)
        done = import_file(store, path)
        assert (done["read"], done["stored"], done["duplicates"]) == (5, 3, 2)


def test_a_file_of_nothing_but_bad_rows_ends_early(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("feedback.imports.MAX_REFUSED", 3)
    monkeypatch.setattr("feedback.imports.AT_ONCE", 2)
    path = jsonl(tmp_path / "x.jsonl", PAIR, {}, {}, {}, PAIR, {})
    with Store.open(tmp_path / "data") as store:
        why = "more than 3 rows are refused, the last, row 6, as .* another format.*1 rows in front"
        with pytest.raises(BadInput, match=why):
            import_file(store, path, "trl")


# Bombs


def test_a_gzip_bomb_is_known_by_how_much_it_holds(tmp_path: Path, monkeypatch) -> None:
    """2 MB of the same row, packed to a thousandth; rows that differ pack 12 times and come in."""
    monkeypatch.setattr(packed, "RATIO_FROM", 1 << 20)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(PAIR) + "\n").encode() * 30_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(BadInput, match="unpacks to more than 100 times its size, as a bomb does"):
        next(read(path, "trl"))
    plain = "".join(json.dumps(one) + "\n" for one in pairs(12_000))
    path.write_bytes(gzip.compress(plain.encode()))
    assert next(read(path, "trl")).row == 1


def test_a_parquet_file_of_too_many_rows_gives_none(tmp_path: Path, monkeypatch) -> None:
    import pandas as pd

    path = tmp_path / "x.parquet"
    parquet.write_parquet(pd.DataFrame(pairs(11)), path)
    monkeypatch.setattr(parquet, "MAX_ROWS", 10)
    with pytest.raises(BadInput, match="has 11 rows, the limit is 10: split it"):
        next(read(path, "trl"))


def test_a_line_of_gigabytes_is_passed_over(tmp_path: Path, monkeypatch) -> None:
    """Sparse: it takes no room on the disk, and never more memory than the limit."""
    monkeypatch.setattr(json_rows, "MAX_LINE", 100_000)
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(PAIR).encode() + b'\n{"prompt": "')
        file.write(b"x" * 70_000)
        file.seek(20_000_000, os.SEEK_CUR)
        file.write(b'"}\n' + json.dumps(PAIR).encode() + b"\n")
    first, long, last = read(path, "trl")
    assert (first.row, last.row) == (1, 3)
    assert long == Refused(2, "the line has more than 100,000 bytes; split its text")


def test_numbers_that_are_none_and_utf_16_are_refused_or_kept(tmp_path: Path) -> None:
    """NaN is no JSON, but files have it: as a text it is refused, beside one it is kept as text."""
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"prompt": NaN, "chosen": "a", "rejected": "b"}\n'
        '{"prompt": "p", "chosen": "a", "rejected": "b", "score": Infinity, "x": "\\ud800"}\n'
    )
    bad, good = read(path, "trl")
    assert "prompt is float" in bad.why
    assert json.loads(good.extra) == {"score": "Infinity", "x": "\ud800"}
    assert good.extra.isascii()
    path.write_bytes(json.dumps(PAIR).encode("utf-16"))
    with pytest.raises(BadInput, match="is UTF-16; save it as UTF-8"):
        next(read(path, "trl"))
