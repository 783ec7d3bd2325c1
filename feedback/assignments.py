"""Who labels what: which items a labeler is given, which side each answer stands on, what is open.

An unanswered assignment is a lease: for `LEASE_MINUTES` nobody else gets the comparison, as long
as one vote is wanted. The server draws the sides and keeps them; an `Item` is all that a page
learns before the vote: it names no model, also where an answer does so itself, and does not say
whether it is a repeat or gold. What is judged and stored is the answer as it was written. Of a
ranking (`feedback.ordering`) all assignments are one item.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from feedback.campaigns import default_campaign
from feedback.grouping import choose_answers, new_places
from feedback.identity import mask_identity
from feedback.ordering import (
    SAME_FOR_ALL,
    left_of,
    letters_of,
    order_of,
    possible_places,
    ranked_at_once,
    ranking_of,
    wholes,
)
from feedback.queue import (
    GOLD,
    PLAIN,
    REPEAT,
    REPEAT_AFTER,
    Candidate,
    Chosen,
    Random,
    candidates_of,
    choose,
    draw_kinds,
    mix,
)
from feedback.shelf import ANYBODY, Shelf
from feedback.values import one_of
from feedback.votes import SIDES, side_of
from storage.records import (
    Assignment,
    Campaign,
    Comparison,
    Duplicate,
    Edit,
    Gold,
    Message,
    Prompt,
    Rating,
    Response,
    Vote,
    now,
)

if TYPE_CHECKING:
    from feedback.places import Places
    from storage.store import Store

# Choice: a page shows an item for minutes, not hours; after a break somebody else may have it.
LEASE_MINUTES = 30
LOOK_BACK = 100  # Choice: unanswered assignments that are offered again; a page holds about 5.
CANDIDATES = 200  # Choice: open items from which chance picks; enough to mix a sorted file.
MAX_ITEMS = 50  # Choice: items in one answer; a page asks for about 4.
# Choice: open comparisons among which prompts to rank are looked for: some 300 prompts, 50 ms.
LOOK_FOR_RANKINGS = 2_000


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


def serve_items(
    store: Store,
    labeler: str,
    mode: str,
    n: int,
    rng: Random,
    exclude: Collection[str] = (),
    *,
    campaign: Campaign | None = None,
    trial_left: int | None = None,
) -> list[Item]:
    """Return up to `n` items to judge: the labeler's own unanswered ones first, then new ones.

    Where the campaign has answers ranked, rankings come before pairs, which then are of prompts
    that have too few answers.

    Args:
        mode: "pairs" or "thumbs".
        rng: Draws the sides, and among equally wanted items.
        exclude: Assignments that the page has already, shown or waiting to be sent.
        campaign: Whose items; None is the default one.
        trial_left: Gold items that come first, and nothing else until they are judged; None: no
            trial.
    """
    one_of(mode, tuple(MODES), "mode")
    n = max(0, min(n, MAX_ITEMS))
    campaign = campaign or default_campaign(store)
    waiting = _unanswered(store, labeler, MODES[mode], campaign, set(exclude))
    units = _units(store, waiting)[:n]
    if len(units) < n and trial_left is None and mode == "pairs" and ranked_at_once(campaign):
        units += _given_rankings(store, labeler, campaign, n - len(units), rng)
    if len(units) < n:
        more = _given(store, labeler, MODES[mode], campaign, n - len(units), rng, trial_left)
        units += [[place] for place in more]
    return _items(store, mode, units)


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
    return _items(store, mode, units[:n], said | {id: x for id, x in orders.items() if x})


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


def _units(store: Store, places: Iterable[Assignment]) -> list[Unit]:
    """Return what waits as it is shown: a ranking of which a part was judged is pairs now."""
    units: list[Unit] = []
    for unit in wholes(places):
        alike = len(unit) == 1 or len({_revision(store, Vote, place) for place in unit}) == 1
        units += [unit] if alike else [[place] for place in unit]
    return units


@contextmanager
def _serving_locked(store: Store) -> Iterator[None]:
    """Let one thread at a time give out items of this data folder, so that none is given twice."""
    with (store.data / "serving.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _given(
    store: Store, labeler: str, mode: Mode, campaign: Campaign, n: int, rng: Random,
    trial_left: int | None,
) -> list[Assignment]:  # fmt: skip
    """Give the labeler up to `n` new items, of a trial gold ones; return them once stored."""

    def draw(shelf: Shelf) -> list[Assignment]:
        if trial_left is None:
            chosen, stood = _choose(store, shelf, labeler, mode, campaign, n, rng)
        else:
            chosen, stood = _choose_gold(store, labeler, min(n, trial_left), rng), {}
        return [_place(mode, labeler, campaign, one, stood, rng) for one in chosen]

    return _stored(store, labeler, mode, draw)


def _given_rankings(
    store: Store, labeler: str, campaign: Campaign, n: int, rng: Random
) -> list[Unit]:
    """Give the labeler up to `n` rankings; return the assignments of each once they are stored."""
    mode, size = MODES["pairs"], ranked_at_once(campaign)
    wanted = mode.wants(campaign)

    def look(labeler: str) -> list[Candidate]:
        frame = store.frame(mode.frame, labeler=labeler, limit=LOOK_FOR_RANKINGS, **wanted)
        return candidates_of(frame)

    def draw(shelf: Shelf) -> list[Assignment]:
        had, most = _places(store).had(labeler), LOOK_FOR_RANKINGS
        open = shelf.items(_key(RANK, wanted), look, labeler, had, n=n, most=most)
        places = [
            place
            for answers in choose_answers(store, open, size, n, rng)
            for place in new_places(store, labeler, campaign.id, answers)
        ]
        _count_given(shelf, mode, wanted, [place.comparison for place in places])
        return places

    return list(wholes(_stored(store, labeler, mode, draw)))


def _key(shows: str, wanted: Mapping[str, Any]) -> Hashable:
    """Return by what the shelf knows a stock."""
    return (shows, *wanted.values())


def _count_given(
    shelf: Shelf, mode: Mode, wanted: Mapping[str, Any], items: Collection[str]
) -> None:
    """Count what is given out in each stock that may hold it: pairs are ranked, too."""
    for shows in (mode.shows, RANK):
        shelf.give(_key(shows, wanted), items)


def _stored(
    store: Store, labeler: str, mode: Mode, draw: Callable[[Shelf], list[Assignment]]
) -> list[Assignment]:
    """Store what is drawn for a labeler and return it.

    It is drawn by one thread at a time and stored beside others: until then the shelf and the
    labeler's places hold it.
    """
    shelf: Shelf = store.companions.setdefault(Shelf, Shelf())
    with ExitStack() as held:
        with _serving_locked(store):
            places = draw(shelf)
            held.enter_context(shelf.held([mode.of(one) for one in places if one.kind == PLAIN]))
            held.enter_context(_places(store).giving(labeler, places))
        if places:
            store.add(places)
    return places


def _choose(
    store: Store, shelf: Shelf, labeler: str, mode: Mode, campaign: Campaign, n: int, rng: Random
) -> tuple[list[Chosen], Mapping[str, str]]:
    """Return what to show, and which response stood on the left of what comes again."""
    wanted = mode.wants(campaign)
    key = _key(mode.shows, wanted)

    def look(labeler: str) -> list[Candidate]:
        frame = store.frame(mode.frame, labeler=labeler, limit=CANDIDATES, **wanted)
        if labeler == ANYBODY:
            _read_ahead(store, mode, frame[mode.shows])
        return candidates_of(frame, item=mode.shows, done=mode.done)

    had = _places(store).had(labeler)
    new = choose(shelf.items(key, look, labeler, had, n=n, most=CANDIDATES), n, rng)
    pairs = mode.shows == "comparison"
    kinds = draw_kinds(n, campaign.repeats, campaign.gold, rng) if pairs else [PLAIN] * n
    stood, extra = _extra(store, labeler, _possible(store, kinds, had) if new else set(), rng)
    chosen = mix(kinds, new, extra)
    _count_given(shelf, mode, wanted, [one.item for one in chosen if one.kind == PLAIN])
    return chosen, stood


def _choose_gold(store: Store, labeler: str, n: int, rng: Random) -> list[Chosen]:
    """Return up to `n` gold items that the labeler never had."""
    _, found = _extra(store, labeler, {GOLD}, rng)
    return [Chosen(id, GOLD) for id in found[GOLD][:n]]


def _place(
    mode: Mode, labeler: str, campaign: Campaign, chosen: Chosen, stood: Mapping[str, str],
    rng: Random,
) -> Assignment:  # fmt: skip
    """Return an assignment with its sides drawn."""
    id, kind = chosen
    pairs = mode.shows == "comparison"
    return Assignment(
        id=str(uuid.uuid4()),
        campaign=campaign.id,
        labeler=labeler,
        comparison=id if pairs else "",
        response="" if pairs else id,
        left="" if not pairs else _other(stood[id]) if kind == REPEAT else _draw_side(rng),
        kind=kind,
        source="screen",
    )


def _places(store: Store) -> Places:
    from feedback.places import Places  # brings pandas in, which takes seconds at the first import

    known: Places = store.companions.setdefault(Places, Places(store))
    return known


def _possible(store: Store, kinds: Iterable[str], had: Collection[str]) -> set[str]:
    """Return those of the kinds of which there can be something, without a look into the store."""
    none = {REPEAT} if len(had) <= REPEAT_AFTER else set()
    return {*kinds} - none - ({GOLD} if store.count(Gold) == 0 else set())


def _extra(
    store: Store, labeler: str, kinds: set[str], rng: Random
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return what may be shown of the kinds besides new items, in an order drawn by chance.

    First comes which response stood on the left of what may be repeated.
    """
    stood: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    if REPEAT in kinds:
        frame = store.frame("open_repeats", labeler=labeler, after=REPEAT_AFTER, limit=CANDIDATES)
        frame = frame[frame["left"] != ""]  # of some pairs of a ranking it is in the id alone
        stood = dict(zip(frame["comparison"], frame["left"], strict=True))
        found[REPEAT] = sorted(stood, key=lambda _: rng.random())
    if GOLD in kinds:
        frame = store.frame("open_gold", labeler=labeler, limit=CANDIDATES)
        found[GOLD] = sorted(frame["comparison"], key=lambda _: rng.random())
    return stood, found


