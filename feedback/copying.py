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
MOST_SHARED = 50  # Choice: votes of one comparison, to keep the work linear; more are left out

Codes = NDArray[np.int64]


class Copies(NamedTuple):
    """Whom each of M labelers follows most; the source is -1, the share NaN where nobody."""

    source: Codes  # (M,) code of the labeler who came first
    share: NDArray[np.float64]  # (M,) of the comparisons that both judged, followed within seconds
    n: Codes  # (M,) comparisons that both judged
    evidence: NDArray[np.float64]  # (M,) log evidence, less the logarithm of how many might be it


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
    usable = among & _human_pace(labeler, time, people)
    width = max(people, 1)
    shared, followed = _meetings(
        labeler[usable], item[usable], verdict[usable], time[usable], width=width
    )
    none = Copies(
        np.full(people, -1), np.full(people, np.nan), np.zeros(people, int), np.zeros(people)
    )
    if not len(followed):
        return none
    pairs, hits = np.unique(followed, return_counts=True)  # source * width + copier
    met, times = np.unique(shared, return_counts=True)  # smaller * width + larger
    source, copier = pairs // width, pairs % width
    both = np.minimum(source, copier) * width + np.maximum(source, copier)
    n = times[np.searchsorted(met, both)]
    acquainted = np.bincount(np.append(met // width, met % width), minlength=people)
    evidence = log_evidence(hits, n, HONEST, direction="above") - np.log(acquainted[copier])
    order = np.lexsort((source, -evidence, copier))  # the strongest first for each copier
    first = order[np.unique(copier[order], return_index=True)[1]]
    none.source[copier[first]] = source[first]
    none.share[copier[first]] = hits[first] / n[first]
    none.n[copier[first]] = n[first]
    none.evidence[copier[first]] = evidence[first]
    return none


def _human_pace(labeler: Codes, time: Codes, people: int) -> NDArray[np.bool_]:
    """Return which votes are of labelers whose times can be those at which a person voted."""
    slow = np.zeros(len(labeler))
    same = labeler[1:] == labeler[:-1]
    slow[1:] = same & (np.diff(time) >= LEAST_PACE * 1e9)
    steps = np.bincount(labeler, minlength=people) - 1
    at_pace = np.bincount(labeler, weights=slow, minlength=people) >= steps / 2
    return np.asarray((at_pace & (steps > 0))[labeler])


def _meetings(
    labeler: Codes, item: Codes, verdict: Codes, time: Codes, *, width: int
) -> tuple[Codes, Codes]:
    """Return a code for each two votes of one comparison: the pair; and, if followed, who whom."""
    many = np.bincount(item)
    few = many[item] <= MOST_SHARED if len(item) else np.zeros(0, dtype=bool)
    order = np.lexsort((labeler[few], time[few], item[few]))
    labeler, item, verdict, time = (x[few][order] for x in (labeler, item, verdict, time))
    shared, followed = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    earlier = np.arange(len(item))
    for lag in range(1, MOST_SHARED):
        earlier = earlier[earlier + lag < len(item)]
        later = earlier + lag
        earlier, later = (x[item[earlier] == item[later]] for x in (earlier, later))
        if not len(earlier):
            break
        one, other = labeler[earlier], labeler[later]
        shared.append(np.minimum(one, other) * width + np.maximum(one, other))
        close = (time[later] - time[earlier] <= WITHIN * 1e9) & (verdict[earlier] == verdict[later])
        followed.append((one * width + other)[close])
    return np.concatenate(shared), np.concatenate(followed)
