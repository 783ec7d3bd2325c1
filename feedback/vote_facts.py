"""What the store knows of single votes, thumbs and edits: who, when, on what, what came later.

Votes are never deleted, so this is known of every one that was ever in a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from feedback.items import LOOK_UP, look_up
from storage.records import Comparison, Edit, Rating, Response, Vote
from storage.store import Store

Judgement = Vote | Rating | Edit
WORDS: Mapping[type, str] = {Vote: "vote", Rating: "thumb", Edit: "edit"}


class Fact(NamedTuple):
    """A vote, thumb or edit, with what may keep it out of a snapshot."""

    what: str  # "vote", "thumb" or "edit"
    labeler: str
    source: str
    created_at: datetime
    revision: int
    undo: bool  # it takes an earlier one back
    names: Mapping[str, tuple[str, ...]]  # kind of exclusion → ids that would keep it out
    later: tuple[tuple[datetime, bool], ...]  # of its later revisions: when, and is it an undo


def facts_of(store: Store, ids: Iterable[str]) -> dict[str, Fact]:
    """Return id → what is known about a vote, thumb or edit; an unknown id is left out."""
    wanted = sorted(set(ids))
    found: list[Judgement] = [
        *look_up(store, Vote, wanted), *look_up(store, Rating, wanted),
        *look_up(store, Edit, wanted),
    ]  # fmt: skip
    later, shown = _later(store, found), _shown(store, found)
    return {
        one.id: Fact(
            what=WORDS[type(one)],
            labeler=one.labeler,
            source=one.source,
            created_at=one.created_at,
            revision=one.revision,
            undo=_is_undo(one),
            names={
                "labeler": (one.labeler,), "source": (one.source,), "vote": (one.id,),
                **shown[one.id],
            },
            later=tuple(
                (newer.created_at, _is_undo(newer))
                for newer in later.get((type(one), one.assignment), ())
                if newer.revision > one.revision
            ),
        )
        for one in found
    }  # fmt: skip


def votes_on(store: Store, comparisons: Iterable[str]) -> dict[str, list[str]]:
    """Return comparison → the ids of all votes ever cast on it, those that undo among them."""
    wanted, found = sorted(set(comparisons)), dict[str, list[str]]()
    for start in range(0, len(wanted), LOOK_UP):
        for vote in store.rows(Vote, comparison=wanted[start : start + LOOK_UP]):
            found.setdefault(vote.comparison, []).append(vote.id)
    return found


def _later(
    store: Store, events: Iterable[Judgement]
) -> dict[tuple[type[Judgement], str], list[Judgement]]:
    """Return the events of each assignment that changed or took back another one, latest last."""
    places: dict[type[Judgement], set[str]] = {}
    for one in events:
        places.setdefault(type(one), set()).add(one.assignment)
    found: dict[tuple[type[Judgement], str], list[Judgement]] = {}
    for kind, assignments in places.items():
        wanted = sorted(assignments)
        for start in range(0, len(wanted), LOOK_UP):
            part = wanted[start : start + LOOK_UP]
            for one in store.rows(kind, order="revision", assignment=part):
                if one.revision:
                    found.setdefault((kind, one.assignment), []).append(one)
    return found


def _is_undo(event: Judgement) -> bool:
    return not event.corrected if isinstance(event, Edit) else event.verdict == "undone"


def _shown(store: Store, events: Iterable[Judgement]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return event id → the comparison, responses and prompt that it judged."""
    events = list(events)
    compared = {one.comparison for one in events if isinstance(one, Vote)}
    comparisons = {c.id: c for c in look_up(store, Comparison, sorted(compared))}
    sides = {one.id: _sides(one, comparisons) for one in events}
    answers = sorted({id for ids in sides.values() for id in ids})
    prompts = {r.id: r.prompt for r in look_up(store, Response, answers)}
    return {
        one.id: {
            "comparison": (one.comparison,) if isinstance(one, Vote) else (),
            "response": sides[one.id],
            "prompt": tuple({prompts[id] for id in sides[one.id] if id in prompts}),
        }
        for one in events
    }


def _sides(event: Judgement, comparisons: Mapping[str, Comparison]) -> tuple[str, ...]:
    """Return the responses that an event judged."""
    if isinstance(event, Vote):
        shown = comparisons.get(event.comparison)
        return (shown.a, shown.b) if shown else ()
    both = (event.response,) if isinstance(event, Rating) else (event.original, event.corrected)
    return tuple(id for id in both if id)
