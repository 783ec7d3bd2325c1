"""Readers and writers: what comes back, what is refused with its row, what a hostile file gets."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.exports import export_file
from feedback.formats import FORMATS, detect, read
from feedback.formats.csv_rows import guard, unguard
from feedback.formats.rows import Answer, RatingRow, Refused, VoteRow
from feedback.formats.votes import COLUMNS, NEEDED
from feedback.imports import import_file
from storage.errors import BadInput, NotFound, UserError
from storage.parquet import write_parquet
from storage.store import Store

SHARED = [HealthCheck.function_scoped_fixture]  # each example writes the same file anew
HEADER = ",".join(NEEDED)
USER = {"role": "user", "content": "Hi?"}
LONG_TALK = (
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "How are you?"},
)
WRITTEN = [name for name, format in FORMATS.items() if format.write]


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode("utf-8", "surrogatepass"))
    return path


def jsonl(path: Path, *rows: dict) -> Path:
    return write(path, *(json.dumps(row, ensure_ascii=False) for row in rows))


def one(path: Path, format: str = "auto"):
    (row,) = read(path, format)
    return row


def why(path: Path, format: str = "auto") -> str:
    row = one(path, format)
    assert isinstance(row, Refused)
    return row.why


def vote(**changes) -> dict:
    plain = {
        "prompt": "Hi?",
        "response_a": "A",
        "response_b": "B",
        "model_a": "m1",
        "model_b": "m2",
        "labeler": "ann",
        "verdict": "a",
        "left": "b",
        "created_at": "2026-11-23T09:30:00Z",
    }
    return {**plain, **changes}


# Round trips, over every entry

words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
said = words.filter(str.strip)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
messages = st.one_of(
    said.map(lambda text: ({"role": "user", "content": text},)),
    said.map(lambda text: (*LONG_TALK, {"role": "assistant", "content": text}, USER)),
    st.just(({"role": "user", "content": json.dumps([USER])},)),  # a text that looks like a list
)
risky = words | st.sampled_from(["", "=1+1", "'=1+1", " =1", "@x", "-", "\t", "a\r\nb", "\u2028"])


@st.composite
def vote_rows(draw) -> VoteRow:
    return VoteRow(
        row=1,
        prompt=draw(messages),
        a=Answer(draw(risky), draw(names)),
        b=Answer(draw(risky), draw(names)),
        verdict=draw(st.sampled_from(["a", "b", "tie", "both_bad", "skip"])),
        labeler=draw(names),
        left=draw(st.sampled_from(["", "a", "b"])),
        created_at=draw(
            st.none()
            | st.datetimes(datetime(1, 1, 3), datetime(9999, 1, 1), timezones=st.just(UTC))
        ),
        id=draw(st.just("") | names),
        comparison=draw(st.just("") | names),
        kind=draw(st.sampled_from(["plain", "repeat", "gold"])),
    )


def same(rows: list) -> list:
    """Return rows without what a written file does not hold: the number of the row."""
    return [
        (row.prompt, row.a, row.b, row.verdict, row.labeler, row.left, row.created_at, row.id,
         row.comparison, row.kind)
        for row in rows
    ]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED)
@given(
    rows=st.lists(vote_rows(), min_size=1, max_size=4), suffix=st.sampled_from([".csv", ".jsonl"])
)
def test_votes_come_back_exactly(tmp_path: Path, rows: list[VoteRow], suffix: str):
    path = tmp_path / f"votes{suffix}"
    assert FORMATS["votes"].write(path, rows) == len(rows)
    assert same(list(read(path, "votes"))) == same(rows)


@settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
@given(
    prompt=messages,
    texts=st.tuples(risky, risky),
    suffix=st.sampled_from([".jsonl", ".parquet"]),
    verdict=st.sampled_from(["a", "b"]),
)
def test_pairs_come_back_as_chosen_and_rejected(tmp_path: Path, prompt, texts, suffix, verdict):
    path = tmp_path / f"pairs{suffix}"
    a, b = texts
    rows = [VoteRow(1, prompt, Answer(a), Answer(b), verdict)]
    assert FORMATS["trl"].write(path, rows) == 1
    row = one(path, "trl")
    assert (row.prompt, row.verdict) == (prompt, "a")
    assert (row.a.text, row.b.text) == ((a, b) if verdict == "a" else (b, a))


@settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
@given(
    prompt=messages,
    text=risky,
    suffix=st.sampled_from([".jsonl", ".parquet"]),
    thumb=st.sampled_from(["up", "down"]),
)
def test_labels_come_back(tmp_path: Path, prompt, text, suffix, thumb):
    path = tmp_path / f"labels{suffix}"
    rows = [RatingRow(1, prompt, Answer(text), thumb)]
    assert FORMATS["trl-labels"].write(path, rows) == 1
    assert one(path, "trl-labels") == rows[0]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_is_recognised_in_its_own_files(tmp_path: Path, name: str):
    rows = [
        VoteRow(1, (USER,), Answer("A", "m"), Answer("B", "m"), "a"),
        RatingRow(2, (USER,), Answer("A"), "up"),
    ]
    path = tmp_path / "out.jsonl"
    assert FORMATS[name].write(path, rows) == 1
    assert FORMATS[detect(path)].read is FORMATS[name].read
    assert FORMATS[name].describe


@pytest.mark.parametrize("name", WRITTEN)
def test_a_failed_export_leaves_nothing_half_written(tmp_path: Path, name: str):
    def rows():
        yield VoteRow(1, (USER,), Answer("A"), Answer("B"), "a")
        yield RatingRow(2, (USER,), Answer("A"), "up")
        raise RuntimeError("the store went away")

    (tmp_path / "out.jsonl").write_text("the old one")
    with pytest.raises(RuntimeError):
        FORMATS[name].write(tmp_path / "out.jsonl", rows())
    assert (tmp_path / "out.jsonl").read_text() == "the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


# TRL


def test_trl_texts(tmp_path: Path):
    path = jsonl(tmp_path / "x.jsonl", {"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."})
    assert one(path) == VoteRow(1, (USER,), Answer("Hello!"), Answer("What."), "a")


def test_trl_messages(tmp_path: Path):
    row = {
        "prompt": list(LONG_TALK),
        "chosen": [{"role": "assistant", "content": "Fine."}],
        "rejected": [{"role": "assistant", "content": ""}],
    }
    assert one(jsonl(tmp_path / "x.jsonl", row)) == VoteRow(
        1, LONG_TALK, Answer("Fine."), Answer(""), "a"
    )


def test_trl_implicit_prompt_in_messages(tmp_path: Path):
    row = {
        "chosen": [*LONG_TALK, {"role": "assistant", "content": "Fine."}],
        "rejected": [*LONG_TALK, {"role": "assistant", "content": "Bad."}],
    }
    assert one(jsonl(tmp_path / "x.jsonl", row)) == VoteRow(
        1, LONG_TALK, Answer("Fine."), Answer("Bad."), "a"
    )


def test_trl_implicit_prompt_in_texts(tmp_path: Path):
    """The texts part within the word blue/black; the prompt ends before that word."""
    row = {"chosen": "The sky is blue.", "rejected": "The sky is black."}
    read_row = one(jsonl(tmp_path / "x.jsonl", row))
    assert read_row.prompt == ({"role": "user", "content": "The sky is"},)
    assert (read_row.a.text, read_row.b.text) == ("blue.", "black.")


def test_trl_implicit_prompt_in_transcripts(tmp_path: Path):
    row = {
        "chosen": "\n\nHuman: Hi?\n\nAssistant: Hello!\n\nHuman: How are you?\n\nAssistant: Fine.",
        "rejected": "\n\nHuman: Hi?\n\nAssistant: Hello!\n\nHuman: How are you?\n\nAssistant: Bad.",
    }
    assert one(jsonl(tmp_path / "x.jsonl", row)) == VoteRow(
        1, LONG_TALK[1:], Answer("Fine."), Answer("Bad."), "a"
    )


def test_trl_answers_that_repeat_the_prompt_lose_it(tmp_path: Path):
    """As in UltraFeedback's binarized set: a text prompt, and whole conversations."""
    row = {
        "prompt": "Hi?",
        "chosen": [USER, {"role": "assistant", "content": "Hello!"}],
        "rejected": [USER, {"role": "assistant", "content": "What."}],
        "score_chosen": 9.0,
    }
    assert one(jsonl(tmp_path / "x.jsonl", row)).a.text == "Hello!"


