"""Simulated labelers: to try the loop and the checks before people come.

They are marked as such wherever they appear: labelers "sim-1", "sim-2", … of kind "simulated", and
source "simulated" on every assignment and verdict. Their verdicts go the way that people's go: an
assignment with sides drawn by lot, "left" or "right" as seen, the same validation and store.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from feedback.assignments import skipped_items
from feedback.campaigns import default_campaign
from feedback.values import one_of, shown
from feedback.votes import new_rating, new_vote
from storage.errors import BadInput, UserError
from storage.records import Assignment, Labeler, Rating, Vote

if TYPE_CHECKING:
    from storage.store import Store

TASTES = ("shorter", "longer", "random")
CHUNK = 500  # verdicts in one group commit; progress is told after each
MAX_LABELERS = 1_000  # Choice: more than any study; keeps a typing slip from filling the table.


class Candidate(NamedTuple):
    """Something a simulated labeler can judge, and the lengths that it looks at."""

    id: str  # Comparison.id or Response.id
    done: int  # verdicts so far
    chars: int  # of `a`, or of the one answer
    other: float  # characters: of `b`, or the median that the one answer is compared with


def simulate_votes(
    store: Store,
    n: int,
    *,
    prefer: str = "shorter",
    noise: float = 0.1,
    left_bias: float = 0.0,
    labelers: int = 1,
    thumbs: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Cast `n` simulated verdicts, on what nobody has judged yet first, and say how many.

    A labeler takes the left answer blindly with probability `left_bias`; otherwise the shorter one
    (or the longer, or either), and the other one instead with probability `noise`. Length is in
    characters; equal lengths are decided by chance. With `thumbs` an answer is up when it is
    shorter than the median answer to its prompt, or, where it is the only one, than the median of
    all answers. No labeler judges the same thing twice. The same seed on the same store gives the
    same verdicts; run again, it goes on.

    Returns:
        {"votes": cast, "labelers": that cast any, "comparisons": judged (or responses rated)}

    Raises:
        BadInput: A setting is out of range, or there is too little to judge for `n` verdicts.
    """
    _check(n, prefer, noise, left_bias, labelers, thumbs)
    plan = _plan(store, n, labelers, thumbs, seed)
    rng = random.Random(f"{seed}:{plan.before}")
    taste = _Taste(prefer, noise, left_bias)
    campaign = default_campaign(store).id
    store.add([Labeler(f"sim-{i + 1}", "simulated") for i in range(labelers)])
    for start in range(0, n, CHUNK):
        part = plan.turns[start : start + CHUNK]
        places = [_place(campaign, labeler, item, thumbs, rng) for labeler, item in part]
        store.add(places)
        events = [_judge(p, item, taste, rng) for p, (_, item) in zip(places, part, strict=True)]
        for answer in store.append_many(events):
            if isinstance(answer, UserError):
                raise answer
        if progress:
            progress(f"{min(start + CHUNK, n)} of {n} simulated votes")
    return {
        "votes": n,
        "labelers": len({labeler for labeler, _ in plan.turns}),
        "comparisons": len({item.id for _, item in plan.turns}),
    }


def room(store: Store, labelers: int = 1, thumbs: bool = False) -> int:
    """Return how many more verdicts so many simulated labelers can cast on what there is."""
    items = _candidates(store, thumbs)
    return len(items) * labelers - len(_given(store, labelers, items, thumbs))


class _Taste(NamedTuple):
    prefer: str
    noise: float
    left_bias: float

    def takes_first(self, first: float, second: float, rng: random.Random) -> bool:
        """Return whether the first of two lengths is liked better, noise included."""
        if self.prefer == "random" or first == second:
            return rng.random() < 0.5
        liked = (first < second) == (self.prefer == "shorter")
        return liked != (rng.random() < self.noise)


class _Plan(NamedTuple):
    turns: list[tuple[str, Candidate]]  # (labeler, what to judge), in order
    before: int  # simulated assignments that were there already


def _plan(store: Store, n: int, labelers: int, thumbs: bool, seed: int) -> _Plan:
    """Return who judges what: `n` turns, the least judged first, everybody in turn."""
    items = _candidates(store, thumbs)
    given = _given(store, labelers, items, thumbs)
    free = len(items) * labelers - len(given)
    if n > free:
        what = "response" if thumbs else "comparison"
        raise BadInput(
            f"{n} simulated votes by {labelers} labeler{'s' * (labelers > 1)} need more than there "
            f"is: {len(items)} {what}s to judge, room for {free} votes. Make more with `generate`, "
            f"or use more labelers."
        )
    before = len(store.rows(Assignment, source="simulated"))
    order = random.Random(f"{seed}:{before}:order")
    items = sorted(items)
    order.shuffle(items)
    items.sort(key=lambda item: item.done)
    turns: list[tuple[str, Candidate]] = []
    while len(turns) < n:
        turns += _round(items, labelers, given, n - len(turns))
    return _Plan(turns, before)


