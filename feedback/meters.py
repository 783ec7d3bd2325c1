"""What is measured while people vote: counts that move with each vote and never read all of them.

A vote adds what it says and takes away what it takes the place of; see `feedback.moving`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from feedback.moving import Moving, lengths
from storage.news import Told
from storage.records import Comparison, Vote
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
    """Return the meters of a data folder as they are now: under a millisecond after a vote."""
    kept: _Kept = store.companions.setdefault(_Kept, _Kept(store))
    return kept.read()


class _Kept(Moving):
    """The counts of one open data folder."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._said: Counter[Said] = Counter()
        self._out: set[tuple[str, str]] = set()  # (kind, item) of what is excluded

    def read(self) -> Meters:
        """Return the counts with what was accepted since the last time."""
        with self.lock:
            self.follow()
            return Meters({said: votes for said, votes in self._said.items() if votes})

    def read_all(self) -> int:
        # An exclusion between the two reads is among the store's news: all is read again then.
        lengths(self.store, ())  # read them now, and not with the first vote
        frame = self.store.frame("meters")
        excluded = self.store.frame("excluded")
        self._out = set(zip(excluded["kind"], excluded["item"], strict=True))
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
        changes: list[tuple[Vote, int]] = []
        for told in news:
            changes += [(told.event, 1)] if isinstance(told.event, Vote) else []
            changes += [(told.before, -1)] if isinstance(told.before, Vote) else []
        changes = [change for change in changes if change[0].verdict != "undone"]
        changes = [change for change in changes if not self._is_out(change[0])]
        compared = {vote.comparison for vote, _ in changes}
        out = self._compared_out(compared)
        chars = lengths(self.store, compared)
        left = self.store.left_of(vote.assignment for vote, _ in changes)
        for vote, change in changes:
            if vote.comparison not in chars or vote.comparison in out:
                continue
            a, b = chars[vote.comparison]
            longer = (a > b) - (a < b)
            self._said[vote.verdict, left.get(vote.assignment, ""), longer] += change

    def _is_out(self, vote: Vote) -> bool:
        named = {("labeler", vote.labeler), ("source", vote.source), ("vote", vote.id)}
        return not named.isdisjoint(self._out)

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
