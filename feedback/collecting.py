"""Several campaigns: made, changed, paused, finished; which are a labeler's, and how far they are.

A campaign says what is judged, by whom and how. Judgements of a comparison count together, whatever
campaign they were given in, and nobody gets the same item twice. The default campaign is always
there; while it is the only one, nobody has anything to choose.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from feedback import trial
from feedback.campaigns import (
    DEFAULT,
    GUIDELINE,
    MAX_GUIDELINE_CHARS,
    default_campaign,
    labeler_name,
    one_line,
    wrong_shares,
)
from feedback.ordering import RANKS
from feedback.values import plain_text, shown
from storage.errors import BadInput, Conflict, NotFound
from storage.records import Campaign, now

if TYPE_CHECKING:
    from storage.store import Store

MODES = ("pairs", "thumbs", "both", *RANKS)
OPEN, PAUSED, FINISHED = STATES = ("open", "paused", "finished")
MAX_LISTED = 200  # Choice: labelers, sources or models of a campaign; more is a list for a file
MAX_WORDS = 12  # Choice: reasons, strengths or aspects; more are read by nobody after each vote
MAX_WORD_CHARS = 40
MAX_TRIAL = 100
FRESH_SECONDS = 5.0  # Choice: how old the progress of a campaign may be; counting reads all votes
STOPPED = {  # why nothing is given; the label screen says it in the reader's language
    "paused": "There is a pause. Your votes are kept; it goes on here by itself.",
    "closed": "Nothing is open to you at the moment. A lead can change that; it shows here by "
    "itself.",
    "trial": "Thank you for your first answers. A lead looks at them before you go on; it goes on "
    "here by itself.",
}
LISTS = ("sources", "models", "labelers", "reasons", "strengths", "aspects")


class Reach(NamedTuple):
    """How many items of a campaign somebody judged."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a labeler is given from."""

    campaign: Campaign | None  # None: nothing is given
    trial_left: int | None = None  # gold items that come before all others; None: no trial
    why: str = ""  # why nothing is given: a key of `STOPPED`


@dataclass(slots=True)
class _Known:
    """What one open data folder remembers: progress, and who is in which campaign."""

    reached: dict[str, tuple[float, Reach]] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    listed: tuple[object, tuple[Campaign, ...]] | None = None  # at which change, all of them


def campaigns(store: Store) -> list[Campaign]:
    """Return every campaign, the default one first, then the oldest."""
    known, changes = _known(store), store.changes(Campaign)
    if known.listed is None or known.listed[0] != changes:
        rows = store.rows(Campaign, order="created_at, id")
        rest = [one for one in rows if one.id != DEFAULT]
        default = next((one for one in rows if one.id == DEFAULT), None)
        known.listed = changes, (default or default_campaign(store), *rest)
    return list(known.listed[1])


def campaign_of(store: Store, name: str) -> Campaign:
    """Return the campaign of an id or a name.

    Raises:
        NotFound: There is none; names those that are there.
    """
    known = campaigns(store)
    found = [one for one in known if name == one.id] or [one for one in known if name == one.name]
    if not found:
        names = ", ".join(one.id for one in known[:10])
        raise NotFound(f"There is no campaign {shown(name)}; there are: {names}.")
    return found[0]


def make(store: Store, name: str, /, **asked: Any) -> Campaign:
    """Add an open campaign with the usual guideline; `asked` as for `change`.

    Raises:
        Conflict: There is one of that name.
        BadInput: Says every value that cannot be.
    """
    name = one_line(name, "the campaign's name")
    if any(name in (one.id, one.name) for one in campaigns(store)):
        raise Conflict(f"There is a campaign {shown(name)} already: choose another name.")
    fresh = Campaign(name, name, GUIDELINE, overlap=1)
    campaign = _changed(fresh, asked)
    store.add([campaign])
    return campaign


def change(store: Store, which: str, /, **asked: Any) -> Campaign:
    """Change a campaign and return it; what is None stays as it is.

    Args:
        which: Its id or name.
        asked: Fields of `Campaign`; `new` (True: only what is made from now on, False: all).

    Raises:
        NotFound: There is no such campaign.
        BadInput: Says every value that cannot be.
    """
    campaign = _changed(campaign_of(store, which), asked)
    store.update(campaign)
    return campaign


def set_state(store: Store, name: str, state: str) -> Campaign:
    """Open, pause or finish a campaign; what somebody has on the screen can still be judged.

    Raises:
        Conflict: It is finished: that is for good.
    """
    campaign = campaign_of(store, name)
    if campaign.state == FINISHED:
        raise Conflict(f"{campaign.name} is finished: make a new campaign to go on.")
    if campaign.id == DEFAULT and state == FINISHED:
        raise Conflict("The default campaign cannot be finished: pause it.")
    return change(store, campaign.id, state=state)


def _changed(campaign: Campaign, asked: Mapping[str, Any]) -> Campaign:
    """Return the campaign with the values asked for, checked."""
    values = {name: value for name, value in asked.items() if value is not None}
    new = values.pop("new", None)
    known = {one.name for one in fields(Campaign)} - {"id", "created_at", "since"}
    if odd := sorted(set(values) - known):
        raise BadInput(f"{shown(odd[0])} is no setting of a campaign: {', '.join(sorted(known))}.")
    for name in LISTS:
        if name in values:
            values[name] = _listed(values[name], name)
    if "name" in values:
        values["name"] = one_line(values["name"], "the campaign's name")
    if "guideline" in values:
        values["guideline"] = plain_text(values["guideline"], "guideline", MAX_GUIDELINE_CHARS)
        if not values["guideline"].strip():
            raise BadInput("guideline is empty: write at least one sentence for the labelers.")
    if new is not None:
        values["since"] = now() if new else None
    campaign = replace(campaign, **values)
    if wrong := _wrong(campaign, values):
        raise BadInput(" ".join(wrong))
    floats = ("shared", "repeats", "gold", "trial_share")
    shares: dict[str, Any] = {name: float(values[name]) for name in floats if name in values}
    return replace(campaign, **shares)