@pytest.mark.parametrize(
    ("label", "thumb"), [(True, "up"), (False, "down"), (1, "up"), ("False", "down")]
)
def test_trl_labels(tmp_path: Path, label, thumb):
    path = jsonl(tmp_path / "x.jsonl", {"prompt": "Hi?", "completion": "Hello!", "label": label})
    assert one(path) == RatingRow(1, (USER,), Answer("Hello!"), thumb)


def test_trl_parquet_with_message_lists(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "prompt": [list(LONG_TALK), [USER]],
            "chosen": [[{"role": "assistant", "content": "A"}]] * 2,
            "rejected": [[{"role": "assistant", "content": "B"}]] * 2,
            "score": [1.5, None],
        }
    )
    write_parquet(frame, tmp_path / "x.parquet")
    rows = list(read(tmp_path / "x.parquet", "auto"))
    assert [row.prompt for row in rows] == [LONG_TALK, (USER,)]
    assert [row.row for row in rows] == [1, 2]


def test_trl_parquet_with_a_missing_value_refuses_that_row(tmp_path: Path):
    frame = pd.DataFrame({"prompt": ["Hi?", "Ho?"], "chosen": ["A", None], "rejected": ["B", "C"]})
    write_parquet(frame, tmp_path / "x.parquet")
    good, bad = read(tmp_path / "x.parquet", "trl")
    assert good.a.text == "A"
    assert (bad.row, "chosen is missing" in bad.why) == (2, True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hi?", "chosen": "A"}, "rejected is missing"),
        ({"prompt": "Hi?", "completion": "A"}, "label is missing"),
        ({"prompt": "Hi?", "completion": "A", "label": "maybe"}, "'maybe'"),
        ({"prompt": "Hi?", "completion": "A", "label": [1]}, "true or false"),
        ({"prompt": "Hi?"}, "it has: prompt"),
        ({"prompt": " ", "chosen": "A", "rejected": "B"}, "the prompt is empty"),
        ({"prompt": [], "chosen": "A", "rejected": "B"}, "the prompt is empty"),
        ({"prompt": 5, "chosen": "A", "rejected": "B"}, "a text or a message list"),
        ({"prompt": "Hi?", "chosen": {"a": 1}, "rejected": "B"}, "a text or a message list"),
        (
            {"prompt": [{"role": "robot", "content": "x"}], "chosen": "A", "rejected": "B"},
            "'robot'",
        ),
        ({"prompt": [{"content": "x"}], "chosen": "A", "rejected": "B"}, "no role and content"),
        (
            {
                "prompt": [USER, {"role": "assistant", "content": "x"}],
                "chosen": "A",
                "rejected": "B",
            },
            "end it with a user's",
        ),
        ({"prompt": "Hi?", "chosen": [USER, USER], "rejected": "B"}, "one assistant message"),
        (
            {
                "prompt": [{"role": "user", "content": [{"type": "image"}]}],
                "chosen": "A",
                "rejected": "B",
            },
            "only text",
        ),
        ({"chosen": "same", "rejected": "same"}, "there is no prompt"),
        ({"chosen": "abc", "rejected": "xyz"}, "there is no prompt"),
    ],
)
def test_trl_rows_that_cannot_be_taken_say_why(tmp_path: Path, row: dict, said: str):
    assert said in why(jsonl(tmp_path / "x.jsonl", row), "trl")


