"""Any columns, named or found; what a file looks like before it comes in; the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from feedback.formats import FORMATS, detect, preview, read
from feedback.formats.generic import THUMBS, VERDICTS, named_columns
from feedback.formats.rows import Answer, RatingRow, VoteRow
from storage.errors import BadInput
from tests.commandline import hone, write_lines
from tests.feedback import formats_at_hand as hand

NAMED = {"prompt": "ask", "a": "first", "b": "second", "verdict": "better"}
PAIR = {"question": "Hi?", "response_a": "Hello!", "response_b": "What.", "label": "b"}
RATED = {"prompt": "Hi?", "answer": "Hello!", "thumb": "up"}


def table(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_columns_that_are_named_are_read(tmp_path: Path):
    text = "\ufeffask;,first,second,better,who,stood,at\nHi?,'=1+1,What.,right,Ann,b,2026-03-01\n"
    named = {**NAMED, "prompt": "ask;", "labeler": "who", "left": "stood", "created_at": "at"}
    (row,) = read(table(tmp_path / "x.csv", text), "auto", named)
    assert row == VoteRow(
        row=1,
        prompt=hand.asked(),
        a=Answer("=1+1"),
        b=Answer("What."),
        verdict="a",  # b stood on the left, so a on the right
        labeler="Ann",
        left="b",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


def test_columns_of_the_usual_names_are_found(tmp_path: Path):
    path = table(tmp_path / "x.tsv", "question\tresponse_a\tresponse_b\tlabel\nHi?\tA\tB\tTie\n")
    assert detect(path) == "columns"
    assert hand.taken(path) == [VoteRow(1, hand.asked(), Answer("A"), Answer("B"), "tie")]
    path = hand.jsonl(tmp_path / "y.jsonl", {**RATED, "model": "m", "labeler": 7, "more": [1]})
    assert detect(path) == "columns"
    rating = RatingRow(1, hand.asked(), Answer("Hello!", "m"), "up", "7", '{"more":[1]}')
    assert hand.taken(path) == [rating]


def test_columns_of_parquet_and_messages_as_a_prompt(tmp_path: Path):
    path = tmp_path / "x.parquet"
    columns = "[{'role': 'user', 'content': 'Hi?'}] AS ask, 'A' AS text, true AS fine"
    duckdb.execute(f"COPY (SELECT {columns}) TO '{path}' (FORMAT parquet)")
    (row,) = read(path, "columns", {"prompt": "ask", "answer": "text", "thumb": "fine"})
    assert row == RatingRow(1, hand.asked(), Answer("A"), "up")


@pytest.mark.parametrize("word", [word for word in VERDICTS if VERDICTS[word] != "side"])
def test_every_word_for_a_verdict(tmp_path: Path, word: str):
    (row,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", {**PAIR, "label": f" {word.upper()} "}))
    assert row.verdict == VERDICTS[word]


@pytest.mark.parametrize("thumb", [*THUMBS, True, False, 1, 0, -1])
def test_every_word_for_a_thumb(tmp_path: Path, thumb: Any):
    (row,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", {**RATED, "thumb": thumb}))
    assert row.verdict == THUMBS[str(thumb).lower()]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**PAIR, "label": 1}, "verdict is '1'; it has to be one of a, model_a"),
        ({**PAIR, "label": "left"}, "verdict is 'left', but nothing says who stood left"),
        ({**PAIR, "label": "a", "left": "c"}, "left is 'c'"),
        ({**PAIR, "response_a": None}, "a is NoneType"),
        ({**PAIR, "response_b": "\ud800"}, "b has half a character"),
        ({**PAIR, "question": "  "}, "the prompt is empty"),
        ({**PAIR, "created_at": "soon"}, "created_at is 'soon'"),
        ({**RATED, "thumb": 5}, "thumb is '5'; it has to be one of up, like"),
        ({"prompt": "Hi?", "a": "x"}, "it has: prompt, a; name its columns for prompt, a, b"),
    ],
)
def test_rows_that_cannot_be_taken_say_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", row), "columns")
    assert said in why


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({**NAMED, "a": "third"}, "there is no column 'third'; it has: ask, first, second, better"),
        ({"prompt": "ask"}, "name its columns for prompt, a, b, verdict, or for prompt, answer"),
        ({"question": "ask"}, "there is no field 'question' to name; there are prompt, a, b"),
    ],
)
def test_a_table_without_the_named_columns_says_which_it_has(tmp_path: Path, named, said: str):
    path = table(tmp_path / "x.csv", "ask,first,second,better\nHi?,A,B,a\n")
    with pytest.raises(BadInput) as caught:
        list(read(path, "auto", named))
    assert said in str(caught.value)


def test_columns_are_named_for_no_format_that_names_its_own(tmp_path: Path):
    path = hand.jsonl(tmp_path / "x.jsonl", PAIR)
    with pytest.raises(BadInput, match="'trl' names its columns itself; leave the format out"):
        read(path, "trl", NAMED)


def test_named_columns_from_the_command_line():
    assert named_columns(["prompt=question", " a = x=y "]) == {"prompt": "question", "a": "x=y"}
    for pair in ("prompt", "=x", "prompt=", " = "):
        with pytest.raises(BadInput, match="names no column; write it like prompt=question"):
            named_columns([pair])
    with pytest.raises(BadInput, match="a is named twice, as x and y"):
        named_columns(["a=x", "a=y"])


# What a file looks like


def test_a_preview_names_the_format_and_the_first_rows(tmp_path: Path):
    rows = [PAIR, {**PAIR, "label": "?"}, PAIR, PAIR]
    path = hand.jsonl(tmp_path / "x.jsonl", *rows)
    seen = preview(path, rows=3)
    assert seen.format == "columns"
    assert [row.row for row in seen.rows] == [1, 3]
    assert [(row.row, "verdict is '?'" in row.why) for row in seen.refused] == [(2, True)]
    assert preview(path, columns={"prompt": "question"}, rows=1).rows[0].verdict == "b"
    assert preview(hand.jsonl(path, *rows[2:])).refused == ()


def test_a_preview_reads_no_more_than_it_shows(tmp_path: Path):
    path = table(tmp_path / "x.jsonl", json.dumps(PAIR) + "\n" + "[" * 100_000 + "\n")
    assert preview(path, rows=1).refused == ()


def test_each_format_is_seen_where_another_one_asks_for_less():
    """A file that looks like two formats is the first one's: llama-factory before trl."""
    both = {
        "llama-factory": {"instruction", "input", "chosen", "rejected"},
        "trl": {"prompt", "chosen", "rejected", "label"},
        "arena": {"winner", "conversation_a", "conversation_b", "prompt", "a", "b"},
        "votes": {"prompt", "response_a", "response_b", "verdict"},
        "argilla": {"prompt", "chosen", "rejected", "ranking.responses"},
        "columns": {"prompt", "a", "b", "label"},
    }
    for name, columns in both.items():
        assert next(one for one, format in FORMATS.items() if format.looks(columns)) == name


