"""Do people agree, and who can be trusted? Krippendorff's alpha and the model of Dawid and Skene.

Pure and sparse: one-dimensional arrays of codes go in, one entry per judgement (which item, who,
which verdict), each from 0. Nothing is as large as labelers × items. Letters: N items, M labelers,
C classes (verdicts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

TIMES = 1_000  # Choice: resamples; the ends of the interval then wander by about 3 % of its width
# Choice: prior votes in each row of a labeler's confusion matrix, half of them right, the rest
# spread over the wrong verdicts. Without any, one vote makes a labeler sure for ever (a zero stays
# a zero); that half are right says that people mean what they say, so that "a" cannot become "b".
PRIOR_VOTES = 1.0
PRIOR_ITEMS = 1.0  # Choice: spread evenly over the classes, so that none is impossible
ROUNDS = 100  # Choice: at most; on real and simulated votes the tolerance comes after 10 to 40
LEAST_LOG = -300.0  # of a share that a leap leads to: so small, and still a number
ROWS = 4_096  # Choice: items at a time; of 1,000 to 16,000 the quickest on a cache of 512 KB a core
PLAIN = 10  # rounds before the first leap. Choice: the first ones go far by themselves
FARTHEST = 4.0  # Choice: of leaps at first; four times as far after each that went so far and held
TOLERANCE = (
    1e-5  # nats per judgement. Choice: on the real votes of LLMFAO accuracies are then 0.014
)
# from where they end up, well within what their few votes leave open

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


def krippendorff_alpha(units: ArrayLike, values: ArrayLike) -> float:
    """Return Krippendorff's alpha for nominal values; NaN where it cannot be computed.

    1 is perfect agreement, 0 what chance gives, below 0 is systematic disagreement. A unit judged
    once says nothing and is left out. NaN: no unit has two judgements, or all judgements are equal.

    Args:
        units: What was judged, (judgements,), codes from 0.
        values: The verdict, (judgements,), codes from 0.

    Source: Krippendorff, "Content Analysis" (2004), chapter 11: alpha = 1 - D_o / D_e.

    Example:
        >>> krippendorff_alpha([0, 0, 1, 1], [0, 0, 1, 1])
        1.0
    """
    sums = _sums(_pairable(_table(units, values)))
    return float(_alpha(sums.sum(axis=0)))


def alpha_interval(
    units: ArrayLike, values: ArrayLike, rng: np.random.Generator, *, times: int = TIMES
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of alpha, with units drawn again; NaNs as for alpha.

    Units with the same counts of verdicts are alike, so each resample is one multinomial draw over
    the few kinds of unit: 300,000 units cost no more than 300. It holds the value itself: with a
    few units the percentiles alone may miss it.

    Args:
        units, values: As for `krippendorff_alpha`.
        rng: Where the resamples come from.
        times: How many.
    """
    table = _pairable(_table(units, values))
    if not len(table):
        return np.nan, np.nan
    kinds, many = _kinds(table)
    sums = _sums(kinds)
    # One draw at a time: all at once would hold times × kinds numbers.
    drawn = np.array([rng.multinomial(len(table), many / len(table)) @ sums for _ in range(times)])
    alphas = np.append(_alpha(drawn), _alpha(many @ sums))
    if np.isnan(alphas[-1]):
        return np.nan, np.nan
    low, high = np.nanpercentile(alphas[:-1], [2.5, 97.5]) if times else alphas[[-1, -1]]
    return float(np.fmin(low, alphas[-1])), float(np.fmax(high, alphas[-1]))