# Votes


def test_a_vote_with_all_its_fields(tmp_path: Path):
    row = vote(id="v7", comparison="c7", verdict=" TIE ", extra="kept", more=1)
    assert one(jsonl(tmp_path / "x.jsonl", row)) == VoteRow(
        row=1,
        prompt=(USER,),
        a=Answer("A", "m1"),
        b=Answer("B", "m2"),
        verdict="tie",
        labeler="ann",
        left="b",
        created_at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
        id="v7",
        comparison="c7",
        extra='{"extra":"kept","more":1}',
    )


def test_a_conversation_in_a_csv_cell_is_a_json_list(tmp_path: Path):
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, NEEDED)
        writer.writeheader()
        writer.writerow(vote(prompt=json.dumps(LONG_TALK)))
        writer.writerow(vote(prompt="[not JSON]"))
        writer.writerow(vote(prompt="[1, 2]"))
    rows = [row.prompt for row in read(path, "auto")]
    assert rows[0] == LONG_TALK
    assert [prompt[0]["content"] for prompt in rows[1:]] == ["[not JSON]", "[1, 2]"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": None}, "the prompt is empty"),
        ({"prompt": 7}, "it has to be a text"),
        ({"response_a": 7}, "response_a is int '7'; it has to be a text"),
        ({"response_b": "x\0y"}, "response_b has a NUL character at position 1"),
        ({"response_b": "x\ud800"}, "response_b has half a character (surrogate U+D800)"),
        ({"verdict": "left"}, "'left'; it has to be one of a, b, tie, both_bad, skip"),
        ({"verdict": "undone"}, "'undone'"),
        ({"verdict": None}, "one of a, b"),
        ({"left": "c"}, "it has to be one of empty, a, b"),
        ({"labeler": " "}, "labeler is empty"),
        ({"labeler": "x" * 300}, "labeler has 300 characters"),
        ({"labeler": "a\nb"}, "control character"),
        ({"created_at": "yesterday"}, "'yesterday'; write it like 2026-11-23T09:30:00Z"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at is"),
    ],
)
def test_votes_that_cannot_be_taken_say_why(tmp_path: Path, changes: dict, said: str):
    path = write(tmp_path / "x.jsonl", json.dumps(vote(**changes)))
    assert said in why(path, "votes")