# The command line


def test_any_columns_come_in_from_the_command_line(tmp_path: Path):
    rows = [{"ask": f"What is {n} times {n * n}?", "first": "A", "second": "B", "better": "b"}
            for n in range(3)]  # fmt: skip
    path = write_lines(tmp_path / "mine.jsonl", rows)
    words = [f"--column={field}={column}" for field, column in NAMED.items()]
    done = hone("import", path, *words, "--json", data=tmp_path / "data")
    assert done.result == {"read": 3, "stored": 3, "duplicates": 0, "refused": []}
    assert "looks like" not in done.err  # nothing was found out: the columns were named
    told = hone("import", path, data=tmp_path / "data").refusal
    assert "has ask, first, second, better; no known format looks like that" in told
    told = hone("import", path, "--column", "prompt", data=tmp_path / "data").refusal
    assert told == "'prompt' names no column; write it like prompt=question"
    named = hone("import", path, "--column", "prompt=asked", data=tmp_path / "data").out
    assert "row 1: there is no column 'asked'; it has: ask, first, second, better" in named
    done = hone("import", write_lines(path, [PAIR]), "--json", data=tmp_path / "data")
    assert done.result["stored"] == 1
    assert "mine.jsonl looks like columns: any table or JSON with prompt" in done.err


def test_a_folder_without_parquet_is_refused_on_the_command_line(tmp_path: Path):
    (tmp_path / "set").mkdir()
    told = hone("import", tmp_path / "set", data=tmp_path / "data").refusal
    assert "is a folder with no Parquet file" in told