def _round(
    items: Sequence[Candidate], labelers: int, given: set[tuple[str, str]], n: int
) -> Iterator[tuple[str, Candidate]]:
    """Yield up to `n` turns, at most one for each item, each by the next labeler who is free."""
    made, turn = 0, len(given)
    for item in items:
        for step in range(labelers):
            labeler = f"sim-{(turn + step) % labelers + 1}"
            if (labeler, item.id) not in given:
                given.add((labeler, item.id))
                yield labeler, item
                made, turn = made + 1, turn + 1
                break
        if made == n:
            return


def _given(
    store: Store, labelers: int, items: Sequence[Candidate], thumbs: bool
) -> set[tuple[str, str]]:
    """Return which of these labelers were given which of these items already."""
    names = {f"sim-{i + 1}" for i in range(labelers)}
    ids = {item.id for item in items}
    places = store.rows(Assignment, source="simulated")
    pairs = {(p.labeler, p.response if thumbs else p.comparison) for p in places}
    return {(labeler, item) for labeler, item in pairs if labeler in names and item in ids}


def _candidates(store: Store, thumbs: bool) -> list[Candidate]:
    """Return what can be judged: nothing empty, nothing skipped as a duplicate."""
    skipped = skipped_items(store)
    return (_responses if thumbs else _comparisons)(store, skipped)


def _comparisons(store: Store, skipped: set[str]) -> list[Candidate]:
    frame = store.frame("comparisons")
    return [
        Candidate(row.comparison, int(row.votes), int(row.chars_a), int(row.chars_b))
        for row in frame.itertuples()
        if row.chars_a
        and row.chars_b
        and row.text_a != row.text_b
        and row.comparison not in skipped
        and row.prompt not in skipped
    ]


def _responses(store: Store, skipped: set[str]) -> list[Candidate]:
    frame = store.frame("responses")
    rows = [
        row
        for row in frame.itertuples()
        if row.chars and row.model != "human" and row.prompt not in skipped
    ]
    lengths: dict[str, list[int]] = {}
    for row in rows:
        lengths.setdefault(row.prompt, []).append(int(row.chars))
    overall = median(int(row.chars) for row in rows) if rows else 0
    own = {prompt: median(chars) for prompt, chars in lengths.items() if len(chars) > 1}
    return [
        Candidate(row.response, int(row.ratings), int(row.chars), own.get(row.prompt, overall))
        for row in rows
    ]


def _place(
    campaign: str, labeler: str, item: Candidate, thumbs: bool, rng: random.Random
) -> Assignment:
    """Return the assignment of an item to a simulated labeler, with its sides drawn."""
    return Assignment(
        id=_uuid(rng),
        campaign=campaign,
        labeler=labeler,
        comparison="" if thumbs else item.id,
        response=item.id if thumbs else "",
        left="" if thumbs else rng.choice("ab"),
        kind="plain",
        source="simulated",
    )


def _judge(place: Assignment, item: Candidate, taste: _Taste, rng: random.Random) -> Vote | Rating:
    """Return the labeler's verdict, said as a person says it: by side, or by thumb."""
    id = _uuid(rng)
    if place.response:
        up = taste.takes_first(item.chars, item.other, rng)
        return new_rating(place, id=id, verdict="up" if up else "down", revision=0)[0]
    left, right = (item.chars, item.other) if place.left == "a" else (item.other, item.chars)
    blindly = rng.random() < taste.left_bias
    takes_left = blindly or taste.takes_first(left, right, rng)
    return new_vote(place, id=id, verdict="left" if takes_left else "right", revision=0)[0]


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _check(
    n: int, prefer: str, noise: float, left_bias: float, labelers: int, thumbs: bool
) -> None:
    """Refuse settings out of range, each by its name."""
    one_of(prefer, TASTES, "prefer")
    _whole(n, "votes", 10_000_000)
    _whole(labelers, "labelers", MAX_LABELERS)
    for name, share in (("noise", noise), ("left_bias", left_bias)):
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise BadInput(f"{name} is {shown(share)}: use a share from 0 to 1.")
    if thumbs and left_bias:
        raise BadInput(f"left_bias is {left_bias}, but a thumb has no sides: leave one out.")


def _whole(value: Any, name: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadInput(f"{name} is {shown(value)}: use a whole number from 1 to {most:,}.")
