"""Where several write at once, commits wait a moment for more; who writes alone never does."""

from __future__ import annotations

import threading
import time

import pytest

from storage import writer
from storage.records import Labeler
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
