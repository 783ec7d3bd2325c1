"""Verdicts that come together: each is kept or refused for itself, and all in one commit."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback.assignments import serve_items
from feedback.at_once import Kept, Said, keep_all
from feedback.votes import rating_of, vote_of
from storage.errors import BadInput, Conflict, NotFound
from storage.records import Labeler, Text, Vote
from storage.store import Store
from storage.writer import Writer
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def offered(store: Store, labeler: str, n: int, mode: str = "pairs") -> list[str]:
    items = serve_items(store, labeler, mode, n, random.Random(0))
    return [item.assignment for item in items]


def said(name: str, assignment: str, verdict: str = "left", **more: Any) -> Said:
    values = {"id": str(uuid.uuid4()), "assignment": assignment, "verdict": verdict, "revision": 0}
    event_of = rating_of if verdict in ("up", "down") else vote_of
    return Said(name, event_of, values | more)


def test_all_that_come_together_are_kept_in_one_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(store, 6)
    ada, thumbs = offered(store, "ada", 3), offered(store, "bob", 2, "thumbs")
    store.add([Labeler(name, "person") for name in ("ada", "bob")])
    commits: list[int] = []
    process = Writer._process
    monkeypatch.setattr(
        Writer,
        "_process",
        lambda self, group: (commits.append(len(group)), process(self, group))[1],
    )
    got = keep_all(store, [said("ada", one) for one in ada] + [said("bob", thumbs[0], "up")])
    assert [one.labeler for one in got if isinstance(one, Kept)] == ["ada"] * 3 + ["bob"]
    assert [one.verdict for one in got if isinstance(one, Kept)][3] == "up"
    assert commits == [4]
    assert store.count(Vote) == 3


def test_each_is_refused_for_itself_and_the_others_are_kept(store: Store) -> None:
    stock(store, 4)
    (first, second, third), (other,) = offered(store, "ada", 3), offered(store, "bob", 1)
    sent = said("ada", first, comment="of the one that counts")
    broken = Said("ada", lambda *_, **__: 1 / 0, {})
    got = keep_all(
        store,
        [
            sent,
            sent,  # a double click
            said("ada", other),
            said("ada", first, "right", comment="of one that comes too late"),
            said("ada", second, "sideways"),
            broken,
            said("\n", second),
            said("ada", third, "tie"),
        ],
    )
    kinds = [type(one) for one in got]
    assert kinds == [
        Kept, Kept, NotFound, Conflict, BadInput, ZeroDivisionError, BadInput, Kept
    ]  # fmt: skip
    assert [one.receipt.repeated for one in got if isinstance(one, Kept)] == [False, True, False]
    assert {vote.assignment: vote.verdict for vote in store.rows(Vote)}.keys() == {first, third}
    stored = store.texts(
        Text.of(text).id for text in ("of the one that counts", "of one that comes too late")
    )
    assert list(stored.values()) == ["of the one that counts"]


def test_nothing_to_keep_is_no_commit(store: Store) -> None:
    assert keep_all(store, []) == []
