"""The same key again and again: runs of one side, and runs of ties, of "both are bad", of skips.

Pure: votes as codes in, one answer per labeler out. Sides are drawn by lot, so a run on one side is
held against a fair coin. How often a tie is right nobody can say beforehand: those runs are held
against what the others do, and honest people who meet many ties in a row are named no sooner.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback.copying import human_pace
from feedback.sequential import log_row_evidence, log_run_evidence

# The share of one such verdict that an honest labeler has at most.
# Choice: half of the votes, or 0.15 beyond the others' share, as for length.
HONEST_SAME, BEYOND_OTHERS = 0.5, 0.15
# Choice: alone with a weak model an honest person calls four pairs of five bad; the others' votes
# count against that from twenty on.
HONEST_ALONE, OTHERS_PRIOR = 0.8, 20
MOST_SAME = 0.98  # Choice: where the others say hardly anything else, a run says hardly anything

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


class Same(NamedTuple):
    """Each of M labelers' most telling run of one verdict."""

    verdict: Codes  # (M,) its code; -1 where there is no run
    length: Codes  # (M,) votes in the run, without those in which somebody else said the same
    share: Floats  # (M,) of the verdict among the labeler's, skips among them; NaN without a run
    n: Codes  # (M,) the labeler's verdicts
    evidence: Floats  # (M,) log evidence, less the logarithm of how many verdicts it could be


def side_runs(labeler: Codes, side: Codes, people: int) -> tuple[Codes, Floats]:
    """Return each labeler's longest run of one side, and the log evidence of their worst run.

    Args:
        labeler: (V,) codes, sorted, and each labeler's votes by time; only those with a side.
        side: (V,) which side was chosen.
    """
    longest, evidence = np.zeros(people, dtype=np.int64), np.full(people, -np.inf)
    turn = np.ones(len(labeler), dtype=bool)
    turn[1:] = (labeler[1:] != labeler[:-1]) | (side[1:] != side[:-1])
    begins, length, start = _runs(labeler, turn)
    np.maximum.at(longest, labeler[begins], length)
    np.maximum.at(evidence, labeler[begins], log_run_evidence(length, start))
    return longest, np.where(longest > 0, evidence, 0.0)


def same_runs(
    labeler: Codes, item: Codes, verdict: Codes, time: Codes, *, among: tuple[int, ...], people: int
) -> Same:
    """Return each labeler's most telling run of one of some verdicts.

    A vote with which somebody else agreed on that comparison neither makes nor breaks a run. Where
    times are those of a file and not of a person, there is no order and no run.

    Args:
        labeler: (V,) codes, sorted, and each labeler's votes by time.
        item, verdict: (V,) codes of comparisons and of verdicts.
        time: (V,) nanoseconds.
        among: the verdicts' codes.
    """
    n = np.bincount(labeler, minlength=people)
    paced = human_pace(labeler, time, people)
    found = Same(np.full(people, -1), np.zeros(people, int), np.full(people, np.nan), n,
                 np.full(people, -np.inf))  # fmt: skip
    for one in among:
        said = verdict == one
        hits = np.bincount(labeler[said], minlength=people)
        alone = said & paced & ~_shared(labeler, item, said)
        length, evidence = _best_runs(labeler, said, alone, _at_most(hits, n))
        better = (length > 0) & (evidence - np.log(len(among)) > found.evidence)
        found.verdict[better], found.length[better] = one, length[better]
        found.share[better] = hits[better] / n[better]
        found.evidence[better] = evidence[better] - np.log(len(among))
    return found._replace(evidence=np.where(found.verdict >= 0, found.evidence, 0.0))


def _at_most(hits: Codes, n: Codes) -> Floats:
    """Return how often an honest one of M labelers says a verdict at most, by what others do."""
    others, of = hits.sum() - hits, n.sum() - n
    prior = OTHERS_PRIOR * (HONEST_ALONE - BEYOND_OTHERS)
    lean = (others + prior) / (of + OTHERS_PRIOR)
    return np.asarray(np.clip(lean + BEYOND_OTHERS, HONEST_SAME, MOST_SAME))


def _shared(labeler: Codes, item: Codes, said: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which votes are on comparisons of which two labelers said this verdict, (V,)."""
    width = int(item.max(initial=-1)) + 1
    each = np.unique(labeler[said] * max(width, 1) + item[said])
    people = np.bincount(each % max(width, 1), minlength=width)
    return said & (people[item] > 1)


def _best_runs(
    labeler: Codes, said: NDArray[np.bool_], alone: NDArray[np.bool_], at_most: Floats
) -> tuple[Codes, Floats]:
    """Return the length and the log evidence of each labeler's most telling run, both (M,).

    Args:
        said, alone: (V,) which votes are the verdict, and which of them make a run.
        at_most: (M,) the honest share.
    """
    longest, evidence = np.zeros(len(at_most), dtype=np.int64), np.full(len(at_most), -np.inf)
    rows = alone | ~said
    labeler, said = labeler[rows], said[rows]
    turn = np.ones(len(labeler), dtype=bool)
    turn[1:] = (labeler[1:] != labeler[:-1]) | (said[1:] != said[:-1])
    begins, length, start = _runs(labeler, turn)
    own = said[begins]
    who, length, start = labeler[begins[own]], length[own], start[own]
    worth = log_row_evidence(length, start, at_most[who])
    order = np.lexsort((length, worth))  # the most telling last, which stays
    longest[who[order]], evidence[who[order]] = length[order], worth[order]
    return longest, evidence


def _runs(labeler: Codes, turn: NDArray[np.bool_]) -> tuple[Codes, Codes, Codes]:
    """Return where each run begins, its length, and which of its labeler's votes it begins with.

    Args:
        turn: (V,) which votes begin one.
    """
    begins = np.flatnonzero(turn)
    length = np.diff(np.append(begins, len(labeler)))
    opening = np.searchsorted(labeler, labeler[begins])  # each labeler's first vote
    return begins, length, begins - opening + 1