def test_an_empty_answer_and_an_unknown_model_are_taken(tmp_path: Path):
    row = one(
        jsonl(tmp_path / "x.jsonl", vote(response_a="", response_b=None, model_a="", left=""))
    )
    assert (row.a, row.b) == (Answer("", "imported"), Answer("", "m2"))


def test_missing_fields_are_named(tmp_path: Path):
    row = vote()
    del row["model_b"], row["left"]
    assert "the fields model_b, left are missing" in why(jsonl(tmp_path / "x.jsonl", row), "votes")


def test_a_csv_with_missing_columns_names_them(tmp_path: Path):
    path = write(
        tmp_path / "x.csv", "prompt,response_a,response_b,labeler,left,created_at", "a,b,c,d,,"
    )
    with pytest.raises(BadInput, match="the columns model_a, model_b, verdict are missing"):
        list(read(path, "votes"))


def test_ten_megabytes_of_text_are_refused_with_the_limit(tmp_path: Path):
    path = jsonl(tmp_path / "x.jsonl", vote(response_a="x" * 10_000_000), vote())
    refused, taken = read(path, "votes")
    assert "response_a has 10,000,000 characters, the limit is 1,000,000" in refused.why
    assert taken.row == 2


# Files


def test_other_rows_come_through_whatever_one_row_holds(tmp_path: Path):
    good = json.dumps(vote())
    bad = {
        2: good[:40],
        3: '{"prompt": "a", "prompt": "b"}',
        4: "[" * 100_000,
        5: '{"prompt": ' + "9" * 5_000 + "}",
        6: "[1, 2]",
        7: '"text"',
        8: "null",
    }
    lines = [bad.get(number, good) for number in range(1, 10)]
    rows = list(read(write(tmp_path / "x.jsonl", *lines), "votes"))
    refused = {row.row: row.why for row in rows if isinstance(row, Refused)}
    assert [row.row for row in rows if isinstance(row, VoteRow)] == [1, 9]
    assert "is the line cut off?" in refused[2]
    assert "the key 'prompt' is there twice" in refused[3]
    assert "nested too deeply" in refused[4]
    assert "4,300 digits" in refused[5]
    assert all("write an object {…}" in refused[row] for row in (6, 7, 8))


def test_a_line_that_is_not_utf8_is_refused_with_its_byte(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"prompt": "caf\xe9"}\n' + json.dumps(vote()).encode() + b"\n")
    refused, taken = read(path, "votes")
    assert (refused.row, refused.why) == (1, "byte 16 of the line is not UTF-8; save it as UTF-8")
    assert taken.row == 2


def test_line_separators_inside_a_text_do_not_split_a_line(tmp_path: Path):
    text = "one\u2028two\u2029three\x85four\x0bfive"
    row = one(jsonl(tmp_path / "x.jsonl", vote(response_a=text)))
    assert row.a.text == text


def test_a_byte_order_mark_blank_lines_and_no_last_line_feed_are_fine(tmp_path: Path):
    line = json.dumps(vote())
    path = write(tmp_path / "x.jsonl", "\ufeff" + line, "", "  ", line, end="\r\n")
    assert [row.row for row in read(path, "auto")] == [1, 4]
    path.write_text(line)
    assert [row.row for row in read(path, "auto")] == [1]


def test_right_to_left_and_odd_text_is_kept_exactly(tmp_path: Path):
    text = "שלום \u202eabc\u202c 👩‍👩‍👧 e\u0301 é \x01\x7f"
    assert one(jsonl(tmp_path / "x.jsonl", vote(response_a=text))).a.text == text


