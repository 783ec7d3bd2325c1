"""A person's further votes on one comparison: the first counts, the others are surplus. Pure.

Of thumbs that a product's user gave one response the last counts: to press a thumb again is how a
product lets its users change their mind, and it comes without a revision.

A silent repeat is asked for and measured elsewhere; a skip says nothing; a change of mind is a
revision of the same vote and takes its place. What is left are two votes that both stand: from an
import, or from two devices. The first one counts, as in every other measure of a person
(`feedback.labelers.first_votes`): it was given without having seen the item before, and who votes
again later must not be able to turn a pair that a snapshot already holds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storage.records import ANONYMOUS, PRODUCT

# Choice: what files call their labeler where they name nobody in particular. Many people may stand
# behind such a name, and to take one person for many costs less than to throw people's votes away.
# "imported" is what an import calls who is not named, and no person may take it.
NOBODY = frozenset({
    "imported", "anonymous", "anon", "unknown", "nobody", "none", "n/a", "crowd", "user",
    "labeler", "annotator", "worker", ANONYMOUS,
})  # fmt: skip

Mask = NDArray[np.bool_]


def is_one_person(name: str) -> bool:
    """Say whether a labeler's name stands for one person, as far as a name can tell.

    Example:
        >>> is_one_person("Ada"), is_one_person("imported"), is_one_person(" Anonymous")
        (True, False, False)
    """
    return name.strip().casefold() not in NOBODY


def among_several(votes: pd.DataFrame) -> Mask:
    """Return which votes are of a person who has several on their comparison, (V,).

    Args:
        votes: Live votes: comparison, labeler, verdict, kind.
    """
    people, names = pd.factorize(votes["labeler"])
    known = np.array([*(is_one_person(str(name)) for name in names), False])[people]
    counted = (votes["verdict"] != "skip") & (votes["kind"] != "repeat")
    rows = np.flatnonzero(counted.to_numpy(dtype=bool) & known)
    items, comparisons = pd.factorize(votes["comparison"])
    key = people[rows].astype(np.int64) * max(len(comparisons), 1) + items[rows]
    found = np.zeros(len(votes), dtype=bool)
    ordered = np.sort(key)  # of a million votes in 20 ms, and mostly there is nothing to find
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        found[rows[np.isin(key, twice)]] = True
    return found


def surplus(votes: pd.DataFrame) -> Mask:
    """Return which votes say again what their labeler had said on the comparison before, (V,).

    The order is that of time, of one moment that of the ids.

    Args:
        votes: Live votes: vote (ids), comparison, labeler, verdict, kind, created_at.
    """
    rows = np.flatnonzero(among_several(votes))
    few = votes[["labeler", "comparison", "created_at", "vote"]].iloc[rows].assign(row=rows)
    few = few.sort_values(["created_at", "vote"])
    found = np.zeros(len(votes), dtype=bool)
    found[few.loc[few.duplicated(["labeler", "comparison"]), "row"]] = True
    return found


def changed_thumbs(ratings: pd.DataFrame) -> Mask:
    """Return which thumbs of a product's user were followed by another on the response, (R,).

    Args:
        ratings: Live ratings: rating (ids), response, labeler, source, created_at.
    """
    known = (ratings["source"] == PRODUCT) & (ratings["labeler"] != ANONYMOUS)
    rows = np.flatnonzero(known.to_numpy(dtype=bool))
    few = ratings[["labeler", "response", "created_at", "rating"]].iloc[rows].assign(row=rows)
    few = few.sort_values(["created_at", "rating"])
    found = np.zeros(len(ratings), dtype=bool)
    found[few.loc[few.duplicated(["labeler", "response"], keep="last"), "row"]] = True
    return found
