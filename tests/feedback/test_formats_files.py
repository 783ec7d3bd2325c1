"""The kinds of files: gzip, JSON lists, TSV, Parquet, SQLite, folders; and what is hostile."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import duckdb
import pytest

from feedback.formats import detect, files, json_rows, packed, read
from feedback.formats.rows import Raw, Refused, VoteRow
from storage.errors import BadInput
from storage.sqlite import read_table
from tests.feedback import formats_at_hand as hand

PAIR = {"prompt": "Hi?", "chosen": "A", "rejected": "B"}


def raws(path: Path) -> list[Raw | Refused]:
    return list(files.read_rows(path, lambda columns: None))


# JSON lists


def test_a_json_list_is_read_element_by_element(tmp_path: Path):
    path = hand.listed(tmp_path / "x.json", PAIR, {**PAIR, "chosen": "C"})
    assert [row.a.text for row in hand.taken(path)] == ["A", "C"]
    assert [row.row for row in hand.taken(path)] == [1, 2]


def test_a_json_list_with_a_byte_order_mark_and_no_elements(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf [ ] ")
    assert raws(path) == []
    with pytest.raises(BadInput, match="has no row that can be read"):
        detect(path)


def test_json_lines_may_be_named_json(tmp_path: Path):
    assert len(hand.taken(hand.jsonl(tmp_path / "x.json", PAIR, PAIR))) == 2


def test_one_bad_element_refuses_its_row_alone(tmp_path: Path):
    good = json.dumps(PAIR)
    bad = ['{"prompt": "a", "prompt": "b"}', "[1]", '{"n": ' + "9" * 5_000 + "}", '"x"', "null"]
    path = tmp_path / "x.json"
    path.write_text("[" + ",\n".join([good, *bad, good]) + "]")
    found = hand.rows(path)
    assert [row.row for row in found if isinstance(row, VoteRow)] == [1, 7]
    why = {row.row: row.why for row in found if isinstance(row, Refused)}
    assert "the key 'prompt' is there twice" in why[2]
    assert "4,300 digits" in why[4]
    assert [why[n][:13] for n in (3, 5, 6)] == ["the row is a "] * 3


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ('[{"prompt": 1}, {"prom', 2, "is the file cut off?"),
        ('[{"prompt": 1} {"prompt": 2}]', 2, "Expecting ',' or ']'"),
        ('[{"prompt": 1},', 2, "Expecting value"),
        ('[{"prompt": 1}', 2, "Expecting ',' or ']'"),
        ("[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_broken_json_list_says_where_reading_ends(tmp_path: Path, text, row, said):
    path = tmp_path / "x.json"
    path.write_text(text)
    last = raws(path)[-1]
    assert isinstance(last, Refused)
    assert (last.row, said in last.why) == (row, True)


def test_a_json_list_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(json_rows, "MAX_LIST", 20)
    with pytest.raises(BadInput, match="a JSON list of more than 20 bytes; write one JSON object"):
        raws(hand.listed(tmp_path / "x.json", PAIR))


# TSV


def test_a_tsv_is_read_and_keeps_its_commas(tmp_path: Path):
    path = tmp_path / "x.tsv"
    path.write_text("prompt\tchosen\trejected\nHi, you?\tA, yes\t'=1+1\n")
    (row,) = hand.taken(path)
    assert (row.prompt, row.a.text, row.b.text) == (hand.asked("Hi, you?"), "A, yes", "=1+1")


def test_a_csv_that_holds_tabs_says_so(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("prompt\tchosen\trejected\n")
    with pytest.raises(BadInput, match=r"its name says csv, but it holds tsv; name it \.tsv"):
        read(path, "auto")


# gzip


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
def test_gzip_is_unpacked_on_the_way(tmp_path: Path, name: str):
    path = tmp_path / name
    comma = "\t" if name.endswith("tsv") else ","
    table = f"prompt{comma}chosen{comma}rejected\nHi?{comma}A{comma}B\n"
    text = {"x.jsonl": json.dumps(PAIR), "x.json": json.dumps([PAIR])}.get(name, table)
    path.write_text("\ufeff" + text, "utf-8")
    assert hand.taken(hand.packed(path)) == hand.taken(path)
    unnamed = tmp_path / "unnamed"
    unnamed.write_bytes(hand.packed(path).read_bytes())
    assert hand.taken(unnamed) == hand.taken(path)


def test_a_gzip_that_is_cut_off_stores_no_row_of_itself(tmp_path: Path):
    """Half of the rows could be read; but a file that was not fetched whole is fetched again."""
    rows = [{**PAIR, "prompt": f"{n * n} times {n}?"} for n in range(30_000)]
    whole = hand.packed(hand.jsonl(tmp_path / "x.jsonl", *rows)).read_bytes()
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(BadInput, match="its gzip is cut off or damaged; fetch the file again"):
        next(read(path, "trl"))
    path.write_bytes(whole[:-4000] + b"x" * 4000)
    with pytest.raises(BadInput, match="cut off or damaged"):
        next(read(path, "trl"))


def test_a_gzip_bomb_is_refused_before_its_first_row(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_UNPACKED", 3_000_000)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PAIR).encode() + b"\n" + b" " * 10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(BadInput, match="unpacks to more than 3,000,000 bytes; unpack it yourself"):
        next(read(path, "trl"))


def test_parquet_inside_gzip_is_to_be_unpacked(tmp_path: Path):
    path = tmp_path / "x.parquet"
    duckdb.execute(f"COPY (SELECT 'Hi?' AS prompt) TO '{path}' (FORMAT parquet)")
    with pytest.raises(BadInput, match="is parquet inside gzip; unpack it first"):
        raws(hand.packed(path))


# Parquet


def test_a_parquet_bomb_is_refused_and_takes_no_memory(tmp_path: Path):
    """2,000 times one text of a megabyte: 2 GB from a few kB; the file says it holds a few kB."""
    path = tmp_path / "x.parquet"
    text = "repeat('x', 1000000) AS prompt, 'A' AS chosen, 'B' AS rejected"
    duckdb.execute(f"COPY (SELECT {text} FROM range(2000)) TO '{path}' (FORMAT parquet)")
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInput, match="unpacks to 1,907 MB, over 500 times its size, as a bomb"):
        next(read(path, "trl"))


def test_the_rows_of_a_long_parquet_file_keep_their_order(tmp_path: Path):
    path = tmp_path / "x.parquet"
    columns = "'Q' || n AS prompt, 'A' AS chosen, 'B' AS rejected"
    duckdb.execute(f"COPY (SELECT {columns} FROM range(1001) t(n)) TO '{path}' (FORMAT parquet)")
    found = hand.taken(path)
    assert [row.row for row in found] == list(range(1, 1002))
    assert [row.prompt[0]["content"] for row in found] == [f"Q{n}" for n in range(1001)]


# Folders


def test_a_folder_of_parquet_files_is_read_in_the_order_of_their_names(tmp_path: Path):
    (tmp_path / "data").mkdir()
    for name, prompt in (("b", "Two?"), ("a", "One?")):
        target = tmp_path / "data" / f"train-{name}.parquet"
        columns = f"SELECT '{prompt}' AS prompt, 'A' AS chosen, 'B' AS rejected"
        duckdb.execute(f"COPY ({columns}) TO '{target}' (FORMAT parquet)")
    found = hand.taken(tmp_path)
    assert [row.prompt[0]["content"] for row in found] == ["One?", "Two?"]
    assert [row.row for row in found] == [1, 2]


@pytest.mark.filterwarnings("ignore")
def test_a_set_that_datasets_saved_is_read_split_by_split(tmp_path: Path):
    """Three rows in two files, and one in another split; what it computed beside them is not."""
    from datasets import Dataset, DatasetDict

    talk = [{"role": "user", "content": "Hi?"}]
    rows = [{**PAIR, "prompt": talk, "chosen": [hand.said(f"A{n}")], "score": n} for n in range(3)]
    rows = [{**row, "rejected": [hand.said("B")]} for row in rows]
    train, test = Dataset.from_list(rows), Dataset.from_list(rows[:1])
    sets = DatasetDict({"train": train, "test": test})
    sets.save_to_disk(str(tmp_path / "set"), num_shards={"train": 2, "test": 1})
    (tmp_path / "set" / "train" / "cache-1.arrow").write_bytes(b"x")
    found = hand.taken(tmp_path / "set")
    assert [row.a.text for row in found] == ["A0", "A0", "A1", "A2"]
    assert [row.row for row in found] == [1, 2, 3, 4]
    assert found[0].prompt == hand.asked()
    one = next((tmp_path / "set" / "test").glob("data-*.arrow"))
    assert [row.a.text for row in hand.taken(one)] == ["A0"]
    one.unlink()
    with pytest.raises(BadInput, match="which is not there; copy the whole set"):
        hand.rows(tmp_path / "set")


@pytest.mark.parametrize(
    "state", ["", "[]", "{}", '{"_data_files": [1]}', '{"_data_files": 5}', "[" * 100_000]
)
def test_a_saved_set_without_its_files_says_so(tmp_path: Path, state: str):
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(BadInput, match="names no data files; save the set again"):
        hand.rows(tmp_path)


def test_a_saved_set_names_no_file_outside_of_itself(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "x.arrow").write_bytes(b"secret")
    state = {"_data_files": [{"filename": "../x.arrow"}]}
    (tmp_path / "set" / "state.json").write_text(json.dumps(state))
    with pytest.raises(BadInput, match="names 'x.arrow', which is not there"):
        hand.rows(tmp_path / "set")


# SQLite


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def test_a_table_is_read_and_nothing_is_left_beside_the_file(tmp_path: Path):
    path = database(
        tmp_path / "a ?#%.db",
        "CREATE TABLE comparisons (prompt TEXT, n INTEGER)",
        "INSERT INTO comparisons VALUES ('Hi?', 1), (NULL, 2), (CAST(x'ff' AS TEXT), 3)",
    )
    columns, rows = read_table(path, "comparisons")
    assert columns == ["prompt", "n"]
    assert list(rows) == [("Hi?", 1), (None, 2), ("\udcff", 3)]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_sqlite_that_is_none_or_damaged_or_another_program_s_says_so(tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    with pytest.raises(BadInput, match="is not an SQLite file that can be read"):
        raws(path)
    insert = "INSERT INTO comparisons VALUES (hex(randomblob(500)))"
    database(tmp_path / "y.db", "CREATE TABLE comparisons (prompt TEXT)", *[insert] * 200)
    data = bytearray((tmp_path / "y.db").read_bytes())
    data[8192:60_000] = bytes(60_000 - 8192)
    path.write_bytes(data)
    with pytest.raises(BadInput, match="is damaged|is not an SQLite file"):
        raws(path)
    other = database(tmp_path / "z.db", "CREATE TABLE votes (prompt TEXT)")
    with pytest.raises(BadInput, match="has no table 'comparisons'; give another copy"):
        raws(other)
    view = "CREATE VIEW comparisons AS SELECT 1 AS prompt"
    with pytest.raises(BadInput, match="has no table 'comparisons'"):
        raws(database(tmp_path / "v.db", view))


def test_sqlite_that_is_being_written_is_not_read_without_its_log(tmp_path: Path):
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE comparisons (prompt TEXT)")
    connection.commit()
    with pytest.raises(BadInput, match="still in x.db-wal; stop the program that writes it"):
        raws(path)
    connection.close()
    assert raws(path) == []
