"""Simulated labelers: to try the loop and the checks before people come.

They are marked as such wherever they appear: labelers "sim-1", "sim-2", … ("sim-left-1" where one
has a fault) of kind "simulated", and source "simulated" on every assignment and verdict. Their
verdicts go the way that people's go: an assignment with sides drawn by lot, "left" or "right" as
seen, the same validation and store.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from feedback.campaigns import default_campaign
from feedback.faulty import FAULTS, MOST_SECONDS, Fault, Said, Sight, always_left, honest
from feedback.tastes import TASTES
from feedback.turns import Candidate, names_of, plan
from feedback.values import one_of, shown
from feedback.votes import new_rating, new_vote
from storage.errors import BadInput, UserError
from storage.records import Assignment, Labeler, Rating, Vote, now

if TYPE_CHECKING:
    from storage.store import Store

CHUNK = 500  # verdicts in one group commit; progress is told after each
MAX_LABELERS = 1_000  # Choice: more than any study; keeps a typing slip from filling the table.


def simulate_votes(
    store: Store,
    n: int,
    *,
    prefer: str = "shorter",
    noise: float = 0.1,
    left_bias: float = 0.0,
    labelers: int = 1,
    thumbs: bool = False,
    faulty: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Cast `n` simulated verdicts, on what nobody has judged yet first, and say how many.

    A labeler takes the left answer blindly with probability `left_bias`; otherwise the one that it
    likes better (`feedback.tastes`), and the other one instead with probability `noise`. Chance
    decides between equals. With `thumbs` an answer is up when it is better than the median answer
    to its prompt, or, where it is the only one, than the median of all answers. Each of `faulty` is
    one more labeler, with a fault of `feedback.faulty.FAULTS`, whose name says so: "sim-left-1". No
    labeler judges the same thing twice. The same seed on the same store gives the same verdicts;
    run again, it goes on.

    Returns:
        {"votes": cast, "labelers": that cast any, "comparisons": judged (or responses rated)}

    Raises:
        BadInput: A setting is out of range, or there is too little to judge for `n` verdicts.
    """
    _check(n, prefer, noise, left_bias, labelers, thumbs, faulty)
    names = names_of(labelers, faulty)
    turns, before = plan(store, n, names, thumbs, seed, TASTES[prefer])
    rng = random.Random(f"{seed}:{before}")
    most = max(Counter(labeler for labeler, _ in turns).values())
    begin = now() - timedelta(seconds=(MOST_SECONDS + 1) * most)
    taste = _Taste(noise, left_bias)
    evening = _Evening(begin, default_campaign(store).id, taste, rng)
    faults = dict(zip(names, [honest] * labelers + [FAULTS[f] for f in faulty], strict=True))
    store.add([Labeler(name, "simulated") for name in names])
    for start in range(0, n, CHUNK):
        made = [
            evening.rate(labeler, item) if thumbs else evening.vote(labeler, item, faults[labeler])
            for labeler, item in turns[start : start + CHUNK]
        ]
        store.add([place for place, _ in made])
        for answer in store.append_many([event for _, event in made]):
            if isinstance(answer, UserError):
                raise answer
        if progress:
            progress(f"{min(start + CHUNK, n)} of {n} simulated votes")
    return {
        "votes": n,
        "labelers": len({labeler for labeler, _ in turns}),
        "comparisons": len({item.id for _, item in turns}),
    }


class _Taste(NamedTuple):
    noise: float
    left_bias: float

    def likes_first(self, first: float, second: float, rng: random.Random) -> bool:
        """Return whether the first of two costs is the smaller one; by chance where neither is."""
        return rng.random() < 0.5 if first == second else first < second


class _Last(NamedTuple):
    """The latest verdict on a comparison, which a copier repeats."""

    verdict: str  # "a" or "b"
    at: datetime


