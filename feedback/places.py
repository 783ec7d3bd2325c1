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


class Places(Moving):
    """The assignments of the labelers who asked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._of: dict[str, _Mine] = {}

    def waiting(self, labeler: str) -> list[Assignment]:
        """Return what a labeler was given on the screen and has not judged, oldest first."""
        with self.lock:
            return sorted(
                self._read(labeler).waiting.values(), key=lambda one: (one.created_at, one.id)
            )

    def had(self, labeler: str) -> Collection[str]:
        """Return the ids of the comparisons and responses that a labeler was ever given."""
        with self.lock:
            return frozenset(self._read(labeler).had)

    @contextmanager
    def giving(self, labeler: str, places: Sequence[Assignment]) -> Iterator[None]:
        """Take note of what a labeler gets; it waits for a verdict once it is stored, at the end.

        After an error what the labeler has is read anew.
        """
        with self.lock:
            self._read(labeler).had.update(one.comparison or one.response for one in places)
        try:
            yield
        except Exception:
            with self.lock:
                self._of.pop(labeler, None)
            raise
        with self.lock:
            self._read(labeler).waiting.update((one.id, one) for one in places)

    def _read(self, labeler: str) -> _Mine:
        self.follow()
        if labeler not in self._of:  # an event that comes meanwhile is taken twice: no harm
            frame = self.store.frame("own_places", labeler=labeler)
            waiting = self.store.found(Assignment, frame.loc[frame["waiting"], "assignment"])
            self._of[labeler] = _Mine(waiting, set(frame["item"]))
        return self._of[labeler]

    def read_all(self) -> int:
        self._of = {}
        return self.store.reached()

    def take(self, news: Sequence[Told]) -> None:
        for told in news:
            event = told.event
            mine = self._of.get(event.labeler)
            if mine is None or not isinstance(event, Vote | Rating):
                continue
            mine.had.add(event.comparison if isinstance(event, Vote) else event.response)
            if event.verdict != "undone":
                mine.waiting.pop(event.assignment, None)
            elif (place := self.store.get(Assignment, event.assignment)) is not None:
                mine.waiting |= {place.id: place} if place.source == "screen" else {}
