"""Which of the open items a labeler gets next. Pure: candidates and a random source in, ids out.

Most items are new. Some, by chance, are silent repeats of what the labeler judged before or gold
items, whose right verdict is known: they measure the labeler, who is not told which they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import pandas as pd

PLAIN, REPEAT, GOLD = "plain", "repeat", "gold"  # `Assignment.kind`

# Choice: items between a comparison and its silent repeat, about five minutes of judging: the texts
# have left short-term memory, and a stock of 60 can still be measured.
REPEAT_AFTER = 30


class Random(Protocol):
    """What is needed of a random source: `random.Random` and NumPy's generators have it."""

    def random(self) -> float: ...


Wanted = tuple[bool, bool, bool, float, int]  # the smaller, the more wanted


class Candidate(NamedTuple):
    """An open item."""

    item: str
    prompt: str
    wanted: Wanted
    room: int  # to how many it may be given now


def candidates_of(
    frame: pd.DataFrame, *, item: str = "comparison", done: str = "votes"
) -> list[Candidate]:
    """Return the open items of one of the store's frames, a row each.

    Args:
        frame: With columns `item`, "prompt", "room" and `done`; optionally "duel", "contested" and
            "fresh" (bool) and "margin" (nats from 0, missing where nobody knows it).
        item: Name of the column with the ids.
        done: Name of the column with the number of verdicts so far.
    """
    marks = [_without(frame, mark) for mark in ("duel", "contested", "fresh")]
    margins = [math.inf] * len(frame)
    if "margin" in frame:
        margins = frame["margin"].astype(float).fillna(math.inf).tolist()
    wanted = zip(*marks, margins, map(int, frame[done]), strict=True)
    columns = zip(frame[item], frame["prompt"], wanted, map(int, frame["room"]), strict=True)
    return [Candidate(*row) for row in columns]


def choose(candidates: Iterable[Candidate], n: int, rng: Random) -> list[str]:
    """Return up to `n` ids, the most wanted first.

    Duels come first, because a decision waits for them; then contested items (as many say a as b),
    those of the round that goes on, since a model learns most from its own answers, those about
    which the policy is least sure, the least judged, prompts in turn, and chance. Among equally
    wanted items a prompt comes again only after every other prompt had its turn, because two items
    of one prompt in a row are judged against each other. Chance decides among equals, so that a
    file sorted by topic or by model does not become a labeler's afternoon.

    Args:
        candidates: Open items, in any order.
        n: How many ids to return at most.
        rng: Decides among equals; the same state gives the same answer whatever the order.

    Returns:
        Ids without repeats, in the order in which to show them.
    """
    if n <= 0:
        return []
    turns: dict[str, int] = {}
    ranked: list[tuple[Wanted, int, int, str]] = []
    for _, one in sorted(((one.wanted, rng.random()), one) for one in sorted(candidates)):
        turn = turns.get(one.prompt, 0)
        turns[one.prompt] = turn + 1
        ranked.append((one.wanted, turn, len(ranked), one.item))
    return [item for *_, item in sorted(ranked)[:n]]


def _without(candidates: pd.DataFrame, mark: str) -> list[bool]:
    """Return for each row whether it lacks a mark; nobody does where the column is not there."""
    return (
        [not has for has in candidates[mark]] if mark in candidates else [False] * len(candidates)
    )


class Chosen(NamedTuple):
    """An item and why it is shown."""

    item: str
    kind: str  # PLAIN, REPEAT or GOLD


def draw_kinds(n: int, repeats: float, gold: float, rng: Random) -> list[str]:
    """Return the kinds of the next `n` items, each drawn for itself, so that none can be foreseen.

    Args:
        repeats: Share of silent repeats, 0..1.
        gold: Share of gold items, 0..1; together with `repeats` at most 1.
    """
    drawn = [rng.random() for _ in range(n)] if repeats or gold else [1.0] * n
    return [REPEAT if x < repeats else GOLD if x < repeats + gold else PLAIN for x in drawn]


def mix(
    kinds: Sequence[str], new: Sequence[str], extra: Mapping[str, Sequence[str]]
) -> list[Chosen]:
    """Return the items to show, as many as kinds at most: an item of each kind while there is one.

    A kind that has nothing left gives a new item instead. Where there is no new item left, nothing
    comes: who has judged everything is done, and not measured for ever.

    Args:
        kinds: As drawn.
        new: New items in their order.
        extra: Kind -> the items that it may take, in their order.
    """
    waiting = list(new)
    others = {kind: list(items) for kind, items in extra.items()}
    chosen: list[Chosen] = []
    for kind in kinds:
        if not waiting:
            break
        taken = {one.item for one in chosen}
        left = [id for id in others.get(kind, []) if id not in taken]
        chosen.append(Chosen(left[0], kind) if left else Chosen(waiting.pop(0), PLAIN))
        waiting = [id for id in waiting if id != chosen[-1].item]
    return chosen
