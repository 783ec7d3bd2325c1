"""Comparisons on which people contradict each other, decided by a lead: one verdict that stands.

A decision is a row of its own and no vote: it says what the comparison shall teach, and nothing of
how people judge, so agreement and who can be trusted stay measured on their votes alone. The newest
decision on a comparison counts, and it can be taken back. Duels are counted from people's votes
alone, so theirs are not offered.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feedback import curation
from feedback.browse import open_comparison
from feedback.campaigns import MAX_NAME_CHARS
from feedback.gold import KNOWN
from feedback.identity import mask_identity
from feedback.values import one_of, plain_text, shown
from storage.errors import BadInput, NotFound
from storage.records import DUEL, Adjudication, Comparison, Message, digest

if TYPE_CHECKING:
    from storage.store import Store

MAX_REASON = curation.MAX_REASON


@dataclass(frozen=True, slots=True)
class Case:
    """A comparison as whoever decides sees it: no names of models, no votes."""

    comparison: str
    messages: tuple[Message, ...]
    left: str
    right: str
    swapped: bool  # answer b stands on the left

    def own(self, verdict: str) -> str:
        """Return a verdict in the comparison's own terms; "left" and "right" as seen here.

        Raises:
            BadInput: it is no verdict.
        """
        sides = {"left": "b", "right": "a"} if self.swapped else {"left": "a", "right": "b"}
        own = sides.get(verdict, verdict)
        one_of(own, KNOWN, "verdict")
        return own

    def seen(self, verdict: str) -> str:
        """Return a verdict as it looks from here: "a" and "b" become "left" and "right"."""
        if verdict not in ("a", "b"):
            return verdict
        return "left" if (verdict == "b") == self.swapped else "right"


def waiting(store: Store) -> list[str]:
    """Return the comparisons with votes for either answer that no lead decided, the most balanced
    first: there the votes say least."""
    found = set(curation.contradicting(store))
    if not found:
        return []
    compared = store.frame("comparisons").set_index("comparison")["source"]
    found = {id for id in found if not str(compared.get(id, "")).startswith(DUEL)}
    votes = store.frame("votes")
    votes = votes[votes["comparison"].isin(found)]
    of_a, of_b = (
        votes[votes["verdict"] == verdict].groupby("comparison", observed=True).size()
        for verdict in "ab"
    )
    return sorted(found, key=lambda id: (abs(of_a.get(id, 0) - of_b.get(id, 0)), id))


def open_case(store: Store, comparison: str, by: str) -> Case:
    """Return a comparison to decide; the sides are drawn by lot, for each lead once.

    Raises:
        NotFound: There is no such comparison.
    """
    one = open_comparison(store, comparison)
    asked = "\n".join(message["content"] for message in one.messages)
    a, b = (mask_identity(text, asked) for text in one.answers)
    swapped = int(digest(comparison, by, length=1), 16) % 2 == 1
    left, right = (b, a) if swapped else (a, b)
    return Case(comparison, one.messages, left, right, swapped)


def case_of(store: Store, comparison: str) -> dict[str, Any]:
    """Return a comparison to decide in its own terms, as `adjudicate --json` lists it."""
    one = open_comparison(store, comparison)
    a, b = one.answers
    return {"comparison": comparison, "prompt": list(one.messages), "a": a, "b": b}


def decide(store: Store, comparison: str, verdict: str, *, by: str, reason: str = "") -> None:
    """Let a verdict stand for a comparison, whatever its votes say; a later one takes its place.

    Args:
        verdict: One of `gold.KNOWN`, in the comparison's own terms.

    Raises:
        BadInput: The verdict is none of them, or nobody decides.
        NotFound: There is no such comparison.
    """
    one_of(verdict, KNOWN, "verdict")
    if store.get(Comparison, plain_text(comparison, "comparison", 200)) is None:
        raise NotFound(
            f"There is no comparison {shown(comparison)}: `adjudicate` lists those that wait."
        )
    _add(store, comparison, verdict, by, reason)


def take_back(store: Store, comparison: str, *, by: str, reason: str = "") -> None:
    """Leave a comparison to its votes again.

    Raises:
        BadInput: Nobody decided on it.
    """
    if decision_on(store, comparison) == "":
        raise BadInput(f"Nobody decided on {shown(comparison)}: there is nothing to take back.")
    _add(store, comparison, "", by, reason)


def decision_on(store: Store, comparison: str) -> str:
    """Return which verdict a lead decided that stands now, or ""."""
    newest = store.rows(Adjudication, order="-created_at, -id", limit=1, comparison=comparison)
    return newest[0].verdict if newest else ""


def decided(store: Store) -> list[dict[str, Any]]:
    """Return what stands now, the newest first: decision, comparison, verdict, reason, labeler (who
    decided), created_at."""
    rows = store.frame("adjudicated").to_dict("records")
    return sorted(rows, key=lambda row: row["created_at"], reverse=True)


def votes_on(store: Store, comparison: str) -> list[tuple[str, str]]:
    """Return who voted what on a comparison, oldest first: to be shown after the decision."""
    return list(open_comparison(store, comparison).votes)


def _add(store: Store, comparison: str, verdict: str, by: str, reason: str) -> None:
    by = plain_text(by, "the name of who decides", MAX_NAME_CHARS).strip()
    if not by:
        raise BadInput("nobody decides this: give the name of who does")
    reason = plain_text(reason, "the reason", MAX_REASON).strip()
    store.add([Adjudication(str(uuid.uuid4()), comparison, verdict, reason, by)])