def pairwise_agreement(units: ArrayLike, values: ArrayLike) -> tuple[int, int]:
    """Return how many pairs of judgements of one unit agree, and how many there are.

    Example:
        >>> pairwise_agreement([0, 0, 0, 1], [2, 2, 1, 0])
        (1, 3)
    """
    table = _table(units, values)
    of_unit = table.sum(axis=1)
    agreeing = (table * (table - 1)).sum() // 2
    return int(agreeing), int((of_unit * (of_unit - 1)).sum() // 2)


def _table(units: ArrayLike, values: ArrayLike) -> Codes:
    """Return how often each unit got each value, (units, values)."""
    units, values = _codes(units), _codes(values)
    if not len(units):
        return np.zeros((0, 1), np.int64)
    classes = int(values.max()) + 1
    rows = int(units.max()) + 1
    return np.bincount(units * classes + values, minlength=rows * classes).reshape(rows, classes)


def _codes(values: ArrayLike) -> Codes:
    return np.asarray(values, dtype=np.int64)


def _pairable(table: Codes) -> Codes:
    return table[table.sum(axis=1) >= 2]


def _kinds(table: Codes) -> tuple[Codes, Codes]:
    """Return the distinct rows of a table and how often each occurs.

    Column by column, because sorting one number is much quicker than sorting rows.
    """
    kind = np.zeros(len(table), np.int64)
    for column in table.T:
        kind = np.unique(kind * (column.max() + 1) + column, return_inverse=True)[1]
    _, first, many = np.unique(kind, return_index=True, return_counts=True)
    return table[first], many


def _sums(table: Codes) -> Floats:
    """Return, for each unit, what alpha sums: its counts, and its agreement; (units, C + 1).

    The agreement is Σ_c n_c (n_c - 1) / (n - 1), the unit's share of the coincidence matrix's
    diagonal.
    """
    of_unit = table.sum(axis=1)
    agreement = (table * (table - 1)).sum(axis=1) / np.maximum(of_unit - 1, 1)
    return np.column_stack([table, agreement]).astype(float)


def _alpha(sums: Floats) -> Floats:
    """Return alpha from the sums over units, (..., C + 1) → (...)."""
    counts, agreement = sums[..., :-1], sums[..., -1]
    n = counts.sum(axis=-1)
    by_chance = n * n - (counts * counts).sum(axis=-1)  # n (n - 1) D_e
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = 1 - (n - 1) * (n - agreement) / by_chance
    return np.where(by_chance > 0, alpha, np.nan)


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """What `dawid_skene` found."""

    posterior: Floats  # (N, C): how likely each class is the right one for each item
    accuracy: Floats  # (M,): how likely each labeler is right about an item drawn by `prior`
    confusion: Floats  # (M, C, C): [m, c, v] = how likely m says v where c is right
    prior: Floats  # (C,): how frequent each class is
    log_likelihood: float  # nats, of the judgements under these parameters
    rounds: int


def dawid_skene(
    items: ArrayLike,
    labelers: ArrayLike,
    verdicts: ArrayLike,
    classes: int,
    *,
    rounds: int = ROUNDS,
    tolerance: float = TOLERANCE,
) -> DawidSkene:
    """Return the likely right verdicts and how good each labeler is, from the votes alone.

    Expectation-maximisation, started from each item's shares of votes (the majority). Rows of the
    confusion matrices and the prior are smoothed (PRIOR_VOTES, PRIOR_ITEMS), which makes this a
    maximum a posteriori estimate with Dirichlet priors. A round costs two products with one sparse
    matrix, so cost is linear in votes. After some rounds every third one is a leap along the way
    that the two before it took; one that would lower the objective is not taken.

    Args:
        items, labelers, verdicts: (votes,), codes from 0; one labeler may judge an item twice.
        classes: C; verdicts are below it.
        rounds: At most so many.
        tolerance: Nats per vote; ends when the objective rises by less in one round.

    Source: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM
    algorithm" (1979); the smoothing as in Kim and Ghahramani, "Bayesian classifier combination"
    (2012); leaps: SQUAREM, scheme S3, of Varadhan and Roland, "Simple and globally convergent
    methods for accelerating the convergence of any EM algorithm" (2008), in logarithms.
    """
    items, labelers, verdicts = _codes(items), _codes(labelers), _codes(verdicts)
    n, m = (int(codes.max()) + 1 if len(codes) else 0 for codes in (items, labelers))
    ones = np.ones(len(items))
    said = sparse.csr_array((ones, (items, labelers * classes + verdicts)), (n, m * classes))
    by_labeler = said.T  # (M C, N) by column: each item's votes go to sums that the cache holds
    smoothing = _smoothing(classes)

    votes = np.bincount(items * classes + verdicts, minlength=n * classes).reshape(n, classes)
    posterior = (votes + 1e-12) / (votes + 1e-12).sum(axis=1, keepdims=True)
    best = _Guess(np.zeros((m, classes, classes)), np.full(classes, 1 / classes))
    way: list[_Guess] = []  # the plain rounds since the last leap
    log_likelihood, objective, done, farthest = 0.0, -np.inf, 0, FARTHEST
    while done < rounds:
        done += 1
        leaps = done > PLAIN and len(way) == 3
        if leaps:
            guess, length = _leap(way, farthest)
        else:
            soft = (by_labeler @ posterior).reshape(m, classes, classes).transpose(0, 2, 1)
            prior = _shares(posterior.sum(axis=0) + PRIOR_ITEMS / classes)
            guess = _Guess(_shares(soft + smoothing), prior)
        logs = np.log(guess.confusion)
        by_verdict = logs.transpose(0, 2, 1).reshape(m * classes, classes)
        joint = said @ by_verdict + np.log(guess.prior)  # (N, C), log P(class, votes)
        shares, of_items = _normalised(joint)
        likely = float(of_items.sum())
        height = likely + float((smoothing * logs).sum() + PRIOR_ITEMS * np.log(guess.prior).mean())
        if leaps:
            way = [way[-1]]  # a way of two plain rounds more leads to the next leap
            if not height >= objective:
                farthest = max(1.0, farthest / 4)
                continue
            farthest *= 4 if length == farthest else 1
            way = []
        rise, objective = height - objective, height
        posterior, best, log_likelihood = shares, guess, likely
        way = [*way, guess][-3:]
        if not leaps and rise < tolerance * max(len(items), 1):
            break
    accuracy = np.einsum("c,mcc->m", best.prior, best.confusion)
    return DawidSkene(posterior, accuracy, best.confusion, best.prior, log_likelihood, done)


@dataclass(frozen=True, slots=True)
class _Guess:
    """What one round goes by: confusion matrices (M, C, C) and prior (C,)."""

    confusion: Floats
    prior: Floats

    def logs(self) -> Floats:
        return np.log(np.append(self.confusion, self.prior))


def _leap(way: Sequence[_Guess], farthest: float) -> tuple[_Guess, float]:
    """Return where three guesses, each a plain round after the other, lead to; and how far it goes
    (1: to the last of them), at most `farthest`."""
    start, middle, end = (guess.logs() for guess in way)
    first, turn = middle - start, end - 2 * middle + start
    bend = float(np.linalg.norm(turn))
    length = min(max(1.0, float(np.linalg.norm(first)) / bend if bend else 1.0), farthest)
    logs = start + 2 * length * first + length**2 * turn
    classes = len(way[0].prior)
    confusion = logs[:-classes].reshape(-1, classes, classes)
    return _Guess(_shares_of(confusion), _shares_of(logs[-classes:])), length


def _normalised(joint: Floats) -> tuple[Floats, Floats]:
    """Return the posterior (N, C) and log P(votes) (N,) of log P(class, votes) (N, C).

    Some rows at a time, which the cache holds; and these column by column: over rows as short as C,
    numpy's own max and sum are slow.
    """
    shares, of_items = np.empty_like(joint), np.empty(len(joint))
    ones = np.ones(joint.shape[1])
    for start in range(0, len(joint), ROWS):
        part = slice(start, start + ROWS)
        highest = reduce(np.maximum, joint[part].T)
        likely = np.exp(joint[part] - highest[:, None])
        total = likely @ ones
        shares[part], of_items[part] = likely / total[:, None], highest + np.log(total)
    return shares, of_items


def _smoothing(classes: int) -> Floats:
    """Return the prior votes of every confusion matrix, (C, C)."""
    if classes == 1:
        return np.full((1, 1), PRIOR_VOTES)
    wrong = PRIOR_VOTES / 2 / (classes - 1)
    return np.full((classes, classes), wrong) + (PRIOR_VOTES / 2 - wrong) * np.eye(classes)


def _shares(counts: Floats) -> Floats:
    return counts / counts.sum(axis=-1, keepdims=True)


def _shares_of(logs: Floats) -> Floats:
    """Return shares from their logarithms, none of them 0."""
    return _shares(np.exp(np.maximum(logs - logs.max(axis=-1, keepdims=True), LEAST_LOG)))
