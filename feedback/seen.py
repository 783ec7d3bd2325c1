"""What a labeler sees of assignments: the prompt, the answers as they stand, what was said before.

An `Item` is all that a page learns before the vote: it names no model, also where an answer does so
itself, and does not say whether it is a repeat or gold. What is judged and stored is the answer as
it was written. Of a ranking (`feedback.ordering`) all assignments are one item.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from feedback.identity import mask_identity
from feedback.ordering import (
    SAME_FOR_ALL,
    left_of,
    letters_of,
    order_of,
    possible_places,
    ranking_of,
    wholes,
)
from feedback.values import one_of
from feedback.votes import SIDES, side_of
from storage.records import (
    Assignment,
    Campaign,
    Comparison,
    Edit,
    Message,
    Prompt,
    Rating,
    Response,
    Vote,
)

if TYPE_CHECKING:
    from storage.store import Store

# Choice: a page shows an item for minutes, not hours; after a break somebody else may have it.
LEASE_MINUTES = 30
LOOK_BACK = 100  # Choice: unanswered assignments that are offered again; a page holds about 5.
MAX_ITEMS = 50  # Choice: items in one answer; a page asks for about 4.


@dataclass(frozen=True, slots=True)
class Item:
    """What a labeler sees of an assignment."""

    assignment: str  # of a ranking its id
    mode: str  # one of MODES, or RANK
    revision: int  # of the next vote or rating on it
    edit_revision: int  # of the next edit on it
    prompt: tuple[Message, ...]
    left: str  # as shown: names that an answer gives itself or its maker are hidden
    right: str  # "" where one answer is rated
    masked: tuple[str, ...] = ()  # the sides, "left" or "right", whose stored text differs
    verdict: str = ""  # what the labeler said before, as seen: "left", "tie", "up", "B>A=C", …
    answers: tuple[str, ...] = ()  # of a ranking, those that stand as A, B, C and D, as shown


class Mode(NamedTuple):
    """What differs between judging two answers and rating one."""

    shows: str  # the assignment's field that names what is judged
    leaves: str  # the assignment's field that is empty
    event: type[Vote] | type[Rating]
    frame: str  # the store's query for open items
    done: str  # its column with the number of verdicts

    def of(self, place: Assignment) -> str:
        """Return the id of what an assignment shows."""
        return place.comparison if self.shows == "comparison" else place.response

    def wants(self, campaign: Campaign) -> dict[str, Any]:
        """Return how many judgements the campaign wants, and how long a lease lasts."""
        wanted = {
            "overlap": campaign.overlap, "lease_minutes": LEASE_MINUTES,
            "sources": campaign.sources, "models": campaign.models, "since": campaign.since,
        }  # fmt: skip
        return wanted | ({"shared": campaign.shared} if self.shows == "comparison" else {})


MODES: Mapping[str, Mode] = {
    "pairs": Mode("comparison", "response", Vote, "open_comparisons", "votes"),
    "thumbs": Mode("response", "comparison", Rating, "open_responses", "ratings"),
}

RANK = "rank"  # the mode of an item with three or four answers; asked for as "pairs"
Unit = list[Assignment]  # what is shown at once: one assignment, or all of a ranking


def history(store: Store, labeler: str, mode: str, n: int) -> list[Item]:
    """Return the labeler's last `n` verdicts that were not taken back, newest first."""
    one_of(mode, tuple(MODES), "mode")
    n = max(0, min(n, MAX_ITEMS))
    events: dict[str, Vote | Rating] = {}
    # Choice: four rows for each verdict asked for, as changes and undos are rows of their own.
    for event in store.rows(
        MODES[mode].event,
        order="-created_at, -revision",
        limit=4 * n + LOOK_BACK,
        labeler=labeler,
    ):
        events.setdefault(event.assignment, event)
    said = {id: event.verdict for id, event in events.items() if event.verdict != "undone"}
    firsts = list(dict.fromkeys(ranking_of(id) or id for id in said))[:n]
    places = {p.id: p for p in store.rows(Assignment, id=_together(firsts, said))}
    units: list[Unit] = []
    orders: dict[str, str] = {}
    for unit in wholes(places[id] for id in said if id in places):
        order = _order(store, unit) if len(unit) > 1 else ""
        units += [unit] if order or len(unit) == 1 else [[place] for place in unit]
        orders[unit[0].id] = order
    return shown_items(store, mode, units[:n], said | {id: x for id, x in orders.items() if x})


def _together(firsts: Iterable[str], said: Collection[str]) -> list[str]:
    """Return the ids of the assignments that were judged, of rankings those of all pairs."""
    return [id for first in firsts for id in (possible_places(first) or [first]) if id in said]


