"""Who labels what: which items a labeler is given, which side each answer stands on, what is open.

An unanswered assignment is a lease: for `LEASE_MINUTES` nobody else gets the comparison, as long
as one vote is wanted. The server draws the sides and keeps them; what a page learns of it is in
`feedback.seen`.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feedback.campaigns import default_campaign
from feedback.grouping import choose_answers, new_places
from feedback.ordering import (
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
from feedback.seen import (
    LEASE_MINUTES,
    LOOK_BACK,
    MAX_ITEMS,
    MODES,
    RANK,
    Item,
    Mode,
    Unit,
    by_id,
    read_ahead,
    shown_items,
    units_of,
)
from feedback.shelf import ANYBODY, Shelf
from feedback.values import one_of
from storage.records import (
    Assignment,
    Campaign,
    Comparison,
    Duplicate,
    Gold,
    Response,
    now,
)

if TYPE_CHECKING:
    from feedback.places import Places
    from storage.store import Store

CANDIDATES = 200  # Choice: open items from which chance picks; enough to mix a sorted file.
# Choice: open comparisons among which prompts to rank are looked for; of 50,000 it takes 0.2 s.
LOOK_FOR_RANKINGS = 2_000


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
    units = units_of(store, waiting)[:n]
    if len(units) < n and trial_left is None and mode == "pairs" and ranked_at_once(campaign):
        units += _given_rankings(store, labeler, campaign, n - len(units), rng)
    if len(units) < n:
        more = _given(store, labeler, MODES[mode], campaign, n - len(units), rng, trial_left)
        units += [[place] for place in more]
    return shown_items(store, mode, units)


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
            read_ahead(store, mode, frame[mode.shows])
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

    First comes which response stood on the left of what may be repeated. What is being stored for
    the labeler is left out.
    """
    coming = _places(store).coming(labeler)  # before the looks into the store: it is there after
    stood: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    if REPEAT in kinds:
        frame = store.frame("open_repeats", labeler=labeler, after=REPEAT_AFTER, limit=CANDIDATES)
        frame = frame[frame["left"] != ""]  # of some pairs of a ranking it is in the id alone
        frame = frame[~frame["comparison"].isin(coming)]
        stood = dict(zip(frame["comparison"], frame["left"], strict=True))
        found[REPEAT] = sorted(stood, key=lambda _: rng.random())
    if GOLD in kinds:
        frame = store.frame("open_gold", labeler=labeler, limit=CANDIDATES)
        open = frame["comparison"][~frame["comparison"].isin(coming)]
        found[GOLD] = sorted(open, key=lambda _: rng.random())
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
    rows = by_id(store, kind, (mode.of(place) for place in places))
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
