"""Who follows whom: the same verdict on the same comparison, again and again, within seconds.

Pure. Two honest people agree often, and two who began together meet often; that most of what they
share is the same verdict *and* came within seconds after the other's is neither. Kept simple: who
copies late, or changes some, is not found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback.sequential import log_evidence

WITHIN = 10.0  # seconds after the other's vote. Choice: to see a verdict and to give the same
# Choice: people who begin the same list together may well share half of their moments.
HONEST = 0.5  # share of the comparisons of two labelers with the same verdict within seconds after
# Choice: nobody votes twice in half a second for long, so such times are those of an import.
LEAST_PACE = 0.5  # seconds, median from one vote of a labeler to the next
MOST_AT_ONCE = 50  # Choice: votes after one on the same comparison that are looked at
FEWEST = 10  # followed votes; with fewer the evidence is below 200, whoever it is

SHIFT = 31  # bits: two labelers' codes in one number

Codes = NDArray[np.int64]


class Copies(NamedTuple):
    """Whom each of M labelers follows most; the source is -1, the share NaN where nobody."""

    source: Codes  # (M,) code of the labeler who came first
    share: NDArray[np.float64]  # (M,) of the comparisons that both judged, followed within seconds
    n: Codes  # (M,) comparisons that both judged
    evidence: NDArray[np.float64]  # (M,) log evidence, less the logarithm of M - 1: who it could be


def copies(
    labeler: Codes, item: Codes, verdict: Codes, time: Codes, among: NDArray[np.bool_]
) -> Copies:
    """Return whom each labeler copies, if anybody.

    Args:
        labeler: (V,) codes from 0, sorted, and each labeler's votes by time.
        item: (V,) codes of comparisons.
        verdict: (V,) codes of verdicts.
        time: (V,) nanoseconds.
        among: (V,) which votes count: one for each labeler and comparison.
    """
    people = int(labeler.max()) + 1 if len(labeler) else 0
    usable = among & human_pace(labeler, time, people)
    labeler, item, verdict, time = (x[usable] for x in (labeler, item, verdict, time))
    followed = _followed(labeler, item, verdict, time)
    none = Copies(
        np.full(people, -1), np.full(people, np.nan), np.zeros(people, int), np.zeros(people)
    )
    pairs, hits = np.unique(followed, return_counts=True)
    pairs, hits = pairs[hits >= FEWEST], hits[hits >= FEWEST]
    if not len(pairs):
        return none
    source, copier = pairs >> SHIFT, pairs & (2**SHIFT - 1)
    begins = np.searchsorted(labeler, np.arange(people + 1))
    own = [item[begins[one] : begins[one + 1]] for one in range(people)]
    both = zip(source, copier, strict=True)
    n = np.array([len(np.intersect1d(own[a], own[b], assume_unique=True)) for a, b in both])
    evidence = log_evidence(hits, n, HONEST, direction="above") - np.log(people - 1)
    order = np.lexsort((source, -evidence, copier))  # the strongest first for each copier
    first = order[np.unique(copier[order], return_index=True)[1]]
    none.source[copier[first]] = source[first]
    none.share[copier[first]] = hits[first] / n[first]
    none.n[copier[first]] = n[first]
    none.evidence[copier[first]] = evidence[first]
    return none


def human_pace(labeler: Codes, time: Codes, people: int) -> NDArray[np.bool_]:
    """Return which votes are of labelers whose times can be those at which a person voted."""
    slow = np.zeros(len(labeler))
    same = labeler[1:] == labeler[:-1]
    slow[1:] = same & (np.diff(time) >= LEAST_PACE * 1e9)
    steps = np.bincount(labeler, minlength=people) - 1
    at_pace = np.bincount(labeler, weights=slow, minlength=people) >= steps / 2
    return np.asarray((at_pace & (steps > 0))[labeler])


def _followed(labeler: Codes, item: Codes, verdict: Codes, time: Codes) -> Codes:
    """Return a code, source and copier, for each two votes of which one followed the other."""
    order = np.lexsort((time, item))
    labeler, item, verdict, time = (x[order] for x in (labeler, item, verdict, time))
    followed = [np.zeros(0, np.int64)]
    earlier = np.arange(len(item))
    for lag in range(1, MOST_AT_ONCE + 1):
        earlier = earlier[earlier + lag < len(item)]
        later = earlier + lag
        near = (item[earlier] == item[later]) & (time[later] - time[earlier] <= WITHIN * 1e9)
        earlier, later = earlier[near], later[near]
        if not len(earlier):
            break
        same = verdict[earlier] == verdict[later]
        followed.append((labeler[earlier][same] << SHIFT) + labeler[later][same])
    return np.concatenate(followed)
