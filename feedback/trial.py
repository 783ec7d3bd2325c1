"""A campaign's trial: each labeler judges some gold items first; who gets enough right goes on.

Gold items that somebody judged before, in another campaign too, count: nobody is tried twice on the
same. Skips judge nothing. Who does not pass is told a friendly word, and a lead may let them in.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from feedback.campaigns import MAX_NAME_CHARS, labeler_name
from feedback.values import plain_text
from storage.errors import BadInput
from storage.records import Admission, Campaign

if TYPE_CHECKING:
    import pandas as pd

    from storage.store import Store

IN = "in"


@dataclass(frozen=True, slots=True)
class Trial:
    """How far somebody is."""

    judged: int  # gold items, at most as many as the campaign asks for
    right: int
    to_give: int  # gold items that are still to be given, beside those on the screen
    passed: bool | None  # None: not decided yet
    let_in: bool = False  # by a lead


def state_of(store: Store, campaign: Campaign, labeler: str) -> Trial:
    """Return how far a labeler is in a campaign's trial."""
    frame = store.frame("trial", labeler=labeler)
    left = store.frame("open_gold", labeler=labeler, limit=campaign.trial)
    found = judged(campaign, frame, len(left))
    if _let_in(store, campaign, labeler):
        return replace(found, to_give=0, passed=True, let_in=True)
    return found


def judged(campaign: Campaign, frame: pd.DataFrame, left: int) -> Trial:
    """Return how far somebody is (pure).

    Where gold items are used up before there are enough, those that were judged decide; where there
    was none at all, nobody is kept waiting for it.

    Args:
        frame: Their gold items, oldest first: campaign, said (None: nothing yet), known.
        left: Gold items that they never had.
    """
    said = frame[frame["said"].notna() & (frame["said"] != "skip")][: campaign.trial]
    right, n = int((said["said"] == said["known"]).sum()), len(said)
    open_ = int((frame["said"].isna() & (frame["campaign"] == campaign.id)).sum())
    if n < campaign.trial and (open_ or left):
        return Trial(n, right, max(0, campaign.trial - n - open_), None)
    if frame.empty:
        return Trial(0, 0, 0, passed=True)
    return Trial(n, right, 0, passed=n > 0 and right >= campaign.trial_share * n)


def everybody(store: Store, campaign: Campaign) -> list[tuple[str, Trial]]:
    """Return everybody who began the trial, by name."""
    frame = store.frame("trial", labeler=None)
    began = frame[frame["campaign"] == campaign.id]["labeler"].unique()
    return [(name, state_of(store, campaign, name)) for name in sorted(began)]


def let_in(store: Store, campaign: Campaign, person: str, *, by: str, undo: bool = False) -> None:
    """Let somebody label whatever their trial says; or leave it to the trial again.

    Raises:
        BadInput: That is no name, the campaign has no trial, or nothing is to be taken back.
    """
    person = labeler_name(person)
    if not campaign.trial:
        raise BadInput(f"{campaign.name} has no trial: whoever may label in it can.")
    if undo and not _let_in(store, campaign, person):
        raise BadInput(f"Nobody let {person} in: there is nothing to take back.")
    by = plain_text(by, "the name of who decides", MAX_NAME_CHARS).strip()
    store.add([Admission(str(uuid.uuid4()), campaign.id, person, "" if undo else IN, by)])


def _let_in(store: Store, campaign: Campaign, person: str) -> bool:
    asked: dict[str, Any] = {"campaign": campaign.id, "person": person}
    newest = store.rows(Admission, order="-created_at, -id", limit=1, **asked)
    return bool(newest) and newest[0].decision == IN
