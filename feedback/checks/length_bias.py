"""Do longer answers win? The share of decided votes in which the longer response was chosen.

Length is in characters: this room knows no tokenizer. All decided live votes count, also those in
which one response is empty. A vote on two responses of the same length has no longer one and is
left out of the share. How much length is worth is fitted too: see `slopes`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, nothing
from feedback.intervals import Z95, wilson

NAME = "length_bias"
# Choice: GPT-4 as a judge, whose bias to length is well known, stands at 0.68 (FastChat issue
# 3911); 0.60 lies halfway to it. The other direction is as much of a shortcut for
# training, so 0.40 warns too.
THRESHOLD = 0.60
# Choice: when even the low end of the interval says three of four, length decides, whatever else.
STOP = 0.75
MIN_TO_WARN = 10  # decided votes. Choice: four in a row for the longer one are no news
MIN_TO_FIND = 20  # decided votes of a labeler or source, to be told apart
STEP = math.log(1.1)  # 10 % more characters
DOUBLE = math.log(2)
STEEPEST = 100.0  # Choice: of log odds per e-fold of characters; past any slope that votes can show

REMEDY = (
    "Ask the labelers whether length is what they want; then train on pairs whose lengths are "
    "balanced, or collect comparisons of about equal length."
)


class Slope(NamedTuple):
    """By how much length moves the log odds of winning: natural logarithms of either."""

    value: float  # NaN where the votes give none
    error: float

    def odds(self) -> tuple[float, float, float]:
        """Return by what 10 % more characters multiply the odds: value, low, high (95 %)."""
        half = Z95 * self.error
        ends = (self.value, self.value - half, self.value + half)
        value, low, high = (math.exp(STEP * end) for end in ends)
        return value, low, high


def length_bias(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share over all votes, and a finding per labeler and per source with 20 or more."""
    votes = columns.votes
    longer = longer_won(votes)
    result = overall(longer, threshold=threshold)
    known = longer.notna().to_numpy()
    won = longer.to_numpy()[known] > 0
    gains = log_gains(votes[["chars_a", "chars_b"]][known], won)
    findings = []
    if len(won) >= MIN_TO_FIND:
        (slope,) = slopes(gains, np.zeros(len(won), dtype=np.intp), 1)
        findings += [] if math.isnan(slope.value) else [_effect(slope, len(won), threshold)]
    for column in ("labeler", "source"):
        findings += _by_group(column, votes[column][known], won, gains, threshold)
    return CheckResult(
        NAME,
        result.value,
        result.low,
        result.high,
        result.n,
        result.severity,
        result.message,
        result.remedy,
        (),
        tuple(findings),
    )


def _by_group(
    column: str,
    names: pd.Series,
    won: npt.NDArray[np.bool_],
    gains: npt.NDArray[np.float64],
    threshold: float,
) -> list[Finding]:
    """Return a finding for each labeler or source with enough votes, by name."""
    codes, groups = pd.factorize(names)
    n = np.bincount(codes, minlength=len(groups))
    hits = np.bincount(codes[won], minlength=len(groups))
    fitted = slopes(gains, codes, len(groups))
    enough = sorted((str(groups[k]), k) for k in np.flatnonzero(n >= MIN_TO_FIND))
    return [
        _finding(f"{column} {name}", int(hits[k]), int(n[k]), fitted[k], threshold)
        for name, k in enough
    ]


