"""The remedies applied to what is stored: what each leaves out, and a sentence with its cost.

What they decide is in `feedback.remedies`, which knows no store. Where what is left can be measured
at once, the check that the remedy is for says so again, under "again".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.imbalance import imbalance
from feedback.checks.length_bias import share as length_share
from feedback.live import Live, preferences_of
from feedback.near import RESPONSE_THRESHOLD, NearIndex
from feedback.preferences import Pair, Preferences
from feedback.remedies import CAP, Balance, balanced_by_length, beyond_cap, repeated_pairs
from storage.records import ANONYMOUS

if TYPE_CHECKING:
    from storage.store import Store

AT_ONCE = 2_000  # texts in memory at the same time
CAPPED = "votes, thumbs and edits beyond one labeler's share"


def capped(live: Live, cap: float | None) -> tuple[Live, frozenset[str], Mapping[str, Any] | None]:
    """Return the feedback with each labeler's share capped, what is out, and what to tell."""
    names = ("vote", "rating", "edit")
    said = [
        frame[frame["verdict"] != "skip"] if "verdict" in frame else frame
        for frame in live.frames()
    ]
    ids = [id for frame, name in zip(said, names, strict=True) for id in frame[name]]
    labelers = [labeler for frame in said for labeler in frame["labeler"]]
    # Whom a product does not name is many people: none of them can be over a person's share.
    labelers = [
        id if labeler == ANONYMOUS else labeler for id, labeler in zip(ids, labelers, strict=True)
    ]
    found = beyond_cap(ids, labelers, cap)
    if found.ceiling is None:
        return live, frozenset(), None
    votes, ratings, edits = (
        frame[~frame[name].isin(list(found.left_out))]
        for frame, name in zip(live.frames(), names, strict=True)
    )
    told: dict[str, Any] = {
        "name": "cap_labeler",
        "cost": len(found.left_out),
        "message": f"Each labeler counts with at most {found.ceiling:,} votes, thumbs and edits, "
        f"{100 * (CAP if cap is None else cap):g} % of what is kept: {len(found.left_out):,} of "
        f"{len(ids):,} are left out. The largest share before was {100 * found.most:.1f} %.",
    }
    columns = replace(Columns.empty(), votes=votes, ratings=ratings)
    told["again"] = imbalance(columns).summary()
    left_out = {**live.left_out, CAPPED: len(found.left_out)}
    live = live._replace(votes=votes, ratings=ratings, edits=edits, left_out=left_out)
    return live, found.left_out, told


def weighed(store: Store, live: Live, found: Preferences) -> Mapping[str, Any]:
    """Return what weighing by labeler changed, beside counting heads."""
    by_heads = {pair.id for pair in preferences_of(store, live).pairs}
    weighed = {pair.id for pair in found.pairs}
    soft = sum(pair.p_chosen < 0.99 for pair in found.pairs)
    return {
        "name": "weigh_labelers",
        "cost": len(by_heads) - len(weighed),
        "message": f"Votes are weighed by how often their labeler is right: {len(weighed):,} pairs "
        f"instead of {len(by_heads):,}, {len(weighed - by_heads):,} of them decided otherwise than "
        f"by counting heads; {soft:,} are less than 99 % sure.",
    }


def balanced(store: Store, pairs: Sequence[Pair]) -> tuple[frozenset[str], Mapping[str, Any]]:
    """Return the pairs to leave out so that the longer answer wins half, and what to tell."""
    found = balanced_by_length(_lengths(store, pairs))
    return found.left_out, _told(found)


def _told(balanced: Balance) -> Mapping[str, Any]:
    cost, after = len(balanced.left_out), balanced.after
    again = length_share(after.longer, after.pairs).summary()
    again["message"] = f"Balanced, the longer answer was chosen in {after.words()}."
    return {
        "name": "balance_length",
        "cost": cost,
        "before": balanced.before.as_json(),
        "after": after.as_json(),
        "again": again,
        "message": f"{cost:,} of {cost + len(balanced.kept):,} pairs are left out, so that length "
        f"tells nothing: the longer answer was chosen in {balanced.before.words()}, now in "
        f"{after.words()}.",
    }


def _lengths(store: Store, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return id, chosen_chars and rejected_chars of pairs."""
    responses = store.frame("responses").set_index("response")["chars"]
    frame = pd.DataFrame(
        [(pair.id, pair.chosen, pair.rejected) for pair in pairs],
        columns=["id", "chosen", "rejected"],
    )
    return frame.assign(
        chosen_chars=frame["chosen"].map(responses), rejected_chars=frame["rejected"].map(responses)
    )


def repeats_of(
    store: Store,
    pairs: Sequence[Pair],
    prompts: Mapping[str, tuple[str, str]],
    texts: Mapping[str, str],
) -> dict[str, str]:
    """Return pair id → the pair that it repeats, which stays."""
    rows = [
        (pair.id, prompts[pair.prompt][1], texts[pair.chosen], texts[pair.rejected],
         len(pair.votes_for) + len(pair.votes_against))
        for pair in pairs
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["id", "cluster", "chosen", "rejected", "votes"])
    several = frame[frame["cluster"].duplicated(keep=False)]
    return repeated_pairs(several, _alike(store, several))


def _alike(store: Store, pairs: pd.DataFrame) -> dict[str, str]:
    """Return text id → the first text of its cluster that it is nearly the same as, or itself."""
    alike: dict[str, str] = {}
    by_cluster: dict[str, list[str]] = defaultdict(list)
    for row in pairs.itertuples():
        by_cluster[row.cluster] += [row.chosen, row.rejected]
    for part in _parts(list(by_cluster.values())):
        contents = store.texts({text for ids in part for text in ids})
        for ids in part:
            index = NearIndex(RESPONSE_THRESHOLD)
            for id in sorted(set(ids)):
                near = index.find_and_add(id, contents[id])
                alike[id] = alike[near[0][0]] if near else id
    return alike


def _parts(clusters: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Yield the clusters in parts of about `AT_ONCE` texts."""
    part: list[list[str]] = []
    size = 0
    for ids in clusters:
        part.append(ids)
        size += len(ids)
        if size >= AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part
