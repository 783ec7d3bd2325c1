"""What rows say beyond what Hone reads, and who judged: how both leave again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import erasing
from feedback.exports import export_file
from feedback.formats import read
from feedback.formats.unknown import MAX_EXTRA
from feedback.imports import import_file
from feedback.pseudonyms import FILE, Pseudonyms
from storage.records import Extra, Labeler, Rating, Text, Vote
from storage.store import Store
from tests.feedback.formats_at_hand import jsonl

PAIR = {"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."}
VOTE = {
    "prompt": "Hi?", "response_a": "Hello!", "response_b": "What.", "model_a": "m",
    "model_b": "n", "labeler": "ann", "verdict": "a", "left": "b",
    "created_at": "2026-11-23T09:30:00+00:00",
}  # fmt: skip
OTHERS = {"tag": "=1+1", "level": 2, "nested": {"b": [1, None], "a": "ü"}, "none": None}
KEPT = {"tag": "=1+1", "level": 2, "nested": {"b": [1, None], "a": "ü"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_unknown_fields_of_votes_leave_and_come_back(
    store: Store, tmp_path: Path, suffix: str
) -> None:
    path = jsonl(tmp_path / "x.jsonl", {**VOTE, **OTHERS}, {**VOTE, "prompt": "Ho?"})
    assert import_file(store, path)["stored"] == 2
    (kept,) = store.rows(Extra)
    assert json.loads(store.texts([kept.text])[kept.text]) == KEPT
    assert kept.id in {vote.id for vote in store.rows(Vote)}
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    export_file(store, first, "votes", names=True)
    with Store.open(tmp_path / "other") as other:
        assert import_file(other, first)["stored"] == 2
        export_file(other, second, "votes", names=True)
    assert second.read_bytes() == first.read_bytes()
    assert sorted(row.extra for row in read(first, "votes")) == ["", kept_text(KEPT)]


def kept_text(fields: dict) -> str:
    return json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def test_unknown_fields_go_with_a_labeler_who_is_erased(store: Store, tmp_path: Path) -> None:
    """Those of others stay, also where they say the same."""
    same, own = {"tag": "both"}, {"phone": "0151 2345678"}
    bob = {**VOTE, "labeler": "bob"}
    rows = [{**VOTE, **own}, {**VOTE, "prompt": "Ho?", **same}, {**bob, **same}]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    erasing.erase(store, erasing.find(store, "labeler", "ann"), by="lea")
    out = tmp_path / "out.jsonl"
    export_file(store, out, "votes")
    assert sorted(row.extra for row in read(out, "votes")) == ["", kept_text(same), kept_text(same)]
    assert not any("0151" in store.texts([one.text])[one.text] for one in store.rows(Extra))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_unknown_fields_of_pairs_and_labels_go_with_them(
    store: Store, tmp_path: Path, suffix: str
) -> None:
    label = {"prompt": "Why?", "completion": "So.", "label": True, "score": 0.5}
    bare = {**PAIR, "prompt": "Ho?"}
    path = jsonl(tmp_path / "x.jsonl", {**PAIR, "source": "web"}, label, bare)
    assert import_file(store, path)["stored"] == 3
    (rating,) = store.rows(Rating)
    kept = {one.id for one in store.rows(Extra)}
    assert rating.id in kept
    assert len(kept & {vote.id for vote in store.rows(Vote)}) == 1
    out = tmp_path / f"out.{suffix}"
    export_file(store, out, "trl")
    assert sorted(row.extra for row in read(out, "trl")) == ["", '{"source":"web"}']
    export_file(store, out, "trl-labels")
    found = sorted(row.extra for row in read(out, "trl-labels"))
    assert found == ["", "", '{"score":0.5}', '{"source":"web"}', '{"source":"web"}']


def test_unknown_fields_that_are_too_long_refuse_their_row(store: Store, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {**PAIR, "blob": "x" * MAX_EXTRA}, {**PAIR, "blob": "x"})
    result = import_file(store, path)
    assert (result["stored"], len(result["refused"])) == (1, 1)
    assert "the other fields have 100,011 characters" in result["refused"][0]["why"]


def test_equal_fields_are_stored_once(store: Store, tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "x.jsonl",
        {"responses": ["a", "b", "c"], "prompt": "Hi?", "tag": 1},
        {**PAIR, "prompt": "Ho?", "responses": ["d", "e"], "tag": 1},
    )
    assert import_file(store, path, "rankings")["stored"] == 4
    assert len(store.rows(Extra)) == 4
    texts = {text.content for text in store.rows(Text) if text.content.startswith("{")}
    assert len(texts) == 2  # of the first three votes, and of the last


# Who judged


def test_votes_leave_under_pseudonyms_unless_names_are_asked_for(
    store: Store, tmp_path: Path
) -> None:
    rows = [VOTE, {**VOTE, "labeler": "bob"}, {**VOTE, "prompt": "Ho?"}]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    store.add([Labeler("sim-1", "simulated")])
    out = tmp_path / "out.jsonl"
    export_file(store, out, "votes")
    text = out.read_text()
    assert "ann" not in text
    assert "bob" not in text
    who = [json.loads(line)["labeler"] for line in text.splitlines()]
    assert len(set(who)) == 2
    assert all(name.startswith("labeler-") for name in who)
    export_file(store, tmp_path / "again.jsonl", "votes")
    assert (tmp_path / "again.jsonl").read_text() == text
    assert Pseudonyms(store).of("ann") in who
    assert Pseudonyms(store).of("sim-1") == "sim-1"  # no person
    assert (store.data / FILE).stat().st_mode & 0o077 == 0
    with Store.open(tmp_path / "other") as other:
        assert Pseudonyms(other).of("ann") not in who
    export_file(store, out, "votes", names=True)
    named = [json.loads(line)["labeler"] for line in out.read_text().splitlines()]
    assert sorted(named) == ["ann", "ann", "bob"]


def test_an_export_under_pseudonyms_adds_nothing_to_its_own_folder(
    store: Store, tmp_path: Path
) -> None:
    import_file(store, jsonl(tmp_path / "x.jsonl", VOTE, {**VOTE, "labeler": "bob"}))
    export_file(store, tmp_path / "out.csv", "votes")
    result = import_file(store, tmp_path / "out.csv")
    assert (result["stored"], result["duplicates"], result["refused"]) == (0, 2, [])
