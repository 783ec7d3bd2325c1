"""The feedback that counts now, read from the store, and the preferences that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from feedback.assignments import skipped_items
from feedback.preferences import Preferences, pairs_and_labels

if TYPE_CHECKING:
    from storage.store import Store

AT_ONCE = 2_000  # texts in memory at the same time


class Live(NamedTuple):
    """Live votes, ratings and edits: the store's frames, votes with their comparison's a and b."""

    votes: pd.DataFrame
    ratings: pd.DataFrame
    edits: pd.DataFrame

    def texts(self) -> Mapping[str, str]:
        """Return Response.id → Text.id of everything that was judged."""
        return {
            response: text
            for frame, response, text in (
                (self.votes, "a", "text_a"),
                (self.votes, "b", "text_b"),
                (self.ratings, "response", "text"),
                (self.edits, "original", "text_original"),
                (self.edits, "corrected", "text_corrected"),
            )
            for response, text in zip(frame[response], frame[text], strict=True)
        }


def live_feedback(store: Store, *, simulated: bool = True) -> Live:
    """Return the live feedback; without that of simulated labelers if so wanted."""
    sides = store.frame("comparisons")[["comparison", "a", "b"]]
    votes = store.frame("votes")
    votes = votes[votes.columns.difference(["a", "b"])].merge(sides, on="comparison")
    frames = (votes, store.frame("ratings"), store.frame("edits"))
    if not simulated:
        frames = tuple(frame[frame["source"] != "simulated"] for frame in frames)
    return Live(*frames)


def preferences_of(store: Store, live: Live) -> Preferences:
    """Return the pairs and labels that the feedback gives, without what was skipped or is blank."""
    return pairs_and_labels(
        *live, blank=_blank(store, set(live.texts().values())), skipped=skipped_items(store)
    )


def _blank(store: Store, texts: set[str]) -> frozenset[str]:
    """Return the ids of the texts that have nothing but white space."""
    ordered, blank = sorted(texts), set()
    for start in range(0, len(ordered), AT_ONCE):
        contents = store.texts(ordered[start : start + AT_ONCE])
        blank |= {id for id, content in contents.items() if not content.strip()}
    return frozenset(blank)
