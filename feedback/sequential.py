"""Tests that stay right however often somebody looks: evidence that may be read after every vote.

A binomial test at 1 % that is looked at after each of 400 votes names 8.6 % of honest people
(`benchmarks/detection.py`).
Here the evidence against "nothing is wrong" is a wealth: what a bettor who began with 1 would own
now, betting on each vote against fair odds. If nothing is wrong, the wealth of a fair bet reaches
1/alpha at any time, ever, with a probability of at most alpha (Ville's inequality). Pure.

Source: Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; Howard,
Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 49(2); Ville 1939.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaln, xlog1py, xlogy

Direction = Literal["both", "above", "below"]


def log_evidence(
    hits: ArrayLike,
    n: ArrayLike,
    null: ArrayLike = 0.5,
    *,
    direction: Direction = "both",
    prior: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64]:
    """Return the natural logarithm of the evidence against a share, one for each of M labelers.

    The bettor spreads the stake over the other shares by a beta density (a mixture), cut to the
    side that `direction` names. Against "the share is `null`" that is a martingale; against "at
    most `null`" (direction "above") or "at least `null`" ("below") it can only be less.

    Args:
        hits: M counts; votes that had the property.
        n: M counts; votes in all. With none the evidence is 0: nothing is known.
        null: The share of an honest labeler, in (0, 1); one for all or M.
        direction: Where the share of a faulty labeler lies.
        prior: The density's two counts, both > 0; (1, 1) has no favourite, (10, 10) expects
            somebody who guesses between two.

    Example:
        >>> round(float(np.exp(log_evidence(10, 10))), 2)  # 2^10 / 11
        93.09
    """
    k, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    p = np.asarray(null, dtype=float)
    a, b = prior
    mixed = betaln(k + a, m - k + b) - betaln(a, b)
    if direction != "both":
        inside = betaincc if direction == "above" else betainc
        with np.errstate(divide="ignore"):  # all of the posterior on the honest side: no evidence
            mixed = mixed + np.log(inside(k + a, m - k + b, p)) - np.log(inside(a, b, p))
    return np.asarray(mixed - xlogy(k, p) - xlog1py(m - k, -p), dtype=float)


def log_run_evidence(length: ArrayLike, start: ArrayLike) -> NDArray[np.float64]:
    """Return the natural logarithm of the evidence of runs against a fair coin.

    A bettor for every flip s = 1, 2, …: begins there with a stake of 1/(s(s+1)), which sum to 1,
    and bets all that this flip ends the run before it and that those after it repeat it. A run of
    L flips that began at s makes the stake 2^L times as much (2^(L-1) for the first run, which
    ends none). So 13 in a row from the first vote, or 28 from the 400th, are worth about 1,400 to
    2,000: no number of votes has to be named in advance.

    Args:
        length: Flips in each run, 1 or more; 0 where there is no run (no evidence).
        start: The number of each run's first flip, from 1.

    Example:
        >>> np.exp(log_run_evidence([4, 4], [1, 2])).round(3).tolist()  # 2^3 / 2, 2^4 / 6
        [4.0, 2.667]
    """
    flips, first = np.asarray(length, dtype=float), np.asarray(start, dtype=float)
    doublings = np.where(flips > 0, flips - (first == 1), 0.0)
    return np.asarray(doublings * np.log(2.0) - np.log(first) - np.log1p(first), dtype=float)


def log_row_evidence(length: ArrayLike, start: ArrayLike, share: ArrayLike) -> NDArray[np.float64]:
    """Return the natural logarithm of the evidence of rows of one outcome that is too frequent.

    As `log_run_evidence`, for an outcome that comes with a probability of at most `share` each
    time: a bettor for every trial s, with a stake of 1/(s(s+1)), bets all that it and those after
    it come out so. A row of L makes the stake 1/share^L times as much.

    Args:
        length: Trials in each row, 1 or more.
        start: The number of each row's first trial, from 1.
        share: In (0, 1); one for all or one for each.

    Example:
        >>> np.exp(log_row_evidence([4, 4], [1, 2], 0.25)).round(1).tolist()  # 4^4 / 2, 4^4 / 6
        [128.0, 42.7]
    """
    trials, first = np.asarray(length, dtype=float), np.asarray(start, dtype=float)
    won = -trials * np.log(np.asarray(share, dtype=float))
    return np.asarray(won - np.log(first) - np.log1p(first), dtype=float)


def is_found(log_wealth: ArrayLike, alpha: ArrayLike) -> NDArray[np.bool_]:
    """Return where the evidence is enough: an honest labeler ever gets there with P ≤ `alpha`."""
    return np.asarray(np.asarray(log_wealth) >= -np.log(np.asarray(alpha, dtype=float)))


def share_interval(hits: float, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Return the interval of a share that may be read after every vote: it ever leaves the true
    share out with a probability of at most `alpha`.

    It holds the shares against which there is not enough evidence yet. A tie may count as half a
    hit: a bet's wealth is convex in the outcome, so between a miss and a hit it wins less on
    average than by chance one or the other.

    Args:
        hits: in 0..n.
        n: votes; with none the interval is all of (0, 1).

    Source: Robbins 1970; Darling and Robbins 1967, "Confidence sequences for mean, variance, and
    median". The convexity: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
    variables by betting", JRSS B 86(1), section 3.

    Example:
        >>> [round(end, 3) for end in share_interval(10, 10)]  # 220^(-1/10)
        [0.583, 1.0]
    """
    if not n:
        return 0.0, 1.0
    share = hits / n
    return _end(hits, n, alpha, share, 0.0), _end(hits, n, alpha, share, 1.0)


def _end(hits: float, n: int, alpha: float, inside: float, outside: float) -> float:
    """Return where the interval ends between the observed share and 0 or 1, by bisection."""
    if inside == outside:
        return outside
    for _ in range(50):  # more than a float's digits
        middle = (inside + outside) / 2
        if is_found(log_evidence(hits, n, middle), alpha):
            outside = middle
        else:
            inside = middle
    return outside


def votes_until(share: float, n: int, alpha: float = 0.05, most: int = 10_000) -> int | None:
    """Return how many more votes would be evidence against a half if the share stays as it is.

    Args:
        share: of hits so far, in 0..1.
        n: votes so far.
        most: None is returned beyond so many votes in all: they are as good as equal.

    Example:
        >>> votes_until(1.0, 3)  # 2^8 / 9 = 28 is above 20, 2^7 / 8 = 16 is not
        5
        >>> votes_until(0.5, 20) is None
        True
    """
    sizes = np.arange(n, most + 1)
    enough = is_found(log_evidence(share * sizes, sizes), alpha)
    return int(sizes[enough.argmax()]) - n if enough.any() else None