def _draw_side(rng: Random) -> str:
    """Return which response, "a" or "b", stands on the left."""
    return "a" if rng.random() < 0.5 else "b"


def _other(side: str) -> str:
    return "b" if side == "a" else "a"


def _unanswered(
    store: Store, labeler: str, mode: Mode, campaign: Campaign, exclude: set[str]
) -> list[Assignment]:
    """Return the labeler's assignments without a verdict that are still wanted, oldest first."""
    waiting = [
        place
        for place in _places(store).waiting(labeler)
        if place.campaign == campaign.id
        and mode.of(place)
        and not {place.id, ranking_of(place.id)} & exclude
    ]
    return _still_wanted(store, waiting[-LOOK_BACK:], mode, campaign) if waiting else []


def _still_wanted(
    store: Store, places: list[Assignment], mode: Mode, campaign: Campaign
) -> list[Assignment]:
    """Leave out what was skipped as a duplicate or excluded since, or went to others after the
    lease ran out."""
    kind = Comparison if mode.shows == "comparison" else Response
    rows = _by_id(store, kind, (mode.of(place) for place in places))
    names = {row.id: {row.id, row.prompt, *_answers_of(row)} for row in rows}
    skipped = skipped_items(store, set().union(*names.values())) | _excluded(store)
    fresh = now() - timedelta(minutes=LEASE_MINUTES)
    stale = {mode.of(place) for place in places if place.created_at < fresh and place.kind == PLAIN}
    asked = {"labeler": places[0].labeler, "among": stale, **mode.wants(campaign)}
    free = set(store.frame(mode.frame, **asked)[mode.shows]) if stale else set()
    return [
        place
        for place in places
        if not names.get(item := mode.of(place), {item}) & skipped
        and (place.kind != PLAIN or item not in stale or item in free)
    ]


