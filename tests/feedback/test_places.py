"""What a labeler was given is known from memory, as the store would say it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.assignments import serve_items
from feedback.curation import exclude
from feedback.places import Places
from feedback.seen import Item
from feedback.votes import cast_vote
from storage.records import Assignment
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def serve(store: Store, labeler: str, n: int) -> list[Item]:
    return serve_items(store, labeler, "pairs", n, random.Random(0))


def vote(store: Store, labeler: str, item: Item, verdict: str = "left", revision: int = 0) -> None:
    said = {"assignment": item.assignment, "verdict": verdict, "revision": revision}
    cast_vote(store, labeler, id=str(uuid.uuid4()), **said)  # type: ignore[arg-type]


def waiting(store: Store, labeler: str = "ada") -> list[str]:
    return [place.id for place in store.companions[Places].waiting(labeler)]


def test_a_verdict_takes_an_item_away_and_an_undo_brings_it_back(store: Store) -> None:
    stock(store, 3)
    one, two = serve(store, "ada", 2)
    assert waiting(store) == [one.assignment, two.assignment]
    vote(store, "ada", one)
    assert waiting(store) == [two.assignment]
    vote(store, "ada", one, "undone", 1)
    assert waiting(store) == [one.assignment, two.assignment]
    had = store.companions[Places].had("ada")
    store.companions[Places] = Places(store)  # as after a restart
    assert waiting(store) == [one.assignment, two.assignment]
    assert store.companions[Places].had("ada") == had


def test_what_is_being_stored_counts_as_given_also_when_all_is_read_anew(store: Store) -> None:
    """An exclusion makes everything be read again; what is on its way is not forgotten by it."""
    pairs = stock(store, 2)
    places = Places(store)
    given = Assignment("on its way", "default", "ada", pairs[0].id, "", "a", "plain", "screen")
    with places.giving("ada", [given]):
        assert pairs[0].id in places.had("ada")
        exclude(store, "comparison", pairs[1].id, reason="a test", by="lead")
        assert places.had("ada") == {pairs[0].id}
        assert places.waiting("ada") == []
        store.add([given])
    assert [one.id for one in places.waiting("ada")] == ["on its way"]


def test_what_could_not_be_stored_was_not_given(store: Store) -> None:
    pairs = stock(store, 1)
    places = Places(store)
    given = Assignment("lost", "default", "ada", pairs[0].id, "", "a", "plain", "screen")
    with pytest.raises(OSError, match="full"), places.giving("ada", [given]):
        raise OSError("full")
    assert (places.waiting("ada"), set(places.had("ada"))) == ([], set())


def test_of_somebody_new_the_store_is_asked_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of many may come at the same time; who was given something before is read."""
    pairs = stock(store, 2)
    store.add([Assignment("before", "default", "ada", pairs[0].id, "", "a", "plain", "screen")])
    places, asked = Places(store), []
    frame = store.frame

    def asking(name: str, **more: str) -> object:
        asked.append(name)
        return frame(name, **more)

    monkeypatch.setattr(store, "frame", asking)
    assert places.had("bob") == set()
    assert asked == ["given"]
    assert places.had("ada") == {pairs[0].id}
    assert asked == ["given", "own_places"]