def log_gains(chars: pd.DataFrame, longer: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return log(characters of the chosen one / of the other) per vote, (N,); a blank counts as 1.

    Args:
        chars: chars_a and chars_b.
        longer: whether the longer one was chosen.
    """
    logs = np.log(np.maximum(chars.to_numpy(dtype=float), 1.0))
    size = np.abs(logs[:, 0] - logs[:, 1])
    return np.where(longer, size, -size)


def slopes(gains: npt.NDArray[np.float64], codes: npt.NDArray[np.intp], groups: int) -> list[Slope]:
    """Return the logistic fit of each group: P(chosen) = 1 / (1 + exp(-slope * gain)).

    Without an intercept, since which answer is a and which b means nothing. By Newton's method,
    inside a bracket, as the likelihood is concave; the error is that of the observed information.
    There is none where all votes go one way (the slope would be infinite) or all have the same
    ratio of lengths (it would say no more than the share).

    Args:
        gains: log(characters of the chosen one / of the other), (N,).
        codes: the group of each vote, (N,).
    """
    sizes = pd.Series(np.abs(gains)).groupby(codes).agg(["min", "max"])
    ratios = np.zeros(groups, dtype=bool)
    ratios[sizes.index] = (sizes["max"] > sizes["min"] + 1e-9).to_numpy()
    both = [np.bincount(codes[way], minlength=groups) > 0 for way in (gains > 0, gains < 0)]
    usable = ratios & both[0] & both[1]
    slope, low, high = np.zeros(groups), np.full(groups, -STEEPEST), np.full(groups, STEEPEST)
    squares = gains * gains
    information = np.full(groups, np.nan)
    for _ in range(100):
        missed = logistic(-slope[codes] * gains)
        uphill = np.bincount(codes, gains * missed, groups)
        information = np.bincount(codes, squares * missed * (1 - missed), groups)
        low, high = np.where(uphill > 0, slope, low), np.where(uphill < 0, slope, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = slope + uphill / information
        inside = (step >= low) & (step <= high)
        new = np.where(usable, np.where(inside, step, (low + high) / 2), 0.0)
        done = np.max(np.abs(new - slope), initial=0.0) < 1e-8
        slope = new
        if done:
            break
    return [
        Slope(round(value, 9), round(1 / math.sqrt(known), 9))
        if fits
        else Slope(math.nan, math.nan)
        for value, known, fits in zip(slope.tolist(), information.tolist(), usable, strict=True)
    ]


def longer_won(votes: pd.DataFrame) -> pd.Series:
    """Return per vote 1.0 where the longer response won, 0.0 where the shorter, NaN for neither."""
    gap = pd.to_numeric(votes["chars_a"]) - pd.to_numeric(votes["chars_b"])
    chosen = votes["verdict"].map({"a": 1.0, "b": -1.0}).astype(float)
    agrees = chosen * gap.astype(float)
    return (agrees > 0).astype(float).where(agrees.notna() & (agrees != 0))


def overall(longer: pd.Series, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the one share of `longer_won`, without findings."""
    known = longer.dropna()
    return share(int(known.sum()), len(known), threshold=threshold)


def share(hits: int, n: int, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the result, without findings, of counts that somebody keeps.

    Args:
        hits: votes for the longer of two answers.
        n: votes for one of two answers of different length.
    """
    if not n:
        return nothing(
            NAME,
            "No vote has chosen between two answers of different length yet.",
            "Collect votes; this meter moves with each.",
        )
    low, high = wilson(hits, n)
    severity = _severity(hits, n, threshold)
    return CheckResult(
        NAME, hits / n, low, high, n, severity, _message(hits, n, severity), _remedy(severity)
    )


def logistic(x: float | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), also where exp(-x) is too large for a float."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))


def _effect(slope: Slope, n: int, threshold: float) -> Finding:
    """Return what length is worth; the value is the share that 10 % more characters would win."""
    value, low, high = slope.odds()
    ends = [slope.value, slope.value - Z95 * slope.error, slope.value + Z95 * slope.error]
    double, least, most = (float(logistic(DOUBLE * end)) for end in ends)
    long = double >= threshold and least > 0.5
    severity = "warn" if long or (double <= 1 - threshold and most < 0.5) else "ok"
    message = (
        f"{_effect_text(slope)} An answer of twice the length would win {100 * double:.1f} % "
        f"({100 * least:.1f} to {100 * most:.1f} %); logistic fit over {n:,} decided votes."
    )
    value, low, high = (odds / (1 + odds) for odds in (value, low, high))
    subject = "10 % more characters"
    return Finding(subject, value, low, high, n, severity, message, _remedy(severity))


def _effect_text(slope: Slope) -> str:
    value, low, high = slope.odds()
    return (
        f"Each 10 % more characters multiply the odds of winning by {value:.3f} "
        f"(95 % interval {low:.3f} to {high:.3f})."
    )


def _finding(subject: str, hits: int, n: int, slope: Slope, threshold: float) -> Finding:
    low, high = wilson(hits, n)
    severity = _severity(hits, n, threshold)
    message = f"{subject}: {_message(hits, n, severity)}"
    if not math.isnan(slope.value):
        message += f" {_effect_text(slope)}"
    return Finding(subject, hits / n, low, high, n, severity, message, _remedy(severity))


def _severity(hits: int, n: int, threshold: float) -> str:
    low, high = wilson(hits, n)
    share = hits / n
    if n < MIN_TO_WARN:
        return "ok"
    if low >= STOP:
        return "stop"
    if share >= threshold and low > 0.5:
        return "warn"
    return "warn" if share <= 1 - threshold and high < 0.5 else "ok"


def _message(hits: int, n: int, severity: str) -> str:
    low, high = wilson(hits, n)
    told = (
        f"The longer answer won {100 * hits / n:.1f} % of {n:,} decided votes "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    )
    if severity == "ok":
        few = f" Too few to say more: fewer than {MIN_TO_WARN}." if n < MIN_TO_WARN else ""
        return f"{told}.{few}"
    if hits / n > 0.5:
        return f"{told}: a model trained on them learns that longer is better."
    return f"{told}: a model trained on them learns that shorter is better."


def _remedy(severity: str) -> str:
    return REMEDY if severity in ("warn", "stop") else ""
