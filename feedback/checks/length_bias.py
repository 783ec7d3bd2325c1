"""Do longer answers win? The share of decided votes in which the longer response was chosen.

Length is in characters: this room knows no tokenizer. All decided live votes count, also those in
which one response is empty. A vote on two responses of the same length has no longer one and is
left out of the share.
"""

from __future__ import annotations

import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, nothing
from feedback.intervals import wilson

NAME = "length_bias"
# Choice: GPT-4 as a judge, whose bias to length is well known, stands at 0.68 (FastChat issue
# 3911); 0.60 lies halfway to it. The other direction is as much of a shortcut for
# training, so 0.40 warns too.
THRESHOLD = 0.60
# Choice: when even the low end of the interval says three of four, length decides, whatever else.
STOP = 0.75
MIN_TO_WARN = 10  # decided votes. Choice: four in a row for the longer one are no news
MIN_TO_FIND = 20  # decided votes of a labeler or source, to be told apart

REMEDY = (
    "Ask the labelers whether length is what they want; then train on pairs whose lengths are "
    "balanced, or collect comparisons of about equal length."
)


def length_bias(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share over all votes, and a finding per labeler and per source with 20 or more."""
    votes = columns.votes.reset_index(drop=True)
    longer = longer_won(votes)
    result = overall(longer, threshold=threshold)
    decided = votes.loc[longer.dropna().index]
    findings = []
    for column in ("labeler", "source"):
        for name, index in sorted(decided.groupby(column).groups.items()):
            if len(index) >= MIN_TO_FIND:
                findings.append(_finding(f"{column} {name}", longer.loc[index], threshold))
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


def _finding(subject: str, longer: pd.Series, threshold: float) -> Finding:
    n, hits = len(longer), int(longer.sum())
    low, high = wilson(hits, n)
    severity = _severity(hits, n, threshold)
    message = f"{subject}: {_message(hits, n, severity)}"
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
