"""The journal's files: whole lines, torn tails, rotation."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from storage.journal import Journal

BIG = 1 << 20


def written(folder: Path, count: int, rotate: int = BIG) -> Journal:
    journal = Journal(folder, rotate)
    for n in range(1, count + 1):
        journal.write([{"n": n, "do": "x", "text": f"ü\u2028{n}"}], [{"n": n, "content": "t"}])
    return journal


def numbers(journal: Journal, after: int = 0) -> list[int]:
    return [entry["n"] for entry in journal.entries(after)]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    journal = written(tmp_path / "j", 3)
    journal.close()
    again = Journal(tmp_path / "j", BIG)
    assert [entry["text"] for entry in again.entries()] == ["ü\u20281", "ü\u20282", "ü\u20283"]
    assert numbers(again, after=2) == [3]
    assert again.last == again.last_entry == 3
    again.close()


def test_every_line_is_json(tmp_path: Path) -> None:
    written(tmp_path / "j", 2).close()
    (path,) = (tmp_path / "j").glob("0*.jsonl")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["n"] for line in lines] == [1, 2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tail", [b'{"n":4,"do"', bytes(100), b'{"n":4,"crc":"00000000"}\n', b"\n"])
def test_a_torn_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    written(tmp_path / "j", 3).close()
    (path,) = (tmp_path / "j").glob("0*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    journal = Journal(tmp_path / "j", BIG)
    assert path.read_bytes() == whole
    journal.write([{"n": 4, "do": "x"}])
    assert numbers(journal) == [1, 2, 3, 4]
    journal.close()


def test_a_damaged_line_in_the_middle_is_skipped_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "j", 3).close()
    (path,) = (tmp_path / "j").glob("0*.jsonl")
    path.write_bytes(path.read_bytes().replace("ü\u20282".encode(), "ü\u20289".encode()))
    journal = Journal(tmp_path / "j", BIG)
    with caplog.at_level(logging.ERROR):
        assert numbers(journal) == [1, 3]
    assert "a damaged line was skipped" in caplog.text
    journal.close()


def test_files_are_rotated_and_read_from_the_right_one(tmp_path: Path) -> None:
    """Every line is longer than 20 bytes, so every line gets a file of its own."""
    journal = written(tmp_path / "j", 5, rotate=20)
    assert len(list((tmp_path / "j").glob("0*.jsonl"))) == 5
    assert numbers(journal) == [1, 2, 3, 4, 5]
    assert numbers(journal, after=3) == [4, 5]
    assert [text["n"] for text in journal.texts(after=4)] == [5]
    journal.close()
    again = Journal(tmp_path / "j", 20)
    again.write([{"n": 6}])
    assert numbers(again, after=4) == [5, 6]
    again.close()


def test_a_file_with_nothing_whole_in_it_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path / "j", 2, rotate=20).close()
    (tmp_path / "j" / f"{3:016d}.jsonl").write_bytes(b'{"n":3,')
    journal = Journal(tmp_path / "j", 20)
    assert journal.last_entry == 2
    journal.write([{"n": 3}])
    assert numbers(journal) == [1, 2, 3]
    journal.close()
