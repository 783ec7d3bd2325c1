"""What a labeler may add to a vote after it: how clear the choice was, and what decided it.

Kept beside the vote, so that a vote is one key and never waits for it. Nothing of it weighs in
training; it is exported with the vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from feedback.values import check_id, one_of, plain_text, shown
from storage.errors import BadInput, NotFound
from storage.records import Assignment, Campaign, Remark, Vote

if TYPE_CHECKING:
    from storage.store import Store

BETTER = ("left", "right", "same")  # which answer is better in an aspect, as the labeler saw them


def add_remark(
    store: Store,
    labeler: str,
    *,
    id: str,
    vote: str,
    strength: str = "",
    aspects: Mapping[str, str] = {},
) -> Remark:
    """Keep a remark on a vote of the labeler's own; the newest on a vote counts.

    Args:
        id: UUID made by the client; sent again, it changes nothing.
        vote: The vote's id.
        strength: One of the campaign's `strengths`, or "".
        aspects: Some of the campaign's `aspects`, each with one of `BETTER`.

    Raises:
        BadInput: The campaign does not ask for it.
        NotFound: There is no such vote of this labeler.
    """
    check_id(id)
    rows = store.rows(Vote, id=plain_text(vote, "vote", 200), labeler=labeler)
    if not rows:
        raise NotFound(f"There is no vote {shown(vote)} of yours: reload the page.")
    campaign = _campaign_of(store, rows[0])
    if strength:
        one_of(strength, campaign.strengths, "strength")
    for aspect, better in aspects.items():
        one_of(aspect, campaign.aspects, "one of aspects")
        one_of(better, BETTER, f"aspects.{aspect}")
    if not strength and not aspects:
        raise BadInput("a remark is empty: give strength or aspects.")
    remark = Remark(id, rows[0].id, strength, dict(aspects), labeler)
    store.add([remark])
    return remark


def said_of(store: Store, votes: Iterable[str]) -> dict[str, Remark]:
    """Return the newest remark on each of some votes that has one, by the vote's id."""
    rows = store.rows(Remark, order="created_at, id", vote=list(votes))
    return {row.vote: row for row in rows}


def own_aspects(remark: Remark, left: str) -> dict[str, str]:
    """Return a remark's aspects in the comparison's own terms: "a", "b" or "same".

    Args:
        left: Which answer stood on the left, "a" or "b".
    """
    sides = {"left": "b", "right": "a"} if left == "b" else {"left": "a", "right": "b"}
    return {aspect: sides.get(side, side) for aspect, side in remark.aspects.items()}


def _campaign_of(store: Store, vote: Vote) -> Campaign:
    place = store.get(Assignment, vote.assignment)
    found = store.get(Campaign, place.campaign) if place else None
    if found is None:
        raise BadInput("This vote was given in no campaign, so nothing can be added to it.")
    return found
