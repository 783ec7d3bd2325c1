"""What the data screen shows of a file before it is imported, without a browser."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feedback.formats.generic import FIELDS
from feedback.screens import bring_in
from storage.errors import BadInput
from storage.records import Vote
from storage.store import Store

VIEW: Any = SimpleNamespace(
    columns={field: f"column {field}" for field in FIELDS},
    **{
        name: name
        for name in ("seen", "first", "mapping", "kind", "result", "refused", "counts", "upload")
    },
)
HEADER = ["Question", "Answer 1", "Answer 2", "Better?", "Rater", "<b>Notes</b>"]


def table(path: Path, *rows: list[str], header: list[str] = HEADER) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def row(verdict: str = "a", prompt: str = "Hi?") -> list[str]:
    return [prompt, "Hello!", "What.", verdict, "ann", "x"]


def cells(drawn: dict[Any, Any]) -> list[list[str]]:
    return drawn["first"].value["data"]


def test_a_table_of_ones_own_is_shown_with_its_likeliest_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", row(), row("perhaps"))
    drawn = bring_in.look(None, VIEW, path, "", "auto")
    assert "has the columns Question, Answer 1" in drawn["seen"]
    assert "<b>" not in drawn["seen"]
    assert drawn["mapping"].visible
    chosen = {field: drawn[one].value for field, one in VIEW.columns.items()}
    assert {field: name for field, name in chosen.items() if name} == {
        "prompt": "Question",
        "a": "Answer 1",
        "b": "Answer 2",
        "verdict": "Better?",
        "labeler": "Rater",
    }
    assert not drawn["column answer"].visible
    first, second = cells(drawn)
    assert first == ["1", "a, by ann", "Hi?", "A: Hello! · B: What."]
    assert second[1] == "refused"
    assert second[2].startswith("verdict is 'perhaps'")


def test_a_file_of_a_known_format_needs_no_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", ["Hi?", "Yes", "No"], header=["prompt", "chosen", "rejected"])
    drawn = bring_in.look(None, VIEW, path, "", "auto")
    assert "looks like **TRL pairs or labels**" in drawn["seen"]
    assert not drawn["mapping"].visible
    assert cells(drawn) == [["1", "a", "Hi?", "A: Yes · B: No"]]


def test_other_columns_are_shown_as_they_would_be_taken(tmp_path: Path) -> None:
    """Until every needed column is named, it is asked for."""
    path = table(tmp_path / "x.csv", row(), header=["q", "x", "y", "who wins", "r", "n"])
    drawn = bring_in.look(None, VIEW, path, "", "auto")
    assert "Say below what they hold" in drawn["seen"]
    names = {"prompt": "q", "a": "y", "b": "x", "verdict": "who wins"}
    columns = [names.get(field, "") for field in FIELDS]
    drawn = bring_in.look_again(None, VIEW, path, "", "auto", "pairs", *columns)
    assert cells(drawn) == [["1", "a", "Hi?", "A: What. · B: Hello!"]]
    thumbs = [{"prompt": "q", "answer": "x", "thumb": "r"}.get(field, "") for field in FIELDS]
    drawn = bring_in.look_again(None, VIEW, path, "", "auto", "thumbs", *thumbs)
    assert "thumb is 'ann'" in cells(drawn)[0][2]
    assert not drawn["column verdict"].visible


def test_what_is_named_on_the_screen_is_what_is_imported(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", row(), row("b", "Ho?"), row("perhaps"))
    columns = ["Question", "Answer 1", "Answer 2", "Better?", *[""] * (len(FIELDS) - 4)]
    with Store.open(tmp_path / "data") as store:
        workspace: Any = SimpleNamespace(store=store)
        *_, last = bring_in.bring_in(workspace, VIEW, path, "", "auto", "pairs", *columns, "link")
        assert "3 rows read, 2 stored, 0 duplicates, 1 refused" in last["result"]
        assert last["refused"].value["data"][0][0] == "3"
        assert {vote.labeler for vote in store.rows(Vote)} == {"imported"}


def test_nothing_chosen_and_no_such_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No file was chosen"):
        bring_in.look(None, VIEW, None, " ", "auto")
