"""What is remembered is what the database would say: rows, texts, counts, and what changed."""

from __future__ import annotations

import pytest

from storage import remembered
from storage.records import Campaign, Comparison, Labeler, Text, Vote
from storage.remembered import Remembered
from storage.store import Store
from tests.storage.conftest import assignment


def ada(name: str = "ada") -> Labeler:
    return Labeler(name, "person")


def test_what_was_read_once_is_not_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([ada(), text := Text.of("hello")])
    first = store.found(Labeler, ["ada"]), store.texts([text.id])
    monkeypatch.setattr(store._duck, "read", lambda work: pytest.fail("the database was asked"))
    assert (store.found(Labeler, ["ada"]), store.texts([text.id])) == first
    assert (first[0]["ada"].kind, first[1]) == ("person", {text.id: "hello"})


def test_what_is_not_there_yet_is_found_once_it_is(store: Store) -> None:
    assert store.get(Labeler, "ada") is None
    store.add([ada()])
    assert store.get(Labeler, "ada") is not None


def test_a_row_that_takes_anothers_place_is_read_anew(store: Store) -> None:
    store.add([Campaign("default", "Everything", "Read.", overlap=1)])
    assert store.found(Campaign, ["default"])["default"].overlap == 1
    store.update(Campaign("default", "Everything", "Read.", overlap=3))
    assert store.found(Campaign, ["default"])["default"].overlap == 3


def test_an_assignment_is_known_from_when_it_was_given(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote on it asks the database for nothing that the same process has just written."""
    place = assignment(1)
    store.add([place])
    monkeypatch.setattr(store._duck, "read", lambda work: pytest.fail("the database was asked"))
    assert store.get(type(place), place.id) == place


def test_counts_and_changes_move_with_every_commit(store: Store) -> None:
    before = store.changes(Labeler)
    assert store.count(Labeler) == 0
    store.add([ada(), ada("bob")])
    assert store.count(Labeler) == 2
    assert store.changes(Labeler) != before
    assert store.changes(Comparison) == store.changes(Vote)


def test_what_was_read_before_all_was_forgotten_is_not_kept() -> None:
    """A reader that began before a text was erased must not bring it back."""
    kept = Remembered()
    age = kept.age()
    kept.forget()
    kept.keep(age, Labeler, {"ada": ada()})
    kept.keep_texts(age, {"t": "erased"})
    assert kept.rows(Labeler, ["ada"]) == {} == kept.texts(["t"])
    assert kept.changes(Labeler) == (1, 0)


def test_memory_is_bounded() -> None:
    kept = Remembered(rows=3, chars=10)
    kept.keep(kept.age(), Labeler, {name: ada(name) for name in "abcde"})
    assert list(kept.rows(Labeler, "abcde")) == ["c", "d", "e"]
    for id, length in (("one", 6), ("two", 4), ("three", 5)):
        kept.keep_texts(kept.age(), {id: "x" * length})
    assert list(kept.texts(["one", "two", "three"])) == ["two", "three"]
    kept.keep_texts(kept.age(), {str(n): "" for n in range(remembered.BULK + 1)})
    assert kept.texts(["0"]) == {}
