"""Comparisons whose right verdict somebody knows, to measure labelers with: set, take back, list.

A labeler is shown them among the others and never told which they are.
"""

from __future__ import annotations

import uuid
from typing import Any

from feedback.campaigns import MAX_NAME_CHARS
from feedback.values import one_of, plain_text, shown
from storage.errors import BadInput, NotFound
from storage.records import Comparison, Gold
from storage.store import Store

KNOWN = ("a", "b", "tie", "both_bad")
LEAD = "lead"  # there is one lead without accounts


def set_gold(store: Store, comparison: str, verdict: str, by: str = LEAD) -> Gold:
    """Record the right verdict on a comparison; a later one takes its place.

    Args:
        verdict: One of KNOWN, in the comparison's own terms.
        by: Who says so.

    Raises:
        BadInput: The verdict is none of them.
        NotFound: There is no such comparison.
    """
    one_of(verdict, KNOWN, "verdict")
    if store.get(Comparison, plain_text(comparison, "comparison", 200)) is None:
        raise NotFound(
            f"There is no comparison {shown(comparison)}: its id is on the data screen, under both "
            "answers."
        )
    return _add(store, comparison, verdict, by)


def take_back(store: Store, comparison: str, by: str = LEAD) -> Gold:
    """Let a comparison be an ordinary one again.

    Raises:
        BadInput: It is no gold item.
    """
    if gold_verdict(store, comparison) == "":
        raise BadInput(f"{shown(comparison)} is no gold item: there is nothing to take back.")
    return _add(store, comparison, "", by)


def gold_of(store: Store) -> list[dict[str, Any]]:
    """Return every gold item: comparison, verdict, who said so (labeler) and when (created_at)."""
    return store.frame("gold").to_dict("records")


def gold_verdict(store: Store, comparison: str) -> str:
    """Return the right verdict on a comparison, or "" where nobody said one."""
    newest = store.rows(Gold, order="-created_at, -id", limit=1, comparison=comparison)
    return newest[0].verdict if newest else ""


def _add(store: Store, comparison: str, verdict: str, by: str) -> Gold:
    by = plain_text(by, "labeler", MAX_NAME_CHARS).strip()
    known = Gold(str(uuid.uuid4()), comparison, verdict, by or LEAD)
    store.add([known])
    return known
