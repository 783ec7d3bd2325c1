"""Decide what stays out of snapshots, and what is asked again. Nothing is deleted, all is undoable.

A decision is a new row of `Exclusion`, and the newest about a thing counts; its votes stay in the
store and in `export --format votes`.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from feedback.erasing import erased_of
from feedback.items import look_up, tick
from feedback.live import excluded_ids
from feedback.remedies import OUT_COLUMNS, left_in
from feedback.surplus import surplus
from feedback.values import one_of, plain_text, shown
from storage.errors import BadInput, NotFound
from storage.records import (
    Comparison,
    Edit,
    Exclusion,
    Labeler,
    Prompt,
    Rating,
    Response,
    Vote,
    Wanted,
    now,
)
from storage.store import Store

KINDS = tuple(OUT_COLUMNS)  # what can be excluded
MAX_REASON = 1_000  # characters. Choice: a reason is a sentence or two
FRAMES = ("votes", "ratings", "edits")


class Excluded(NamedTuple):
    """Something that stays out of snapshots now."""

    kind: str
    item: str
    reason: str
    by: str
    created_at: str  # ISO 8601, UTC
    feedback: int  # votes, thumbs and edits that it keeps out


def exclude(store: Store, kind: str, item: str, *, reason: str, by: str) -> Exclusion:
    """Keep one thing out of snapshots, as `exclude_all` does, and return the row."""
    return exclude_all(store, kind, [item], reason=reason, by=by)[0]


def include(store: Store, kind: str, item: str, *, reason: str = "", by: str) -> Exclusion:
    """Take an exclusion back, as `include_all` does, and return the row."""
    return include_all(store, kind, [item], reason=reason, by=by)[0]


def exclude_all(
    store: Store, kind: str, items: Sequence[str], *, reason: str, by: str
) -> list[Exclusion]:
    """Keep things of one kind out of snapshots and checks, and return the rows.

    Args:
        kind: One of `KINDS`. A labeler's or a source's votes, thumbs and edits; those on a prompt,
            comparison or response; "vote": a single vote, thumb or edit.
        items: Ids; of a source its name, such as "import:file.jsonl". All or none are excluded.
        reason: Why; may not be empty.
        by: Who decides.

    Raises:
        BadInput: an unknown kind, no item, no reason, or nobody.
        NotFound: naming an item that is not stored.
    """
    one_of(kind, KINDS, "kind")
    if not plain_text(reason, "the reason", MAX_REASON).strip():
        raise BadInput("an exclusion needs a reason: say in a few words what is wrong")
    items = _named(kind, items)
    missing = sorted(set(items) - _there(store, kind, items))
    if missing:
        raise NotFound(_no_such(store, kind, missing))
    return _decide(store, kind, items, "exclude", reason.strip(), by)


def include_all(
    store: Store, kind: str, items: Sequence[str], *, reason: str = "", by: str
) -> list[Exclusion]:
    """Let things into snapshots again that were excluded, and return the rows.

    Raises:
        BadInput: an unknown kind, no item, nobody, or an item whose text was erased.
        NotFound: naming an item that is not excluded.
    """
    one_of(kind, KINDS, "kind")
    items = _named(kind, items)
    out = [one for one in excluded(store) if one.kind == kind]
    missing = sorted(set(items) - {one.item for one in out})
    if missing:
        known = ", ".join(one.item for one in out[:5]) or "none"
        raise NotFound(
            f"{kind} {shown(missing[0])} is not excluded; excluded of this kind: {known}"
        )
    if gone := erased_of(store, kind, items):
        raise BadInput(f"the text of {kind} {shown(gone[0])} was erased: it cannot count again")
    return _decide(store, kind, items, "include", plain_text(reason, "the reason", MAX_REASON), by)


def excluded(store: Store) -> list[Excluded]:
    """Return everything that stays out of snapshots now, with how much feedback it keeps out."""
    frame = store.frame("excluded")
    if frame.empty:
        return []
    sides = store.frame("comparisons")[["comparison", "a", "b"]]
    frames = [store.frame(name) for name in FRAMES]
    frames[0] = frames[0].merge(sides, on="comparison")
    named = {kind: _named_by(frames, kind) for kind in frame["kind"].unique()}
    return [
        Excluded(
            kind=row.kind,
            item=row.item,
            reason=row.reason,
            by=row.labeler,
            created_at=row.created_at.isoformat(),
            feedback=named[row.kind][row.item],
        )
        for row in frame.itertuples()
    ]


def _named_by(frames: Sequence[pd.DataFrame], kind: str) -> Counter[str]:
    """Return by how many votes, thumbs and edits each thing of a kind is named."""
    counts: Counter[str] = Counter()
    for frame in frames:
        columns = [frame[name] for name in OUT_COLUMNS[kind] if name in frame]
        if columns:
            named = pd.concat(columns).rename("item").reset_index().drop_duplicates()
            counts.update(named["item"].value_counts().to_dict())
    return counts


def ask_again(store: Store, comparisons: Sequence[str], *, by: str) -> list[Wanted]:
    """Put comparisons back into the queue for one vote more each, and return what is now wanted.

    Whoever judged one is not asked it again: it takes a labeler who has not seen it. Asking twice
    before the vote has come changes nothing.

    Raises:
        BadInput: nobody asks.
        NotFound: naming a comparison that is not stored.
    """
    _known(by)
    ids = list(dict.fromkeys(comparisons))
    missing = sorted(set(ids) - {one.id for one in look_up(store, Comparison, ids)})
    if missing:
        raise NotFound(f"there is no comparison {shown(missing[0])}: look it up on the data screen")
    votes = store.frame("votes")
    counted = (votes["verdict"] != "skip") & (votes["kind"] != "repeat")  # as the queue counts
    judged = votes[counted].groupby("comparison", observed=True).size()
    moment = now()
    rows = [
        Wanted(Wanted.id_of(id, count), id, count, by, tick(moment, number))
        for number, id in enumerate(ids)
        for count in [int(judged.get(id, 0)) + 1]
    ]
    if rows:
        store.add(rows)
    return rows


def contradicting(store: Store) -> list[str]:
    """Return the comparisons on which counted votes contradict each other, some a, some b, and on
    which no lead decided."""
    votes = _counted(store)
    sides = votes[votes["verdict"].isin(["a", "b"])].groupby("comparison", observed=True)["verdict"]
    found = sides.nunique()
    return sorted(set(found[found > 1].index) - set(store.frame("adjudicated")["comparison"]))


def judged_once(store: Store) -> list[str]:
    """Return the comparisons that one counted vote has judged, and no more."""
    found = _counted(store).groupby("comparison", observed=True).size()
    return sorted(found[found == 1].index)


def judged_in_vain(store: Store) -> list[str]:
    """Return the comparisons that were judged, but only by votes that are excluded."""
    votes = store.frame("votes")
    judged = set(votes.loc[votes["verdict"] != "skip", "comparison"])
    comparisons = store.frame("comparisons")
    there = set(comparisons.loc[left_in(comparisons, excluded_ids(store)), "comparison"])
    return sorted((judged & there) - set(_counted(store)["comparison"]))


# Why to ask again → which comparisons.
AGAIN: dict[str, Callable[[Store], list[str]]] = {
    "contradicting": contradicting,
    "single": judged_once,
    "excluded": judged_in_vain,
}


def _counted(store: Store) -> pd.DataFrame:
    """Return the votes that count: live, not excluded, no repeats of the same person, no skips."""
    votes = store.frame("votes")
    stays = left_in(votes, excluded_ids(store))
    votes = votes[stays & (votes["kind"] != "repeat") & (votes["verdict"] != "skip")]
    return votes[~surplus(votes)]


def _decide(
    store: Store, kind: str, items: Sequence[str], decision: str, reason: str, by: str
) -> list[Exclusion]:
    _known(by)
    moment = now()
    rows = [
        Exclusion(str(uuid.uuid4()), kind, item, decision, reason, by, tick(moment, number))
        for number, item in enumerate(items)
    ]
    store.add(rows)
    return rows


def _named(kind: str, items: Sequence[str]) -> list[str]:
    """Return the items without repeats."""
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise BadInput(f"items are {shown(items)}: give a list of ids")
    if not items:
        raise BadInput(f"no {kind} is named: give at least one")
    return list(dict.fromkeys(items))


def _known(by: str) -> None:
    if not plain_text(by, "the name of who decides", MAX_REASON).strip():
        raise BadInput("nobody decides this: give the name of who does")


def _there(store: Store, kind: str, items: Sequence[str]) -> set[str]:
    """Return which of the items are stored."""
    events: tuple[type[Vote | Rating | Edit], ...] = (Vote, Rating, Edit)
    rows: dict[str, type[Any]] = {
        "prompt": Prompt,
        "comparison": Comparison,
        "response": Response,
        "labeler": Labeler,
    }
    found = {one.id for one in look_up(store, rows[kind], items)} if kind in rows else set()
    if kind == "vote":
        return {one.id for event in events for one in look_up(store, event, items)}
    if kind in ("labeler", "source"):
        for item in set(items) - found:
            if any(store.rows(event, limit=1, **{kind: item}) for event in events):
                found.add(item)
    return found


def _no_such(store: Store, kind: str, missing: Sequence[str]) -> str:
    """Return the sentence for items that are not stored, with some that are."""
    others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    told = f"there is no {kind} {shown(missing[0])} here{others}"
    if kind not in ("labeler", "source"):
        return f"{told}: look its id up on the data screen, or in an export"
    counts = pd.concat([store.frame(name)[kind].astype(str) for name in FRAMES]).value_counts()
    known = ", ".join(str(name) for name in counts.index[:5]) or "none yet"
    return f"{told}; those with the most feedback: {known}"