def _wrong(campaign: Campaign, values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each value that cannot be."""
    wrong = wrong_shares(campaign, {n: values.get(n) for n in ("shared", "repeats", "gold")})
    for name, allowed in (("mode", MODES), ("state", STATES)):
        if (value := getattr(campaign, name)) not in allowed:
            wrong.append(f"{name} is {shown(value)}: use one of {', '.join(allowed)}.")
    if type(campaign.trial) is not int or not 0 <= campaign.trial <= MAX_TRIAL:
        wrong.append(f"trial is {shown(campaign.trial)}: use a number from 0 to {MAX_TRIAL}.")
    share = campaign.trial_share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        wrong.append(f"trial_share is {shown(share)}: use a share from 0 to 1.")
    if campaign.trial and campaign.mode == "thumbs":
        wrong.append("trial needs comparisons, since gold items are some: use mode pairs or both.")
    return wrong


def _listed(values: Any, name: str) -> tuple[str, ...]:
    """Return words without blanks and repeats.

    Raises:
        BadInput: too many, too long, or no texts.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise BadInput(f"{name} is {shown(values)}: use a list of texts.")
    words = name in ("reasons", "strengths", "aspects")
    most, chars = (MAX_WORDS, MAX_WORD_CHARS) if words else (MAX_LISTED, 500)
    found = []
    for value in values:
        text = plain_text(value, f"one of {name}", chars).strip()
        if text:
            found.append(labeler_name(text) if name == "labelers" else text)
    if len(found) > most:
        raise BadInput(f"{name} has {len(found)} entries: use at most {most}.")
    return tuple(dict.fromkeys(found))


def of_labeler(store: Store, labeler: str, mode: str) -> list[Campaign]:
    """Return the campaigns that are open to a labeler in a mode ("pairs" or "thumbs").

    Rankings are "pairs" too: the same screen shows them, and they are judgements of pairs.
    """
    fitting = (mode, "both", *(RANKS if mode == "pairs" else ()))
    return [
        one
        for one in campaigns(store)
        if one.state == OPEN
        and one.mode in fitting
        and (not one.labelers or labeler in one.labelers)
    ]


def given(store: Store, labeler: str, mode: str, wanted: str = "") -> Given:
    """Return what a labeler is given from: the wanted campaign, or the first that is theirs."""
    mine = of_labeler(store, labeler, mode)
    chosen = next((one for one in mine if one.id == wanted), mine[0] if mine else None)
    if chosen is None:
        return Given(None, why=_closed(store))
    _known(store).current[labeler] = chosen.id
    if not chosen.trial or mode != "pairs":
        return Given(chosen)
    state = trial.state_of(store, chosen, labeler)
    if state.passed is False:
        return Given(None, why="trial")
    return Given(chosen, state.to_give) if state.passed is None else Given(chosen)


def _closed(store: Store) -> str:
    """Return why nothing is open to somebody."""
    return "paused" if any(one.state == PAUSED for one in campaigns(store)) else "closed"


def reach(
    store: Store,
    campaign: Campaign,
    mode: str = "pairs",
    known_open: int | None = None,
    known_total: int = 0,
) -> Reach:
    """Return how far a campaign is, to within `FRESH_SECONDS`.

    Args:
        known_open: Comparisons that nobody judged, of all `known_total`, where that is known:
            then nothing is counted for a campaign that takes all.
    """
    if known_open is not None and mode == "pairs" and takes_all(campaign):
        return Reach(known_total - known_open, known_total)
    known, at, key = _known(store).reached, time.monotonic(), f"{mode}:{campaign.id}"
    if key not in known or at - known[key][0] > FRESH_SECONDS:
        frame = store.frame("reach", mode=mode, **chosen_by(campaign))
        known[key] = at, Reach(int(frame["done"].iloc[0]), int(frame["total"].iloc[0]))
    return known[key][1]


def takes_all(campaign: Campaign) -> bool:
    """Say whether every item is the campaign's."""
    return not (campaign.sources or campaign.models or campaign.since)


def chosen_by(campaign: Campaign) -> dict[str, Any]:
    """Return which items are the campaign's, for the store's queries."""
    return {"sources": campaign.sources, "models": campaign.models, "since": campaign.since}


def in_campaign(store: Store, labeler: str, counts: dict[str, int]) -> dict[str, int]:
    """Return a labeler's counts with those of comparisons as the campaign has them they are in."""
    current = _known(store).current.get(labeler, DEFAULT)
    campaign = next((one for one in campaigns(store) if one.id == current != DEFAULT), None)
    if campaign is None or takes_all(campaign):
        return counts
    done, total = reach(store, campaign)
    return counts | {"comparisons_total": total, "comparisons_open": total - done}


def _known(store: Store) -> _Known:
    known: _Known = store.companions.setdefault(_Known, _Known())
    return known