def test_a_csv_row_with_too_many_or_too_few_cells_is_refused(tmp_path: Path):
    good = "p,A,B,m,n,ann,a,,"
    path = write(tmp_path / "x.csv", HEADER, good, "p,A", good + ",x", good)
    rows = list(read(path, "votes"))
    assert [isinstance(row, Refused) for row in rows] == [False, True, True, False]
    assert rows[1].why == "the row has 2 cells, the header has 9 columns"


def test_a_csv_with_a_quote_that_is_never_closed_says_so(tmp_path: Path):
    path = write(tmp_path / "x.csv", HEADER, 'p,"A,B,m,n,ann,a,,')
    assert "unexpected end of data" in why(path, "votes")


def test_a_csv_that_is_not_utf8_refuses_the_row(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(HEADER.encode() + b"\np,caf\xe9,B,m,n,ann,a,,\np,A,B,m,n,ann,a,,\n")
    refused, taken = read(path, "votes")
    assert "response_a has half a character" in refused.why
    assert taken.row == 2


def test_a_csv_cell_may_be_larger_than_pythons_default_limit(tmp_path: Path):
    path = write(tmp_path / "x.csv", HEADER, "p," + "x" * 200_000 + ",B,m,n,ann,a,,")
    assert len(one(path).a.text) == 200_000


def _missing(folder: Path) -> Path:
    return folder / "none.jsonl"


def _file(name: str, content: bytes):
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "there is no such file"),
        (lambda folder: folder, "is a folder with no Parquet file"),
        (_file("x.jsonl", b""), "is empty"),
        (_file("x.csv", b"\xef\xbb\xbf \n"), "is empty"),
        (_file("x.jsonl", b"PAR1\x15\x04"), "its name says jsonl, but it holds parquet"),
        (_file("x.csv", b'{"prompt": 1}\n'), "its name says csv, but it holds jsonl"),
        (_file("x.parquet", b'{"prompt": 1}\n'), "is not a Parquet file"),
        (
            _file("x.jsonl", b"\x1f\x8b\x08\x00abc"),
            "its gzip is cut off or damaged; fetch the file again",
        ),
        (_file("x.zip", b"PK\x03\x04abc"), "holds a zip archive"),
        (_file("x.csv", "a,b".encode("utf-16")), "is UTF-16; save it as UTF-8"),
        (_file("x.bin", bytes(range(256)) * 4 + bytes(2000)), "holds binary data"),
        (_file("x.jsonl", bytes(range(128, 256)) * 20), "holds binary data, or text that is not"),
        (_file("x.jsonl", b"\x89PNG\r\n\x1a\n"), "holds a picture"),
        (_file("x.csv", "вопрос,ответ\nда,нет".encode("cp1251")), "text that is not UTF-8"),
        (_file("x.csv", b"prompt;chosen;rejected\na;b;c\n"), "save it with commas"),
        (_file("x.json", b'[{"prompt": 1}]'), "has prompt; no known format"),
        (_file("x.jsonl", b'[{"prompt": 1}]'), "its name says jsonl, but it holds json"),
        (_file("x.csv", b"a,a\n1,2\n"), "the column 'a' is there twice"),
        (_file("x.csv", b"pr\xe9f\xe9rence,other column names\n1,2\n"), "in UTF-8?"),
        (_file("x.jsonl", b'{"a\\n\\ud800": 1}\n'), "has a\\n\\ud800; no known format"),
        (_file("x.csv", b"question,answer\n1,2\n"), "has question, answer; no known format"),
        (_file("x.jsonl", b"not json\n"), "no known format"),
        (_file("x.parquet", b"PAR1" + b"\0" * 50), "x.parquet"),
    ],
)
def test_a_file_that_is_not_what_it_says_gets_one_clear_line(tmp_path: Path, make, said: str):
    with pytest.raises(UserError) as caught:
        list(read(make(tmp_path), "auto"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_format_names_those_there_are(tmp_path: Path):
    with pytest.raises(BadInput, match="'nope'; there are arena, argilla"):
        read(_missing(tmp_path), "nope")
    with pytest.raises(NotFound):
        list(read(_missing(tmp_path), "trl"))


# Formulas


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        "＝1",
        "'=1",
        "''@x",
    ],
)
def test_no_cell_of_an_exported_csv_is_a_formula(cell: str):
    assert guard(cell) == "'" + cell
    assert unguard(guard(cell)) == cell


