"""What is measured while people vote: counts that move with each vote and never read all of them.

A vote adds what it says and takes away what it takes the place of; see `feedback.moving`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from feedback.moving import Moving, Table, lengths
from storage.news import Told
from storage.records import JUDGE_APART, Comparison, Vote
from storage.store import Store

VERDICTS = ("a", "b", "tie", "both_bad")  # those that count for a majority
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


@dataclass(frozen=True, slots=True)
class Majorities:
    """What the votes alone give to learn from, as far as counts per comparison can tell.

    A snapshot may hold more (thumbs, edits) or less (blank answers, the same two texts in several
    comparisons, what was skipped as a repeat, remedies): `feedback.selection` counts that.
    """

    decided: int  # comparisons of which most votes are for one answer
    both_bad: int  # comparisons of which most votes say that both are bad

    @property
    def pairs(self) -> int:
        return self.decided

    @property
    def labels(self) -> int:
        """A good and a bad one of a decided comparison, two bad ones where both are bad."""
        return 2 * (self.decided + self.both_bad)


def live_meters(store: Store) -> Meters:
    """Return the meters of a data folder as they are now: under a millisecond after a vote."""
    kept: _Said = store.companions.setdefault(_Said, _Said(store))
    return kept.read()


def live_majorities(store: Store) -> Majorities:
    """Return what the votes of a data folder give to learn from now: as quick as the meters."""
    kept: _Majorities = store.companions.setdefault(_Majorities, _Majorities(store))
    return kept.read()


class _Counted(Moving):
    """Counts of the votes that are not excluded."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._out: set[tuple[str, str]] = set()  # (kind, item) of what is excluded

    def read_all(self) -> int:
        # An exclusion between the two reads is among the store's news: all is read again then.
        reached = self.count_all()
        excluded = self.store.frame("excluded")
        self._out = set(zip(excluded["kind"], excluded["item"], strict=True))
        return reached

    @abstractmethod
    def count_all(self) -> int:
        """Count every vote; return the journal's number up to which they are in."""

    def changes(self, news: Sequence[Told]) -> list[tuple[Vote, int]]:
        """Return what comes to the counts (1) and what goes (-1): votes that are not excluded."""
        found: list[tuple[Vote, int]] = []
        for told in news:
            found += [(told.event, 1)] if isinstance(told.event, Vote) else []
            found += [(told.before, -1)] if isinstance(told.before, Vote) else []
        found = [(vote, n) for vote, n in found if self._counts(vote)]
        out = self._compared_out({vote.comparison for vote, _ in found})
        return [(vote, n) for vote, n in found if vote.comparison not in out]

    def _counts(self, vote: Vote) -> bool:
        if vote.verdict == "undone" or vote.source == JUDGE_APART:
            return False
        named = {("labeler", vote.labeler), ("source", vote.source), ("vote", vote.id)}
        return named.isdisjoint(self._out)

    def _compared_out(self, comparisons: Collection[str]) -> set[str]:
        """Return those of the comparisons that are excluded, by their prompt or answers too."""
        if not {kind for kind, _ in self._out} & {"comparison", "prompt", "response"}:
            return set()
        return {
            pair.id
            for pair in self.store.found(Comparison, comparisons).values()
            if not {
                ("comparison", pair.id), ("prompt", pair.prompt), ("response", pair.a),
                ("response", pair.b),
            }.isdisjoint(self._out)
        }  # fmt: skip


class _Said(_Counted):
    """How many votes of one open data folder say what."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._said: Counter[Said] = Counter()

    def read(self) -> Meters:
        """Return the counts with what was accepted since the last time."""
        with self.lock:
            self.follow()
            return Meters({said: votes for said, votes in self._said.items() if votes})

    def count_all(self) -> int:
        lengths(self.store, ())  # read them now, and not with the first vote
        frame = self.store.frame("meters")
        counted = frame.dropna(subset=["verdict"])
        self._said = Counter(
            {
                (verdict, left, int(longer)): int(votes)
                for _, verdict, left, longer, votes in counted.itertuples(index=False)
            }
        )
        return int(frame["n"].iloc[0])

    def take(self, news: Sequence[Told]) -> None:
        """Add what votes say, and take away what they take the place of."""
        changes = self.changes(news)
        chars = lengths(self.store, {vote.comparison for vote, _ in changes})
        left = self.store.left_of(vote.assignment for vote, _ in changes)
        for vote, change in changes:
            if vote.comparison in chars:
                a, b = chars[vote.comparison]
                longer = (a > b) - (a < b)
                self._said[vote.verdict, left.get(vote.assignment, ""), longer] += change


class _Majorities(_Counted):
    """How often each comparison of one open data folder got each verdict, and what follows."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._votes: Table | None = None  # comparison → votes by verdict, in the order of VERDICTS
        self._won = [0] * len(VERDICTS)  # comparisons by the verdict that most of their votes have

    def read(self) -> Majorities:
        """Return the counts with what was accepted since the last time."""
        with self.lock:
            self.follow()
            a, b, _, both_bad = self._won
            return Majorities(a + b, both_bad)

    def count_all(self) -> int:
        lengths(self.store, ())  # which comparisons there are: read them now, as above
        frame = self.store.frame("majorities")
        counted = frame.dropna(subset=["comparison"])
        votes = counted[list(VERDICTS)].to_numpy(np.int32)
        self._votes = Table(counted["comparison"], votes)
        self._won = (2 * votes > votes.sum(axis=1, keepdims=True)).sum(axis=0).tolist()
        return int(frame["n"].iloc[0])

    def take(self, news: Sequence[Told]) -> None:
        """Add what votes say, and take away what they take the place of."""
        changes = [change for change in self.changes(news) if change[0].verdict in VERDICTS]
        placed = self.store.placed(vote.assignment for vote, _ in changes)
        known = lengths(self.store, (vote.comparison for vote, _ in changes))
        assert self._votes is not None
        votes = self._votes.found(known)
        for vote, change in changes:
            place = placed.get(vote.assignment)
            if vote.comparison in known and (place is None or place.kind != "repeat"):
                if vote.comparison not in votes:
                    votes[vote.comparison] = self._votes.add(vote.comparison, [0] * len(VERDICTS))
                self._move(votes[vote.comparison], VERDICTS.index(vote.verdict), change)

    def _move(self, votes: npt.NDArray[np.int32], verdict: int, change: int) -> None:
        before = _winner(votes)
        votes[verdict] += change
        for winner, one in ((before, -1), (_winner(votes), 1)):
            if winner is not None:
                self._won[winner] += one


def _winner(votes: npt.NDArray[np.int32]) -> int | None:
    """Return the verdict with more than half of the votes, if one has."""
    most = int(votes.argmax())
    return most if 2 * votes[most] > votes.sum() else None
