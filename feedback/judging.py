"""How far the judging is, and what one labeler judged lately: asked after every single verdict.

Both move with each event, so that they cost the same with a million votes as with ten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from feedback.moving import Moving, Numbers, Table, answer_chars, lengths
from feedback.nudges import SITTING, Judged
from storage.news import Told
from storage.records import JUDGE, JUDGE_APART, Comparison, Event, Rating, Vote
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of live verdicts, skips among them; a comparison is open until somebody judged."""

    mine_total: int
    mine_today: int
    votes_total: int
    ratings_total: int
    comparisons_total: int
    comparisons_open: int


def progress(store: Store, labeler: str, now: datetime) -> Progress:
    """Return how many votes and ratings a labeler and everybody cast, and what is left."""
    kept: _Tally = store.companions.setdefault(_Tally, _Tally(store))
    return kept.read(labeler, now)


def lately(store: Store, labeler: str, now: datetime) -> list[Judged]:
    """Return the labeler's live votes and ratings of the last hours (`SITTING`), oldest first."""
    kept: _Lately = store.companions.setdefault(_Lately, _Lately(store))
    counted: _Tally = store.companions.setdefault(_Tally, _Tally(store))
    return kept.read(labeler, now, lambda: counted.of(labeler, now))


class _Tally(Moving):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._day: datetime | None = None  # its midnight, UTC
        self._counts: Counter[tuple[str, str]] = Counter()  # ("vote", "rating" or "today", labeler)
        self._judged: Table | None = None  # comparison → people's live votes on it
        self._judged_total = 0

    def of(self, labeler: str, now: datetime) -> int:
        """Return how many live votes and ratings a labeler cast."""
        return self.read(labeler, now).mine_total

    def read(self, labeler: str, now: datetime) -> Progress:
        with self.lock:
            day = now.replace(hour=0, minute=0, second=0, microsecond=0)
            if day != self._day:
                self._day, self._n = day, None
            self.follow()
            compared = self.store.count(Comparison)
            count = self._counts
            return Progress(
                mine_total=count["vote", labeler] + count["rating", labeler],
                mine_today=count["today", labeler],
                votes_total=count["vote", ""],
                ratings_total=count["rating", ""],
                comparisons_total=compared,
                comparisons_open=compared - self._judged_total,
            )

    def read_all(self) -> int:
        frame = self.store.frame("tally", today=self._day)
        judged = frame[frame["what"] == "judged"]
        self._judged = Table(judged["item"], judged["n"].to_numpy(np.int32)[:, None])
        self._judged_total = len(judged)
        people = frame[frame["what"].isin(["vote", "rating", "today"])]
        self._counts = Counter()
        for what, item, n in people[["what", "item", "n"]].itertuples(index=False):
            self._counts[what, item] += int(n)
            self._counts[what, ""] += int(n)
        return int(frame["reached"].iloc[0])

    def take(self, news: Sequence[Told]) -> None:
        assert self._judged is not None
        events = [one for told in news for one in (told.event, told.before)]
        judged = self._judged.found({one.comparison for one in events if isinstance(one, Vote)})
        for told in news:
            self._move(told.event, 1, judged)
            self._move(told.before, -1, judged)

    def _move(self, event: Event | None, change: int, judged: dict[str, Numbers]) -> None:
        """Args: judged: what is known of the comparisons; those that are new are added."""
        if not isinstance(event, Vote | Rating) or event.verdict == "undone":
            return
        if event.source == JUDGE_APART:
            return
        what = "vote" if isinstance(event, Vote) else "rating"
        today = self._day is not None and event.created_at >= self._day
        for name in (what, "today") if today else (what,):
            self._counts[name, event.labeler] += change
            self._counts[name, ""] += change
        if isinstance(event, Vote) and event.verdict != "skip" and event.source != JUDGE:
            self._judge(event.comparison, change, judged)

    def _judge(self, comparison: str, change: int, judged: dict[str, Numbers]) -> None:
        assert self._judged is not None
        if comparison not in judged:
            judged[comparison] = self._judged.add(comparison, [0])
        votes = judged[comparison]
        before = votes[0] > 0
        votes[0] += change
        self._judged_total += int(votes[0] > 0) - int(before)


Place = tuple[type, str]  # kind of event, assignment


class _Lately(Moving):
    """What each labeler that was asked for judged in the last hours."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._of: dict[str, dict[Place, Judged]] = {}

    def read(self, labeler: str, now: datetime, cast: Callable[[], int]) -> list[Judged]:
        """Args: cast: how many live votes and ratings the labeler cast so far."""
        with self.lock:
            self.follow()
            since = now - SITTING
            if labeler not in self._of:  # an event that comes meanwhile is taken twice: no harm
                self._of[labeler] = self._stored(labeler, since) if cast() else {}
            mine = self._of[labeler]
            found = [one for one in mine.values() if one.at >= since]
            if len(found) < len(mine):
                self._of[labeler] = {place: one for place, one in mine.items() if one.at >= since}
            return sorted(found, key=lambda one: one.at)

    def _stored(self, labeler: str, since: datetime) -> dict[Place, Judged]:
        frame = self.store.frame("own_verdicts", labeler=labeler, since=since)
        return {
            (Vote if row.what == "vote" else Rating, row.assignment): Judged(
                row.verdict,
                None if row.seconds_spent != row.seconds_spent else row.seconds_spent,
                int(row.chars),
                row.created_at,
            )
            for row in frame.itertuples()
        }

    def read_all(self) -> int:
        self._of = {}
        return self.store.reached()

    def take(self, news: Sequence[Told]) -> None:
        events = [
            told.event
            for told in news
            if isinstance(told.event, Vote | Rating) and told.event.labeler in self._of
        ]
        chars = lengths(self.store, (one.comparison for one in events if isinstance(one, Vote)))
        rated = [one.response for one in events if isinstance(one, Rating)]
        of_answer = answer_chars(self.store, rated) if rated else {}
        left = self.store.left_of(one.assignment for one in events if isinstance(one, Vote))
        for one in events:
            mine, place = self._of[one.labeler], (type(one), one.assignment)
            mine.pop(place, None)
            if one.verdict == "undone":
                continue
            if isinstance(one, Vote):
                shown, said = chars.get(one.comparison), _seen(one, left.get(one.assignment, ""))
                size = sum(shown) if shown else None
            else:
                size, said = of_answer.get(one.response), one.verdict
            if size is not None:
                mine[place] = Judged(said, one.seconds_spent, size, one.created_at)


def _seen(vote: Vote, left: str) -> str:
    """Return a verdict as the labeler saw it: "left" or "right" where a side was chosen."""
    if vote.verdict not in ("a", "b"):
        return vote.verdict
    return "" if not left else "left" if vote.verdict == left else "right"
