"""Remedies for preferences before they are trained on. Pure: values in, ids and costs out.

Nothing here deletes anything. Each remedy says what it leaves out of a snapshot, and what that
costs: `balanced_by_length`, `beyond_cap`, `repeated_pairs`; or what the votes are worth:
`likely_verdicts`. Chance is drawn from ids and a seed, never from the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback.agreement import dawid_skene
from feedback.intervals import wilson
from storage.errors import BadInput

STRATA = (
    10  # Choice: tenths of the relative difference; finer ones match better and cost more pairs
)
# Source: the issue asks for a cap of 10 % of the votes where there are enough labelers.
CAP = 0.1
# Choice: with fewer labelers than 1 / CAP no choice of votes can hold the cap; and one that would
# cost more than half of all votes says that there are too few labelers for it, not that one is bad.
MOST_COST = 0.5
CLASSES = ("a", "b", "tie", "both_bad")  # verdicts that say something about two answers

OUT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "labeler": ("labeler",),
    "source": ("source",),
    "prompt": ("prompt",),
    "comparison": ("comparison",),
    "response": ("a", "b", "response", "original", "corrected"),
    "vote": ("vote", "rating", "edit"),
}  # kind of an exclusion → the columns that may name it; each frame has some of them

Couple = tuple[str, str, str]  # Prompt.id, and the two Text.id, the smaller one first


class Share(NamedTuple):
    """In how many of the pairs with answers of different length the longer one was chosen."""

    longer: int
    pairs: int

    def as_json(self) -> dict[str, float | int | None]:
        low, high = wilson(self.longer, self.pairs) if self.pairs else (None, None)
        share = self.longer / self.pairs if self.pairs else None
        return {"value": share, "low": low, "high": high, "n": self.pairs}

    def words(self) -> str:
        """Return the share with its 95 % interval.

        >>> Share(5, 20).words()
        '25.0 % of 20 pairs (95 % interval 11.2 to 46.9 %)'
        """
        if not self.pairs:
            return "no pair"
        low, high = wilson(self.longer, self.pairs)
        return (
            f"{100 * self.longer / self.pairs:.1f} % of {self.pairs:,} pairs "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        )


class Balance(NamedTuple):
    """Pairs in which the longer answer is chosen as often as the shorter one."""

    kept: frozenset[str]
    left_out: frozenset[str]
    before: Share
    after: Share


class Cap(NamedTuple):
    """What of the labelers' feedback lies beyond one labeler's share."""

    left_out: frozenset[str]
    ceiling: int | None  # pieces that one labeler keeps at most; None where there is no cap
    labelers: int
    most: float  # the largest share of one labeler before


def left_in(frame: pd.DataFrame, out: Mapping[str, Collection[str]]) -> pd.Series:
    """Return for each row whether nothing that it names is excluded.

    Args:
        frame: Votes, ratings, edits, comparisons or prompts, with the columns of `OUT_COLUMNS`.
        out: Kind of exclusion → ids (of a source its name, and only feedback is of it: a prompt or
            comparison has a `source` too, but where it came from is not who judged it).
    """
    stays = pd.Series(True, index=frame.index)
    judged = not frame.columns.intersection(OUT_COLUMNS["vote"]).empty
    for kind, ids in out.items():
        for column in OUT_COLUMNS[kind] if ids and (judged or kind != "source") else ():
            if column in frame:
                stays &= ~frame[column].isin(list(ids))
    return stays


def balanced_by_length(pairs: pd.DataFrame, *, seed: int = 0) -> Balance:
    """Return the largest matched subsample in which the longer answer wins half of the pairs.

    Pairs are put into strata by the size of the relative difference of their lengths, |a - b| /
    max(a, b) in tenths. Of each stratum as many pairs with the longer answer chosen are kept as
    with the shorter one, so that neither the direction nor the size of a difference tells which
    answer won. Pairs of equal length all stay. Who stays is drawn from the ids and the seed.

    Args:
        pairs: One pair a row: id, chosen_chars, rejected_chars (characters).

    Source: exact matching on a coarsened covariate: Iacus, King, Porro, "Causal inference without
    balance checking: coarsened exact matching" (2012).
    """
    ids = pairs["id"].to_numpy(dtype=object)
    chosen = pairs["chosen_chars"].to_numpy(dtype=float)
    rejected = pairs["rejected_chars"].to_numpy(dtype=float)
    longest = np.maximum(chosen, rejected)
    size = np.divide(
        np.abs(chosen - rejected), longest, out=np.zeros_like(longest), where=longest > 0
    )
    stratum = np.minimum((size * STRATA).astype(int), STRATA - 1)
    keep = size == 0
    for one in range(STRATA):
        sides = [
            np.flatnonzero((stratum == one) & (size > 0) & (won == (chosen > rejected)))
            for won in (True, False)
        ]
        room = min(map(len, sides))
        for side in sides:
            keep[_drawn(ids, side, room, seed)] = True
    different = size > 0
    return Balance(
        frozenset(ids[keep]),
        frozenset(ids[~keep]),
        Share(int((chosen > rejected).sum()), int(different.sum())),
        Share(int((keep & (chosen > rejected)).sum()), int((keep & different).sum())),
    )


def beyond_cap(ids: Sequence[str], labelers: Sequence[str], cap: float | None) -> Cap:
    """Return which pieces of feedback lie beyond the share that one labeler may have.

    What stays of a labeler is drawn from the ids of the pieces alone: it does not depend on what
    was decided in them, nor on their order.

    Args:
        ids, labelers: One piece of feedback each.
        cap: The largest share, in (0, 1]; None: `CAP`, where there are enough labelers for it.

    Raises:
        BadInput: a cap was asked for that so few labelers cannot hold.
    """
    codes, names = pd.factorize(np.asarray(labelers, dtype=object))
    counts = np.bincount(codes, minlength=len(names))
    most = counts.max() / counts.sum() if len(counts) else 0.0
    if not len(ids) or (cap is None and CAP * len(names) < 1):
        return Cap(frozenset(), None, len(names), most)
    ceiling = _ceiling(counts, CAP if cap is None else cap)
    if not ceiling:
        raise BadInput(
            f"a cap of {100 * (cap or CAP):g} % for one labeler needs at least "
            f"{int(np.ceil(1 / (cap or CAP)))} labelers; {len(names)} gave feedback: "
            f"raise the cap, or leave it out"
        )
    kept = np.minimum(counts, ceiling).sum()
    if ceiling >= counts.max() or (cap is None and kept < MOST_COST * counts.sum()):
        return Cap(frozenset(), None, len(names), most)
    pieces = np.asarray(ids, dtype=object)
    out: set[str] = set()
    for labeler in np.flatnonzero(counts > ceiling):
        places = np.flatnonzero(codes == labeler)
        stays = _drawn(pieces, places, ceiling, seed=0)
        out.update(pieces[np.setdiff1d(places, stays)])
    return Cap(frozenset(out), ceiling, len(names), most)


def _ceiling(counts: npt.NDArray[np.int64], cap: float) -> int:
    """Return the largest T so that a labeler with T pieces has at most `cap` of Σ min(n, T); or 0.

    cap · Σ min(n, T) - T is concave in T and 0 at 0, so what holds at one T holds below it.
    """
    low, high = 0, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        if middle <= cap * np.minimum(counts, middle).sum() + 1e-9:
            low = middle
        else:
            high = middle - 1
    return low


def repeated_pairs(pairs: pd.DataFrame, alike: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs that repeat another one: pair id → the id of the one to keep.

    Two pairs repeat each other when their prompts are of one near-duplicate cluster and their two
    answers are nearly the same, whichever was chosen. The one with the most votes stays, of
    equals the one with the smallest id.

    Args:
        pairs: One pair a row: id, cluster, chosen, rejected (Text ids), votes (how many).
        alike: Text id → a name shared by the texts nearly the same; one that is not in it is alone.
    """
    first: dict[tuple[str, frozenset[str]], str] = {}
    repeats: dict[str, str] = {}
    for row in pairs.sort_values(["votes", "id"], ascending=[False, True]).itertuples():
        answers = frozenset(alike.get(text, text) for text in (row.chosen, row.rejected))
        kept = first.setdefault((row.cluster, answers), row.id)
        if kept != row.id:
            repeats[row.id] = kept
    return repeats


