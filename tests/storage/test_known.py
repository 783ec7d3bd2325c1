"""What memory says is not there is not there: whoever asks gets what the table would say."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from storage import known as room
from storage.duck import present
from storage.erase import Erasing
from storage.known import ABSENT, NOWHERE, SEVERAL, Known
from storage.records import Labeler, Text
from storage.store import Store
from storage.tables import COMMAND, TABLES

NAMES = ["", "ada", "é\u2028\U0001f600", "with, comma", "x" * 500, *(f"n{n}" for n in range(200))]
LABELERS = TABLES[Labeler]


def asked(store: Store, keys: list[str], least: int = 1) -> list[str]:
    with store._duck.cursor() as cursor:
        found = store._known.present(cursor, LABELERS, keys, least=least)
        assert sorted(found) == sorted(present(cursor, LABELERS, keys))
    return sorted(id for (id,) in found)


def test_all_that_is_there_is_found_also_what_came_since(store: Store) -> None:
    assert asked(store, NAMES) == []
    for start in range(0, len(NAMES), 41):
        part = NAMES[start : start + 41]
        store.add([Labeler(name, "person") for name in part])
        assert asked(store, NAMES) == sorted(NAMES[: start + 41])
        assert asked(store, part) == sorted(part)
        assert asked(store, [f"nobody {n}" for n in range(50)]) == []


@pytest.mark.parametrize("lately", [0, 7, 10_000])
def test_what_came_lately_is_known_by_itself_until_it_is_much(
    store: Store, monkeypatch: pytest.MonkeyPatch, lately: int
) -> None:
    monkeypatch.setattr(room, "LATELY", lately)
    assert asked(store, NAMES) == []
    hashes = store._known._tables[LABELERS.name]
    for n in range(0, 30, 3):
        store.add([Labeler(f"n{one}", "person") for one in range(n, n + 3)])
        assert len(hashes._lately) <= lately
        assert asked(store, NAMES) == sorted(f"n{one}" for one in range(n + 3))


def test_few_keys_are_asked_of_the_table_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Known, "_possible", lambda *_: 1 / 0)
    assert asked(store, NAMES[: SEVERAL - 1], least=SEVERAL) == []
    with pytest.raises(ZeroDivisionError):
        asked(store, NAMES[:SEVERAL], least=SEVERAL)


def test_what_was_erased_is_known_by_its_other_name(store: Store) -> None:
    store.add([Labeler(name, "person") for name in NAMES])
    assert len(asked(store, NAMES)) == len(NAMES)
    store.erase(Erasing(name="ada", pseudonym="erased-1"), "e1")
    assert asked(store, ["ada", "erased-1", "n1"]) == ["erased-1", "n1"]


def test_many_keys_are_found_by_their_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LATELY", 0)
    monkeypatch.setattr(room, "KEYS_PER_STATEMENT", 90)
    for start in range(0, len(NAMES), 50):
        store.add([Labeler(name, "person") for name in NAMES[start : start + 50]])
        asked(store, NAMES[:1])
    with monkeypatch.context() as without:
        without.setattr(room, "present", lambda cursor, table, keys, columns: [1 / 0 for _ in keys])
        with store._duck.cursor() as cursor:
            keys = [*reversed(NAMES), "nobody"]
            rows = store._known.present(cursor, LABELERS, keys, ("kind", "id"), least=1)
    assert sorted(rows) == sorted(("person", name) for name in NAMES)


@pytest.mark.parametrize("n", [2, len(NAMES)])
@pytest.mark.parametrize("place", [NOWHERE, 3])
def test_a_hash_that_several_keys_share_is_looked_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, n: int, place: int
) -> None:
    """All keys share it, or one that is not stored shares that of the fourth, which is."""
    store.add([Labeler(name, "person") for name in NAMES])
    right = room._Sorted.of

    def of(self: room._Sorted, hashes: Any) -> Any:
        found = right(self, hashes)
        return np.where((found == ABSENT) | (place == NOWHERE), place, found)

    monkeypatch.setattr(room._Sorted, "of", of)
    assert asked(store, [*NAMES[:n], "nobody"]) == sorted(NAMES[:n])


def test_hashes_are_sorted_with_their_rows() -> None:
    """Two hashes in two arrays, one of them twice: worked by hand."""
    some = room._Sorted(np.array([7, 2], np.uint64), np.array([0, 1]))
    both = room._Sorted.none().with_more(some).with_more(room._Sorted(some.hashes[:1], [2]))
    assert (both.hashes.tolist(), both.places.tolist()) == ([2, 7, 7], [1, 0, 2])
    assert both.of(np.array([2, 7, 9, 1], np.uint64)).tolist() == [1, NOWHERE, ABSENT, ABSENT]


def test_events_are_answered_once_whatever_is_remembered(
    store: Store, make: SimpleNamespace
) -> None:
    votes = [make.vote(n) for n in range(3 * SEVERAL)]
    store.append_many(votes[:SEVERAL])
    store._known.forget()
    answers = store.append_many(votes)
    assert [one.repeated for one in answers] == [True] * SEVERAL + [False] * (2 * SEVERAL)
    assert all(one.repeated for one in store.append_many(votes))
    with store._duck.cursor() as cursor:
        ids = [vote.id for vote in votes]
        assert len(store._known.present(cursor, COMMAND, ids)) == len(ids)


def test_many_threads_may_ask_while_another_adds(store: Store) -> None:
    """Eight readers ask for a hundred texts again and again; none misses one that was stored."""
    texts = [Text.of(f"text {n}") for n in range(100)]
    done, missed = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            sure = list(stored)
            with store._duck.cursor() as cursor:
                keys = [text.id for text in texts]
                found = store._known.present(cursor, TABLES[Text], keys)
            missed.extend(set(sure) - {id for (id,) in found})

    stored: list[str] = []
    readers = [threading.Thread(target=ask) for _ in range(8)]
    for reader in readers:
        reader.start()
    for text in texts:
        store.add([text])
        stored.append(text.id)
    done.set()
    for reader in readers:
        reader.join()
    assert missed == []