@pytest.mark.parametrize("cell", ["", "a=1", "'twas", "''", "1 - 2", "(=1)"])
def test_other_cells_are_written_as_they_are(cell: str):
    assert guard(cell) == unguard(cell) == cell


@given(st.text())
def test_guarding_is_undone_exactly(cell: str):
    assert unguard(guard(cell)) == cell


def test_an_exported_csv_holds_no_live_cell_and_jsonl_holds_the_text_itself(tmp_path: Path):
    evil = '=HYPERLINK("http://evil.example")'
    rows = [
        VoteRow(
            1,
            ({"role": "user", "content": evil},),
            Answer(evil, evil),
            Answer("\n" + evil),
            "a",
            evil,
        )
    ]
    FORMATS["votes"].write(tmp_path / "x.csv", rows)
    with (tmp_path / "x.csv").open(newline="") as file:
        cells = list(csv.reader(file))[1]
    assert len(cells) == len(COLUMNS)
    assert not [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@"))]
    FORMATS["votes"].write(tmp_path / "x.jsonl", rows)
    assert json.loads((tmp_path / "x.jsonl").read_text())["response_a"] == evil


@pytest.mark.parametrize(
    ("name", "suffix"), [("trl", ".csv"), ("trl-labels", ".txt"), ("votes", ".parquet")]
)
def test_a_file_name_that_a_format_cannot_write_says_which_it_can(tmp_path: Path, name, suffix):
    with pytest.raises(BadInput, match="written as"):
        FORMATS[name].write(tmp_path / f"x{suffix}", [])


# Rankings


def ranked(tmp_path: Path, **row: Any) -> list[Any]:
    path = tmp_path / "ranked.jsonl"
    path.write_text(json.dumps({"prompt": "Why?", **row}) + "\n")
    assert detect(path) == "rankings"
    return list(read(path, "auto"))


def test_a_ranking_of_three_is_three_votes_for_the_better_one(tmp_path: Path):
    votes = ranked(tmp_path, responses=["best", "middle", "worst"], labeler="Ada")
    said = [(vote.a.text, vote.b.text, vote.verdict, vote.labeler) for vote in votes]
    assert said == [
        ("best", "middle", "a", "Ada"),
        ("best", "worst", "a", "Ada"),
        ("middle", "worst", "a", "Ada"),
    ]
    assert all(vote.prompt == ({"role": "user", "content": "Why?"},) for vote in votes)


def test_ranks_order_the_answers_and_equal_ones_tie(tmp_path: Path):
    answers = [{"text": "C", "model": "m3"}, {"text": "A", "model": "m1"}, {"text": "B"}]
    votes = ranked(tmp_path, responses=answers, ranks=[2, 1, 2])
    said = {(vote.a.text, vote.b.text): vote.verdict for vote in votes}
    assert said == {("A", "C"): "a", ("A", "B"): "a", ("C", "B"): "tie"}
    assert votes[0].a == Answer("A", "m1")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"responses": ["one"]}, "has 1 answers; a ranking has 2 to 16"),
        ({"responses": ["x"] * 17}, "has 17 answers"),
        ({"responses": "one"}, "responses is 'one'; it has to be a list"),
        ({"responses": ["a", "b"], "ranks": [1]}, "there are 1 ranks for 2 responses"),
        ({"responses": ["a", "b"], "ranks": [1, "x"]}, "ranks has 'x'"),
        ({"responses": ["a", "b"], "ranks": [1, True]}, "ranks has 'True'"),
        ({"responses": ["a", 3]}, "a response"),
    ],
)
def test_a_ranking_that_is_none_is_refused_with_its_row(tmp_path: Path, row: Any, why: str):
    (refused,) = ranked(tmp_path, **row)
    assert isinstance(refused, Refused)
    assert refused.row == 1
    assert why in refused.why


def test_rankings_leave_as_pairs_and_are_not_written(tmp_path: Path):
    """Four answers in order are six pairs; the same file again adds nothing."""
    path = jsonl(tmp_path / "ranked.jsonl", {"prompt": "Why?", "responses": ["A", "B", "C", "D"]})
    with Store.open(tmp_path / "data") as store:
        assert import_file(store, path)["stored"] == 6
        assert import_file(store, path)["duplicates"] == 6
        assert export_file(store, tmp_path / "pairs.jsonl", "trl")["written"] == 6
        with pytest.raises(BadInput, match="rankings is only read; export one of llama-factory, "):
            export_file(store, tmp_path / "x.jsonl", "rankings")