def _answers_of(row: Comparison | Response) -> tuple[str, ...]:
    return (row.a, row.b) if isinstance(row, Comparison) else (row.id,)


def _excluded(store: Store) -> set[str]:
    """Return the prompts, comparisons and responses that stay out of snapshots now."""
    frame = store.frame("excluded")
    return set(frame.loc[frame["kind"].isin(["prompt", "comparison", "response"]), "item"])


def skipped_items(store: Store, items: Iterable[str] | None = None) -> set[str]:
    """Return the prompts, comparisons and responses that somebody decided to skip as repeats.

    Args:
        items: Ids to ask about; all that were ever decided on when None.
    """
    asked: dict[str, Any] = {} if items is None else {"item": sorted(set(items))}
    decisions = store.rows(Duplicate, order="created_at, id", **asked)
    latest = {(one.kind, one.item): one.decision for one in decisions}
    return {item for (_, item), decision in latest.items() if decision == "skip"}


def _items(
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
    answers = _by_id(store, Response, ids)
    prompts = {p.id: p.text for p in _by_id(store, Prompt, (r.prompt for r in answers))}
    texts = store.texts({*prompts.values(), *(r.text for r in answers)})
    return {r.id: r for r in answers}, prompts, texts


def _read_ahead(store: Store, mode: Mode, items: Iterable[str]) -> None:
    """Let the store remember what many are about to be shown: one by one costs ten times that."""
    if mode.shows == "comparison":
        items = [id for pair in _by_id(store, Comparison, items) for id in (pair.a, pair.b)]
    _written(store, items)


def _sides(store: Store, places: Sequence[Assignment]) -> dict[str, tuple[str, ...]]:
    """Return the response ids of each assignment as they stand: left and right, or the one."""
    comparisons = {c.id: c for c in _by_id(store, Comparison, (p.comparison for p in places))}
    sides: dict[str, tuple[str, ...]] = {}
    for place in places:
        if not place.comparison:
            sides[place.id] = (place.response,)
        else:
            pair = comparisons[place.comparison]
            sides[place.id] = (pair.b, pair.a) if left_of(place) == "b" else (pair.a, pair.b)
    return sides


def _by_id(store: Store, kind: type, ids: Iterable[str]) -> list:
    """Return the rows of a kind with these ids; empty ids name nothing."""
    wanted = sorted({id for id in ids if id})
    return list(store.found(kind, wanted).values())


def _revision(store: Store, kind: type, place: Assignment) -> int:
    """Return the revision that the next event of a kind on an assignment has."""
    newest = store.live(kind, place.id)
    return 0 if newest is None else newest.revision + 1