def likely_verdicts(votes: pd.DataFrame) -> dict[Couple, dict[str, float]]:
    """Return for each two answers how likely each verdict is the right one, by who said what.

    A labeler who is often right, as far as the others' votes tell, counts more: the model of Dawid
    and Skene (`feedback.agreement`). Its verdicts are in terms of the couple: "a" is the answer
    with the smaller Text.id. Votes that only skip say nothing.

    Args:
        votes: One live vote a row: prompt, text_a, text_b, labeler, verdict.
    """
    said = votes[votes["verdict"].isin(CLASSES)]
    if said.empty:
        return {}
    one, other = said["text_a"].to_numpy(dtype=object), said["text_b"].to_numpy(dtype=object)
    swapped = other < one
    couples = pd.MultiIndex.from_arrays(
        [
            said["prompt"].astype(object),
            np.where(swapped, other, one),
            np.where(swapped, one, other),
        ]
    )
    items, names = pd.factorize(couples)
    labelers, _ = pd.factorize(said["labeler"])
    codes = said["verdict"].map({name: i for i, name in enumerate(CLASSES)}).to_numpy(dtype=int)
    verdicts = np.where(swapped & (codes < 2), 1 - codes, codes)
    found = dawid_skene(items, labelers, verdicts, len(CLASSES)).posterior
    return {
        couple: dict(zip(CLASSES, row, strict=True))
        for couple, row in zip(names, found.tolist(), strict=True)
    }


def _drawn(
    ids: npt.NDArray[np.object_], places: npt.NDArray[np.intp], n: int, seed: int
) -> npt.NDArray[np.intp]:
    """Return `n` of the places, those whose ids come first in an order that only the seed sets."""
    if n >= len(places):
        return places
    order = np.argsort([_lot(id, seed) for id in ids[places]])
    return places[order[:n]]


def _lot(id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{id}".encode()).digest()


def groups_of(couples: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return id → the first id of its group, from (id, earlier id that it is near to)."""
    groups: dict[str, str] = {}
    for id, earlier in couples:
        groups[id] = groups.get(earlier, earlier)
    return groups
