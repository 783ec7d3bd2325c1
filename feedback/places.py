"""What each labeler was given, and what of it waits for a verdict: in memory, moved with events.

Read from the store once for each labeler who asks for items. Afterwards `feedback.assignments` says
here what it gives; what an import adds to a labeler comes with a verdict, and is known by that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from feedback.moving import Moving
from storage.news import Told
from storage.records import Assignment, Rating, Vote
from storage.store import Store


@dataclass(slots=True)
class _Mine:
    waiting: dict[str, Assignment]  # by id, oldest first but for what was taken back
    had: set[str]  # comparisons and responses


def _item(place: Assignment) -> str:
    return place.comparison or place.response


class Places(Moving):
    """The assignments of the labelers who asked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._of: dict[str, _Mine] = {}
        self._others: set[str] = set()  # labelers of whom the store knows something
        self._coming: dict[str, list[Assignment]] = {}  # by labeler: what is not stored yet

    def waiting(self, labeler: str) -> list[Assignment]:
        """Return what a labeler was given on the screen and has not judged, oldest first."""
        with self.lock:
            return sorted(
                self._read(labeler).waiting.values(), key=lambda one: (one.created_at, one.id)
            )

    def had(self, labeler: str) -> Collection[str]:
        """Return the ids of the comparisons and responses that a labeler was ever given."""
        with self.lock:
            return self._read(labeler).had.union(map(_item, self._coming.get(labeler, ())))

    def coming(self, labeler: str) -> set[str]:
        """Return the ids of the comparisons and responses that are being stored for a labeler."""
        with self.lock:
            return set(map(_item, self._coming.get(labeler, ())))

    @contextmanager
    def giving(self, labeler: str, places: Sequence[Assignment]) -> Iterator[None]:
        """Count as given what is being stored; it waits for a verdict once it is, at the end."""
        with self.lock:
            self._coming.setdefault(labeler, []).extend(places)
        try:
            yield
            with self.lock:
                mine = self._read(labeler)
                mine.had.update(map(_item, places))
                mine.waiting.update((one.id, one) for one in places)
        finally:
            with self.lock:
                left = [one for one in self._coming.pop(labeler) if one not in places]
                self._coming |= {labeler: left} if left else {}

    def _read(self, labeler: str) -> _Mine:
        self.follow()
        if labeler not in self._of:  # an event that comes meanwhile is taken twice: no harm
            self._of[labeler] = self._stored(labeler)
        return self._of[labeler]

    def _stored(self, labeler: str) -> _Mine:
        if labeler not in self._others:  # somebody new: five hundred may come at the same time
            return _Mine({}, set())
        frame = self.store.frame("own_places", labeler=labeler)
        waiting = self.store.found(Assignment, frame.loc[frame["waiting"], "assignment"])
        return _Mine(waiting, set(frame["item"]))

    def read_all(self) -> int:
        self._of, reached = {}, self.store.reached()
        self._others = set(self.store.frame("given")["labeler"])
        return reached

    def take(self, news: Sequence[Told]) -> None:
        for told in news:
            event = told.event
            mine = self._of.get(event.labeler)
            self._others.add(event.labeler)
            if mine is None or not isinstance(event, Vote | Rating):
                continue
            mine.had.add(event.comparison if isinstance(event, Vote) else event.response)
            if event.verdict != "undone":
                mine.waiting.pop(event.assignment, None)
            elif (place := self.store.get(Assignment, event.assignment)) is not None:
                mine.waiting |= {place.id: place} if place.source == "screen" else {}
