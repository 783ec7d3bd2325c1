"""The feedback that counts now, read from the store, and the preferences that follow from it.

What is excluded does not count, and neither does the same person once more: a silent repeat, or a
further vote on the same comparison (`feedback.surplus`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from feedback.assignments import skipped_items
from feedback.preferences import Preferences, pairs_and_labels
from feedback.remedies import Couple, left_in
from feedback.surplus import changed_thumbs, surplus
from storage.records import ERASED, Comparison

if TYPE_CHECKING:
    from storage.store import Store

NOTHING = ("", ERASED)  # what nobody can learn from
EXCLUDED = "votes, thumbs and edits that were excluded"
REPEATED = "votes that silently asked the same person again"
SURPLUS = "further votes of a person on one comparison (the first counts)"
CHANGED = "thumbs that a product's user changed later"


SHOWN = ["comparison", "prompt", "a", "b", "text_a", "text_b"]
NO_DECISIONS = pd.DataFrame(columns=["decision", "verdict", "created_at", *SHOWN])


class Live(NamedTuple):
    """Live votes, ratings and edits: the store's frames, votes with their comparison's a and b."""

    votes: pd.DataFrame
    ratings: pd.DataFrame
    edits: pd.DataFrame
    left_out: Mapping[str, int] = {}  # reason → how many of them do not count
    # what leads decided on comparisons, with the columns of votes that name them
    decisions: pd.DataFrame = NO_DECISIONS

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        return self.votes, self.ratings, self.edits

    def texts(self) -> Mapping[str, str]:
        """Return Response.id → Text.id of everything that was judged."""
        return {
            response: text
            for frame, response, text in (
                (self.votes, "a", "text_a"),
                (self.votes, "b", "text_b"),
                (self.decisions, "a", "text_a"),
                (self.decisions, "b", "text_b"),
                (self.ratings, "response", "text"),
                (self.edits, "original", "text_original"),
                (self.edits, "corrected", "text_corrected"),
            )
            for response, text in zip(frame[response].tolist(), frame[text].tolist(), strict=True)
        }


def live_feedback(store: Store, *, simulated: bool = True) -> Live:
    """Return the feedback that counts; without that of simulated labelers if so wanted."""
    compared = store.frame("comparisons")[SHOWN]
    sides = compared[["comparison", "a", "b"]]
    votes = store.frame("votes")
    votes = votes[votes.columns.difference(["a", "b"])].merge(sides, on="comparison")
    frames = [votes, store.frame("ratings"), store.frame("edits")]
    if not simulated:
        frames = [frame[frame["source"] != "simulated"] for frame in frames]
    out = excluded_ids(store)
    stay = [frame[left_in(frame, out)] for frame in frames]
    votes = stay[0][stay[0]["kind"] != "repeat"]
    again, changed = surplus(votes), changed_thumbs(stay[1])
    counts = {
        EXCLUDED: sum(map(len, frames)) - sum(map(len, stay)),
        REPEATED: len(stay[0]) - len(votes),
        SURPLUS: int(again.sum()),
        CHANGED: int(changed.sum()),
    }
    left_out = {reason: n for reason, n in counts.items() if n}
    decisions = store.frame("adjudicated").merge(compared, on="comparison")
    named = {kind: ids for kind, ids in out.items() if kind not in ("labeler", "source")}
    decisions = decisions[left_in(decisions, named)]  # who decides is not who is judged
    return Live(votes[~again], stay[1][~changed], stay[2], left_out, decisions)


def excluded_ids(store: Store) -> dict[str, Collection[str]]:
    """Return what is excluded now: kind → ids, the comparisons of excluded responses among them."""
    frame = store.frame("excluded")
    out: dict[str, Collection[str]] = {
        kind: set(rows) for kind, rows in frame.groupby("kind")["item"]
    }
    if responses := sorted(out.get("response", ())):
        shown = [*store.rows(Comparison, a=responses), *store.rows(Comparison, b=responses)]
        out["comparison"] = {*out.get("comparison", ()), *(one.id for one in shown)}
    return out


def preferences_of(
    store: Store, live: Live, likely: Mapping[Couple, Mapping[str, float]] | None = None
) -> Preferences:
    """Return the pairs and labels that the feedback gives, without what was skipped or is blank.

    Args:
        likely: How likely each verdict on two answers is (`likely_verdicts`); None counts heads.
    """
    found = pairs_and_labels(
        *live.frames(),
        live.decisions,
        blank=_blank(store, set(live.texts().values())),
        skipped=skipped_items(store),
        likely=likely,
    )
    return found._replace(dropped=dict(sorted({**found.dropped, **live.left_out}.items())))


def _blank(store: Store, texts: set[str]) -> frozenset[str]:
    """Return the ids of the texts that have nothing but white space, or were erased."""
    return frozenset(texts & store.saying(NOTHING))
