"""Where several write at once, commits wait a moment for more; who writes alone never does."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from storage import writer
from storage.records import Labeler, Vote
from storage.store import Store
from storage.writer import Writer

LONG = 60.0


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list that the writer's naps go to, instead of being slept."""
    taken: list[float] = []
    monkeypatch.setattr(writer.time, "sleep", taken.append)
    return taken


def test_who_writes_alone_waits_for_nobody(store: Store, naps: list[float]) -> None:
    for n in range(5):
        store.add([Labeler(f"labeler {n}", "person")])
    assert naps == []


def test_after_a_group_of_several_the_next_waits_for_more(
    store: Store, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five that came while one was written share a commit; the next gives others a moment."""
    begun, go_on, process = threading.Event(), threading.Event(), Writer._process
    sizes: list[int] = []

    def slowly(self: Writer, group: list[writer.Job]) -> None:
        sizes.append(len(group))
        begun.set()
        assert go_on.wait(10)
        process(self, group)

    monkeypatch.setattr(Writer, "_process", slowly)
    monkeypatch.setattr(writer, "COMMITTING", 1e-6)
    monkeypatch.setattr(writer, "MOST_SECONDS", LONG)  # so that a slow machine is in it, too
    adding = [
        threading.Thread(target=store.add, args=([Labeler(f"labeler {n}", "person")],))
        for n in range(6)
    ]
    adding[0].start()
    assert begun.wait(10)
    for one in adding[1:]:
        one.start()
    until = time.monotonic() + 10
    while store.waiting() < 5 and time.monotonic() < until:
        threading.Event().wait(0.01)
    go_on.set()
    for one in adding:
        one.join()
    store.add([Labeler("one more", "person")])
    store.add([Labeler("and one", "person")])
    assert sizes == [1, 5, 1, 1]
    assert len(naps) == 1  # after the five; none after the one
    assert 0 < naps[0] <= LONG
    assert store.count(Labeler) == 8


def test_events_that_go_together_share_a_commit_with_others_that_wait(
    store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of two votes and a labeler come while one is written: five commands, one commit.
    More than a group holds get a commit of their own."""
    begun, go_on, process = threading.Event(), threading.Event(), Writer._process
    sizes: list[int] = []

    def slowly(self: Writer, group: list[writer.Job]) -> None:
        sizes.append(len(group))
        begun.set()
        assert go_on.wait(10)
        process(self, group)

    monkeypatch.setattr(Writer, "_process", slowly)
    monkeypatch.setattr(writer, "GROUP", 8)
    votes = [make.vote(n) for n in range(13)]
    answers: dict[int, list[object]] = {}

    def append(first: int, last: int) -> None:
        answers[first] = list(store.append_many(votes[first:last]))

    going = [
        threading.Thread(target=store.add, args=([Labeler("first", "person")],)),
        threading.Thread(target=append, args=(0, 2)),
        threading.Thread(target=store.add, args=([Labeler("second", "person")],)),
        threading.Thread(target=append, args=(2, 4)),
        threading.Thread(target=append, args=(4, 13)),
    ]
    for waiting, one in enumerate(going):
        one.start()
        until = time.monotonic() + 10
        while (store.waiting() < waiting or not begun.is_set()) and time.monotonic() < until:
            threading.Event().wait(0.01)
    go_on.set()
    for one in going:
        one.join()
    assert sizes == [1, 5, 9]
    assert {first: len(got) for first, got in answers.items()} == {0: 2, 2: 2, 4: 9}
    assert store.count(Vote) == 13