def _order(store: Store, unit: Unit) -> str:
    """Return what a ranking's votes say together; "" where they do not, or are not of one time."""
    votes = [store.live(Vote, place.id) for place in unit]
    if None in votes or len({vote.revision for vote in votes if vote}) > 1:
        return ""
    verdicts = {vote.verdict for vote in votes if vote}
    if len(verdicts) == 1 and verdicts <= set(SAME_FOR_ALL):
        return verdicts.pop()
    return order_of(
        {
            letters_of(place): side_of(place, vote.verdict)
            for place, vote in zip(unit, votes, strict=True)
            if vote
        }
    )


def units_of(store: Store, places: Iterable[Assignment]) -> list[Unit]:
    """Return what waits as it is shown: a ranking of which a part was judged is pairs now."""
    units: list[Unit] = []
    for unit in wholes(places):
        alike = len(unit) == 1 or len({_revision(store, Vote, place) for place in unit}) == 1
        units += [unit] if alike else [[place] for place in unit]
    return units


def shown_items(
    store: Store,
    mode: str,
    units: Sequence[Unit],
    said: Mapping[str, str] | None = None,
) -> list[Item]:
    """Return what a page shows of the assignments, in their order."""
    if not units:
        return []
    sides = _sides(store, [place for unit in units for place in unit])
    responses, prompts, texts = _written(store, (id for pair in sides.values() for id in pair))
    items = []
    for unit in units:
        place, ranked = unit[0], len(unit) > 1
        shown = [responses[id] for id in _standing(unit, sides)]
        prompt = tuple(json.loads(texts[prompts[shown[0].prompt]]))
        asked = "\n".join(message["content"] for message in prompt)
        stored = [texts[response.text] for response in shown]
        masked = [mask_identity(text, asked) for text in stored]
        hidden = zip(SIDES, masked, stored, strict=False)
        left, right = ("", "") if ranked else (masked[0], masked[1] if len(masked) > 1 else "")
        items.append(
            Item(
                assignment=ranking_of(place.id) if ranked else place.id,
                mode=RANK if ranked else mode,
                revision=_revision(store, MODES[mode].event, place),
                edit_revision=_revision(store, Edit, place),
                prompt=prompt,
                left=left,
                right=right,
                masked=tuple(side for side, seen, text in hidden if seen != text and not ranked),
                verdict=side_of(place, said[place.id]) if said else "",
                answers=tuple(masked) if ranked else (),
            )
        )
    return items


def _standing(unit: Unit, sides: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the ids of the answers that are shown, as they stand."""
    if len(unit) == 1:
        return list(sides[unit[0].id])
    by_letter: dict[str, str] = {}
    for place in unit:
        by_letter |= dict(zip(letters_of(place), sides[place.id], strict=True))
    return [by_letter[letter] for letter in sorted(by_letter)]


def _written(
    store: Store, ids: Iterable[str]
) -> tuple[dict[str, Response], dict[str, str], dict[str, str]]:
    """Return responses by id, the text's id of each of their prompts, and all texts by id."""
    answers = by_id(store, Response, ids)
    prompts = {p.id: p.text for p in by_id(store, Prompt, (r.prompt for r in answers))}
    texts = store.texts({*prompts.values(), *(r.text for r in answers)})
    return {r.id: r for r in answers}, prompts, texts


def read_ahead(store: Store, mode: Mode, items: Iterable[str]) -> None:
    """Let the store remember what many are about to be shown: one by one costs ten times that."""
    if mode.shows == "comparison":
        items = [id for pair in by_id(store, Comparison, items) for id in (pair.a, pair.b)]
    _written(store, items)


def _sides(store: Store, places: Sequence[Assignment]) -> dict[str, tuple[str, ...]]:
    """Return the response ids of each assignment as they stand: left and right, or the one."""
    comparisons = {c.id: c for c in by_id(store, Comparison, (p.comparison for p in places))}
    sides: dict[str, tuple[str, ...]] = {}
    for place in places:
        if not place.comparison:
            sides[place.id] = (place.response,)
        else:
            pair = comparisons[place.comparison]
            sides[place.id] = (pair.b, pair.a) if left_of(place) == "b" else (pair.a, pair.b)
    return sides


def by_id(store: Store, kind: type, ids: Iterable[str]) -> list:
    """Return the rows of a kind with these ids; empty ids name nothing."""
    wanted = sorted({id for id in ids if id})
    return list(store.found(kind, wanted).values())


def _revision(store: Store, kind: type, place: Assignment) -> int:
    """Return the revision that the next event of a kind on an assignment has."""
    newest = store.live(kind, place.id)
    return 0 if newest is None else newest.revision + 1
