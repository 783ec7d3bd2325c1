"""What is measured while people vote: counts that move with each vote and never read all of them.

A vote adds what it says and takes away what it takes the place of. The counts are read from the
store once, and again when somebody excludes something or more happened than the store remembers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.news import Told
from storage.records import Assignment, Comparison, Response, Text, Vote
from storage.store import Store

Said = tuple[str, str, int]  # verdict; side of answer a or b on the left, or ""; sign of a's excess


@dataclass(frozen=True, slots=True)
class Meters:
    """How many of the votes that count say what."""

    said: Mapping[Said, int]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many votes there are of each verdict."""
        counts: Counter[str] = Counter()
        for (verdict, _, _), votes in self.said.items():
            counts[verdict] += votes
        return dict(sorted(counts.items()))

    @property
    def longer(self) -> tuple[int, int]:
        """Votes for the longer answer, of those for one of two answers of different length."""
        signs = {"a": 1, "b": -1}
        decided = [(v, longer, n) for (v, _, longer), n in self.said.items() if v in signs]
        won = sum(n for verdict, longer, n in decided if signs[verdict] == longer)
        return won, sum(n for _, longer, n in decided if longer)

    @property
    def left(self) -> tuple[int, int]:
        """Votes for the answer on the left, of those for one of two answers of recorded sides."""
        decided = [(v, left, n) for (v, left, _), n in self.said.items() if v in ("a", "b")]
        won = sum(n for verdict, left, n in decided if verdict == left)
        return won, sum(n for _, left, n in decided if left)


def live_meters(store: Store) -> Meters:
    """Return the meters of a data folder as they are now: 2 ms after a vote, at any size."""
    kept: _Kept = store.companions.setdefault(_Kept, _Kept(store))
    return kept.read()


class _Kept:
    """The counts of one open data folder, and the journal's number up to which they count."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._n: int | None = None
        self._said: Counter[Said] = Counter()
        self._out: set[tuple[str, str]] = set()  # (kind, item) of what is excluded

    def read(self) -> Meters:
        """Return the counts with what was accepted since the last time."""
        with self._lock:
            news = None if self._n is None else self._store.news(self._n)
            if news is None:
                self._read_all()
            elif news:
                self._take(news)
                self._n = news[-1].n
            return Meters({said: votes for said, votes in self._said.items() if votes})

    def _read_all(self) -> None:
        # An exclusion between the two reads is among the store's news: all is read again then.
        frame = self._store.frame("meters")
        excluded = self._store.frame("excluded")
        self._out = set(zip(excluded["kind"], excluded["item"], strict=True))
        self._n = int(frame["n"].iloc[0])
        counted = frame.dropna(subset=["verdict"])
        self._said = Counter(
            {
                (verdict, left, int(longer)): int(votes)
                for _, verdict, left, longer, votes in counted.itertuples(index=False)
            }
        )

    def _take(self, news: Iterable[Told]) -> None:
        """Add what votes say, and take away what they take the place of."""
        changes: list[tuple[Vote, int]] = []
        for told in news:
            changes += [(told.event, 1)] if isinstance(told.event, Vote) else []
            changes += [(told.before, -1)] if isinstance(told.before, Vote) else []
        changes = [change for change in changes if change[0].verdict != "undone"]
        pairs = self._store.found(Comparison, (vote.comparison for vote, _ in changes))
        sides = self._store.found(
            Response, (id for pair in pairs.values() for id in (pair.a, pair.b))
        )
        texts = self._store.found(Text, (side.text for side in sides.values()))
        places = self._store.found(Assignment, (vote.assignment for vote, _ in changes))
        for vote, change in changes:
            pair = pairs.get(vote.comparison)
            if pair is None or self._is_out(vote, pair):
                continue
            excess = texts[sides[pair.a].text].chars - texts[sides[pair.b].text].chars
            place = places.get(vote.assignment)
            longer = (excess > 0) - (excess < 0)
            self._said[vote.verdict, place.left if place else "", longer] += change

    def _is_out(self, vote: Vote, pair: Comparison) -> bool:
        named = {
            ("labeler", vote.labeler), ("source", vote.source), ("vote", vote.id),
            ("comparison", pair.id), ("prompt", pair.prompt), ("response", pair.a),
            ("response", pair.b),
        }  # fmt: skip
        return not named.isdisjoint(self._out)