class _Evening:
    """When each labeler votes, and what was said last: the times are those of people at their pace.

    They are made up, as the votes are: everybody begins at once, so long ago that the last vote
    lies in the past.
    """

    def __init__(self, begin: datetime, campaign: str, taste: _Taste, rng: random.Random) -> None:
        self.campaign, self.taste, self.rng = campaign, taste, rng
        self.begin = begin
        self.clocks: dict[str, datetime] = {}
        self.last: dict[str, _Last] = {}

    def rate(self, labeler: str, item: Candidate) -> tuple[Assignment, Rating]:
        """Return a labeler's thumb on an answer."""
        place = self._place(labeler, response=item.id)
        up = self.taste.likes_first(item.cost, item.other_cost, self.rng)
        said = honest(Sight("left" if up else "right", item.chars, 0), self.taste.noise, self.rng)
        verdict, id = "up" if said.side == "left" else "down", _uuid(self.rng)
        rating = new_rating(
            place, id=id, verdict=verdict, revision=0, seconds_spent=round(said.seconds, 1)
        )[0]
        shown, at = self._times(labeler, said.seconds)
        return replace(place, created_at=shown), replace(rating, created_at=at)

    def vote(self, labeler: str, item: Candidate, fault: Fault) -> tuple[Assignment, Vote]:
        """Return a labeler's verdict, said as a person says it: by side."""
        place = self._place(labeler, comparison=item.id, left=self.rng.choice("ab"))
        last = self.last.get(item.id)
        said = self._said(self._sight(place, item, last), fault)
        vote = new_vote(
            place,
            id=_uuid(self.rng),
            verdict=said.side,
            revision=0,
            seconds_spent=round(said.seconds, 1),
        )[0]
        shown, at = self._times(labeler, said.seconds)
        if said.copied and last:
            shown, at = last.at, last.at + timedelta(seconds=said.seconds)
        if said.side != "tie":
            self.last[item.id] = _Last(vote.verdict, at)
        return replace(place, created_at=shown), replace(vote, created_at=at)

    def _sight(self, place: Assignment, item: Candidate, last: _Last | None) -> Sight:
        seen, costs = (item.chars, item.other), (item.cost, item.other_cost)
        left, right = seen if place.left == "a" else seen[::-1]
        liked = costs if place.left == "a" else costs[::-1]
        better = "left" if self.taste.likes_first(*liked, self.rng) else "right"
        others = ("left" if last.verdict == place.left else "right") if last else ""
        return Sight(better, left, right, others)

    def _said(self, sight: Sight, fault: Fault) -> Said:
        if self.rng.random() < self.taste.left_bias:
            fault = always_left
        return fault(sight, self.taste.noise, self.rng)

    def _place(
        self, labeler: str, *, comparison: str = "", response: str = "", left: str = ""
    ) -> Assignment:
        return Assignment(
            id=_uuid(self.rng),
            campaign=self.campaign,
            labeler=labeler,
            comparison=comparison,
            response=response,
            left=left,
            kind="plain",
            source="simulated",
        )

    def _times(self, labeler: str, seconds: float) -> tuple[datetime, datetime]:
        """Return when the item was shown to the labeler, and when they voted; the clock goes on."""
        shown = self.clocks.get(labeler, self.begin)
        at = shown + timedelta(seconds=seconds)
        self.clocks[labeler] = at + timedelta(seconds=1)
        return shown, at


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _check(
    n: int,
    prefer: str,
    noise: float,
    left_bias: float,
    labelers: int,
    thumbs: bool,
    faulty: Sequence[str],
) -> None:
    """Refuse settings out of range, each by its name."""
    one_of(prefer, tuple(TASTES), "prefer")
    _whole(n, "votes", 10_000_000)
    _whole(labelers, "labelers", MAX_LABELERS)
    for name, share in (("noise", noise), ("left_bias", left_bias)):
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise BadInput(f"{name} is {shown(share)}: use a share from 0 to 1.")
    for fault in faulty:
        one_of(fault, tuple(FAULTS), "faulty")
    if thumbs and faulty:
        raise BadInput(f"faulty is {shown(faulty[0])}, but a faulty labeler votes: leave one out.")
    if thumbs and left_bias:
        raise BadInput(f"left_bias is {left_bias}, but a thumb has no sides: leave one out.")


def _whole(value: Any, name: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadInput(f"{name} is {shown(value)}: use a whole number from 1 to {most:,}.")
