"""Who judges what: the turns of simulated labelers over what there is to judge."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from feedback.assignments import skipped_items
from feedback.tastes import TASTES, Judged, Taste
from storage.errors import BadInput
from storage.records import Assignment, Prompt

if TYPE_CHECKING:
    from storage.store import Store

COPIER = "sim-copying-"  # how the names of those begin who follow somebody else


class Candidate(NamedTuple):
    """Something a simulated labeler can judge: the lengths that it reads, and what it likes."""

    id: str  # Comparison.id or Response.id
    done: int  # verdicts so far
    chars: int  # of `a`, or of the one answer
    other: float  # characters: of `b`, or the median that the one answer is compared with
    cost: float  # to the labelers' taste, of `a` or of the one answer: the smaller, the better
    other_cost: float  # of `b`, or the median that the one answer is compared with


def names_of(labelers: int, faulty: Sequence[str] = ()) -> list[str]:
    """Return the names of so many honest labelers, then of one for each fault that is named.

    Example:
        >>> names_of(2, ["left", "random", "left"])
        ['sim-1', 'sim-2', 'sim-left-1', 'sim-random-1', 'sim-left-2']
    """
    names = [f"sim-{i + 1}" for i in range(labelers)]
    seen: Counter[str] = Counter()
    for fault in faulty:
        seen[fault] += 1
        names.append(f"sim-{fault}-{seen[fault]}")
    return names


def room(store: Store, labelers: int = 1, thumbs: bool = False, faulty: Sequence[str] = ()) -> int:
    """Return how many more verdicts so many simulated labelers can cast on what there is."""
    items, names = _candidates(store, thumbs, TASTES["random"]), names_of(labelers, faulty)
    return len(items) * len(names) - len(_given(store, names, items, thumbs))


class Plan(NamedTuple):
    turns: list[tuple[str, Candidate]]  # (labeler, what to judge), in order
    before: int  # simulated assignments that were there already


def plan(store: Store, n: int, names: Sequence[str], thumbs: bool, seed: int, taste: Taste) -> Plan:
    """Return who judges what: `n` turns, the least judged first, everybody in turn."""
    items = _candidates(store, thumbs, taste)
    given = _given(store, names, items, thumbs)
    free = len(items) * len(names) - len(given)
    if n > free:
        what = "response" if thumbs else "comparison"
        raise BadInput(
            f"{n} simulated votes by {len(names)} labeler{'s' * (len(names) > 1)} need more than "
            f"there is: {len(items)} {what}s to judge, room for {free} votes. Make more with "
            f"`generate`, or use more labelers."
        )
    before = len(store.rows(Assignment, source="simulated"))
    order = random.Random(f"{seed}:{before}:order")
    items = sorted(items)
    order.shuffle(items)
    items.sort(key=lambda item: item.done)
    turns: list[tuple[str, Candidate]] = []
    while len(turns) < n:
        turns += _round(items, names, given, n - len(turns))
    return Plan(turns, before)


def _round(
    items: Sequence[Candidate], names: Sequence[str], given: set[tuple[str, str]], n: int
) -> Iterator[tuple[str, Candidate]]:
    """Yield up to `n` turns, each by the next labeler who is free, at most one for each item.

    A copier whose turn it is gets the item before, which somebody else has just judged.
    """
    last: Candidate | None = None
    made, turn = 0, len(given)
    for item in items:
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            if last and name.startswith(COPIER) and (name, last.id) not in given:
                given.add((name, last.id))
                yield name, last
                made += 1
                if made == n:
                    return
            elif (name, item.id) not in given:
                given.add((name, item.id))
                yield name, item
                made, turn, last = made + 1, turn + step + 1, item
                break
        if made == n:
            return


def _given(
    store: Store, names: Sequence[str], items: Sequence[Candidate], thumbs: bool
) -> set[tuple[str, str]]:
    """Return which of these labelers were given which of these items already."""
    known, ids = set(names), {item.id for item in items}
    places = store.rows(Assignment, source="simulated")
    pairs = {(p.labeler, p.response if thumbs else p.comparison) for p in places}
    return {(labeler, item) for labeler, item in pairs if labeler in known and item in ids}


def _candidates(store: Store, thumbs: bool, taste: Taste) -> list[Candidate]:
    """Return what can be judged: nothing empty, nothing skipped as a duplicate."""
    skipped = skipped_items(store)
    return (_responses if thumbs else _comparisons)(store, skipped, taste)


def _comparisons(store: Store, skipped: set[str], taste: Taste) -> list[Candidate]:
    frame = store.frame("comparisons")
    rows = [
        row
        for row in frame.itertuples()
        if row.chars_a
        and row.chars_b
        and row.text_a != row.text_b
        and row.comparison not in skipped
        and row.prompt not in skipped
    ]
    shown = [
        (row.prompt, text, chars, finished)
        for row in rows
        for text, chars, finished in (
            (row.text_a, row.chars_a, row.finished_a),
            (row.text_b, row.chars_b, row.finished_b),
        )
    ]
    costs = _costs(store, shown, taste)
    return [
        Candidate(row.comparison, int(row.votes), int(row.chars_a), int(row.chars_b), *both)
        for row, both in zip(rows, zip(costs[::2], costs[1::2], strict=True), strict=True)
    ]


def _responses(store: Store, skipped: set[str], taste: Taste) -> list[Candidate]:
    frame = store.frame("responses")
    rows = [
        row
        for row in frame.itertuples()
        if row.chars and row.model != "human" and row.prompt not in skipped
    ]
    costs = _costs(store, [(row.prompt, row.text, row.chars, row.finished) for row in rows], taste)
    lengths = _medians([(row.prompt, int(row.chars)) for row in rows])
    liked = _medians([(row.prompt, cost) for row, cost in zip(rows, costs, strict=True)])
    return [
        Candidate(
            row.response, int(row.ratings), int(row.chars), lengths(row.prompt), cost,
            liked(row.prompt),
        )
        for row, cost in zip(rows, costs, strict=True)
    ]  # fmt: skip


def _costs(store: Store, shown: Sequence[tuple[str, str, int, Any]], taste: Taste) -> list[float]:
    """Return what each answer (prompt, Text.id, characters, finished) costs to a taste; the texts
    are read only for a taste that reads them."""
    if not taste.reads:
        return [taste.cost(Judged(int(chars))) for _, _, chars, _ in shown]
    contents = store.texts({text for _, text, _, _ in shown})
    asked = {row.id: row for row in store.rows(Prompt, id=sorted({one[0] for one in shown}))}
    questions = {id: store.messages(row)[-1]["content"] for id, row in asked.items()}
    return [
        taste.cost(Judged(int(chars), contents[text], questions[prompt], known(ended)))
        for prompt, text, chars, ended in shown
    ]


def known(ended: Any) -> bool | None:
    """Return whether an answer stopped by itself, as a frame has it; None where it does not say."""
    return None if pd.isna(ended) else bool(ended)


def _medians(values: Sequence[tuple[str, float]]) -> Callable[[str], float]:
    """Return the function prompt → the median of its values, or of all where it has but one."""
    own: dict[str, list[float]] = {}
    for prompt, value in values:
        own.setdefault(prompt, []).append(value)
    overall = median(value for _, value in values) if values else 0
    return lambda prompt: median(own[prompt]) if len(own[prompt]) > 1 else overall
