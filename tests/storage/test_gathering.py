"""Where several write at once, commits wait a moment for more; who writes alone never does."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from storage import writer
from storage.decide import Job
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


class Held:
    """Holds the writer up until it is let, and notes how many commands each commit has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        process = Writer._process

        def slowly(writer: Writer, group: list[Job]) -> None:
            self.sizes.append(len(group))
            self.begun.set()
            assert self.go_on.wait(10)
            process(writer, group)

        monkeypatch.setattr(Writer, "_process", slowly)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def test_who_writes_alone_waits_for_nobody(store: Store, naps: list[float]) -> None:
    for n in range(5):
        store.add([Labeler(f"labeler {n}", "person")])
    assert naps == []


def test_after_a_group_of_several_the_next_waits_for_more(
    store: Store, naps: list[float], held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five that came while one was written share a commit; the next gives others a moment."""
    monkeypatch.setattr(writer, "COMMITTING", 1e-6)
    monkeypatch.setattr(writer, "MOST_SECONDS", LONG)  # so that a slow machine is in it, too
    adding = [
        threading.Thread(target=store.add, args=([Labeler(f"labeler {n}", "person")],))
        for n in range(6)
    ]
    adding[0].start()
    assert held.begun.wait(10)
    for one in adding[1:]:
        one.start()
    until = time.monotonic() + 10
    while store.waiting() < 5 and time.monotonic() < until:
        threading.Event().wait(0.01)
    held.go_on.set()
    for one in adding:
        one.join()
    store.add([Labeler("one more", "person")])
    store.add([Labeler("and one", "person")])
    assert held.sizes == [1, 5, 1, 1]
    assert len(naps) == 1  # after the five; none after the one
    assert 0 < naps[0] <= LONG
    assert store.count(Labeler) == 8


def test_events_that_go_together_share_a_commit_with_others_that_wait(
    store: Store, make: SimpleNamespace, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of two votes and a labeler come while one is written: five commands, one commit.
    More than a group holds get a commit of their own."""
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
        while (store.waiting() < waiting or not held.begun.is_set()) and time.monotonic() < until:
            threading.Event().wait(0.01)
    held.go_on.set()
    for one in going:
        one.join()
    assert held.sizes == [1, 5, 9]
    assert {first: len(got) for first, got in answers.items()} == {0: 2, 2: 2, 4: 9}
    assert store.count(Vote) == 13
