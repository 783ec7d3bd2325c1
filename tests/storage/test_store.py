"""What goes in comes out: rows by id, by fields, in order; texts, conversations, the campaign."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import BadInput, DiskFull, NotFound, StoreError
from storage.limits import Limits
from storage.records import Campaign, Labeler, Prompt, Response, Snapshot, Text, Vote
from storage.store import WHITE_SPACE, Store


def test_rows_that_are_there_already_are_left_alone(store: Store, make: SimpleNamespace) -> None:
    rows = make.comparison(0, ("yes", "no"))
    assert store.add(rows)[Response] == 2
    assert store.add(rows) == {type(row): 0 for row in rows}
    assert len(store.rows(Response)) == 2


def test_the_same_row_twice_in_one_call_is_new_once(store: Store) -> None:
    ada = Labeler("ada", "person")
    assert store.add([ada, ada]) == {Labeler: 1}


def test_a_record_comes_back_as_it_went_in(store: Store, make: SimpleNamespace) -> None:
    settings = {"temperature": 0.7, "stop": ["\x00", "\ud800"], "none": None}
    response = Response("r1", "p1", "t1", "m", "", settings, -(2**63), False, "test", make.monday)
    store.add([response])
    assert store.get(Response, "r1") == response
    assert store.get(Response, "r2") is None


def test_times_come_back_in_utc_whatever_zone_they_were_given_in(store: Store) -> None:
    """09:30 in Kathmandu (UTC+5:45) is 03:45 UTC."""
    there = datetime(2026, 11, 23, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    store.add([Labeler("ada", "person", there)])
    ada = store.get(Labeler, "ada")
    assert ada is not None
    assert ada.created_at == datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
    assert ada.created_at.tzinfo is UTC


@pytest.mark.parametrize("n", [1, 300])
def test_some_fields_of_many_records_come_by_their_ids(
    store: Store, make: SimpleNamespace, n: int
) -> None:
    store.add([row for one in range(n) for row in make.comparison(one, (f"a{one}", f"b{one}"))])
    ids = [f"r{one}a" for one in range(n)]
    found = store.columns(Response, [*ids, "nobody", ids[0]], ("model", "text"))
    records = store.found(Response, ids)
    assert found == {id: (records[id].model, records[id].text) for id in ids}
    assert store.columns(Response, [], ("text",)) == {}


def test_white_space_is_all_that_python_strips() -> None:
    assert [one for one in map(chr, range(sys.maxunicode + 1)) if one.isspace()] == [*WHITE_SPACE]


def test_texts_are_found_that_say_one_thing_but_for_white_space(store: Store) -> None:
    said = ["", "gone", " ", WHITE_SPACE, f"{WHITE_SPACE}gone", "gone\u3000", " \tgone\n\n"]
    others = ["Gone", "g one", "gone.", " a ", "\u200b", "é", " é"]
    store.add([Text.of(one) for one in (*said, *others)])
    assert store.saying(("", "gone")) == {Text.of(one).id for one in said}
    assert store.saying(()) == set()


def test_rows_are_filtered_ordered_and_limited(store: Store, make: SimpleNamespace) -> None:
    store.add([row for n in range(4) for row in make.comparison(n, ("a", "b" * n))])
    newest = store.rows(Response, order="-created_at, id", limit=3)
    assert [response.id for response in newest] == ["r3a", "r3b", "r2a"]
    assert [r.id for r in store.rows(Response, order="id", model="y")] == [
        "r0b",
        "r1b",
        "r2b",
        "r3b",
    ]
    assert [r.id for r in store.rows(Response, order="id", id=["r1a", "r3a", "r9"])] == [
        "r1a",
        "r3a",
    ]
    assert store.rows(Response, id=[]) == []
    assert len(store.rows(Response, seed=None)) == 8
    assert len(store.rows(Response, created_at=make.monday)) == 2


def test_an_unknown_field_is_a_mistake_in_the_program(store: Store) -> None:
    with pytest.raises(TypeError, match="no field 'colour'"):
        store.rows(Response, colour="red")


def test_texts_and_conversations_are_found_by_hash(store: Store, make: SimpleNamespace) -> None:
    store.add(make.comparison(0, ("yes", "no"), prompt="Is it?"))
    (prompt,) = store.rows(Prompt)
    assert store.messages(prompt) == [{"role": "user", "content": "Is it?"}]
    assert store.texts([Text.of("yes").id, "unknown", ""]) == {Text.of("yes").id: "yes"}
    many = [Text.of(f"text {n}") for n in range(300)]
    store.add(many)
    assert store.texts(text.id for text in many) == {text.id: text.content for text in many}
    with pytest.raises(NotFound, match="erased"):
        store.messages(Prompt("p", "gone", "p", "test"))


def test_the_campaign_is_the_one_row_that_changes(store: Store, data: Path) -> None:
    with pytest.raises(NotFound, match="'default'"):
        store.update(Campaign("default", "First", "", 1))
    store.add([Campaign("default", "First", "Be kind.", 1)])
    changed = Campaign("default", "First", "Be fair.", 3)
    store.update(changed)
    assert store.rows(Campaign) == [changed]
    store.close()
    with Store.open(data) as again:
        assert again.rows(Campaign) == [changed]


def test_an_event_does_not_slip_in_as_an_ordinary_row(store: Store, make: SimpleNamespace) -> None:
    with pytest.raises(TypeError, match="no events"):
        store.add([make.vote(0)])


def test_ten_thousand_rows_go_in_at_once(store: Store) -> None:
    texts = [Text.of(f"text {n}") for n in range(10_000)]
    assert store.add(texts) == {Text: 10_000}
    assert store.add([*texts, Text.of("one more")]) == {Text: 1}
    assert len(store.texts(text.id for text in texts)) == 10_000


def test_many_threads_read_and_write_at_once(store: Store, make: SimpleNamespace) -> None:
    """8 threads, 25 votes each, every vote read back by its own thread: 200 votes."""
    failed: list[object] = []

    def work(thread: int) -> None:
        for n in range(thread * 25, thread * 25 + 25):
            store.add([make.assignment(n)])
            store.append(make.vote(n))
            if store.live(Vote, f"s{n}") != make.vote(n) or not store.rows(Vote, id=f"v{n}"):
                failed.append(n)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.rows(Vote)) == 200
    assert store.verify() == []


def test_a_file_that_could_not_be_opened_again_is_tried_again(
    store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk is full for a moment after an error that needs every connection closed."""
    store.append(make.vote(1))
    duck = store._duck

    def fails() -> None:
        raise duckdb.IOException("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(duck, "_connect", fails)
        with pytest.raises(DiskFull):
            duck.reopen(duck.generation)
        with pytest.raises(DiskFull):
            store.rows(Vote)
        with pytest.raises(DiskFull):
            store.append(make.vote(2))
    assert [vote.id for vote in store.rows(Vote)] == ["v1"]
    store.append(make.vote(2))
    assert store.verify() == []
    duck.close()
    with pytest.raises(StoreError, match="start Hone again"):
        store.rows(Vote)


def test_a_closed_store_says_so(store: Store, make: SimpleNamespace) -> None:
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.append(make.vote(0))
    with pytest.raises(StoreError, match="is closed"):
        store.rows(Vote)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (
            Labeler("a\x00b", "person"),
            "labeler.id cannot be stored: a NUL character at character 1",
        ),
        (Labeler("ab\udc80", "person"), "labeler.id .* a lone surrogate at character 2"),
        (Labeler("ada", "person", datetime(2026, 1, 1)), "labeler.created_at .* time with a zone"),
        (Text("abc", "not its hash", 12), "is not what its hash says"),
        (Campaign("c", "n", "g", 2**63), "campaign.overlap .* 64 bits"),
        (Campaign("c", "n", "g", True), "campaign.overlap .* not a whole number"),
        (Snapshot("s", "d", 1, 1, {"x": float("nan")}), "snapshot.settings"),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused(store: Store, row: Labeler, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        store.add([Labeler("eve", "person"), row])
    assert store.rows(Labeler) == []


def test_a_lone_surrogate_has_no_hash() -> None:
    with pytest.raises(BadInput, match=r"lone surrogate \(\\ud800\) at character 2"):
        Text.of("ab\ud800")


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=200)
KNOWN_ODD = [
    "‮right to left",
    "e\u0301",
    "\u00e9",
    "a\u2028b",
    "\ufeffbom",
    "👩‍👩‍👧",
    "\r\n",
    "'; --",
    "\x1b[0m",
    "",
]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(contents=st.lists(ODD, max_size=30).map(lambda odd: [*odd, *KNOWN_ODD]))
def test_odd_text_comes_back_exactly(store: Store, contents: list[str]) -> None:
    store.add([Text.of(content) for content in contents])
    ids = {Text.of(content).id: content for content in contents}
    assert store.texts(ids) == ids


def test_ten_megabytes_of_text_come_back(store: Store) -> None:
    big = Text.of("ü" * 5_000_000)
    store.add([big])
    assert store.texts([big.id])[big.id] == big.content


@pytest.mark.parametrize("alone", [False, True])
def test_who_answers_nobody_beside_lets_a_query_take_all_cores(tmp_path: Path, alone: bool):
    cores = len(os.sched_getaffinity(0))
    with Store.open(tmp_path / "data", Limits(alone=alone)) as store:
        (threads,) = store._duck.read(
            lambda cursor: cursor.execute("SELECT current_setting('threads')").fetchone()
        )
    assert int(threads) == (cores if alone else max(1, cores // 2))
