"""Does the side decide? The share of decided votes that went to the answer on the left.

The server draws the sides by lot, so whatever the answers are worth, an attentive labeler's share
is one half. Only votes whose sides were recorded count; a tie has no side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import bdtr

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, measured, nothing, part
from feedback.intervals import wilson
from feedback.labelers import left_counts
from feedback.sequential import is_found, log_evidence
from feedback.signals import ALPHA, SIGNALS

NAME = "position_bias"
# Choice: of a two-sided binomial test, read on a page that is looked at often; at 0.05 one look in
# twenty would warn for nothing.
THRESHOLD = 0.001  # probability under fair sides
LEAST_LEAN = 0.02  # Choice: a lean of less is real in a million votes and harms nothing
STOP = 0.75  # Choice: as for length: when even the low end says three of four, the side decides

REMEDY = (
    "Sides are drawn by lot, so training sees no direction, only noise: find who it is below, and "
    "tell labelers to read both answers before they vote."
)


def position_bias(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share that went left, and a finding for each labeler with a lean of their own.

    Args:
        columns: Of which the votes are read.
        threshold: The probability, under fair sides, below which the share of all votes warns.
            Labelers are found by the sequential test, which may be looked at after every vote.
    """
    names, left, n = left_counts(columns.votes)
    found = np.flatnonzero(is_found(log_evidence(left, n), ALPHA * SIGNALS["left"].part))
    findings = tuple(_finding(names[at], int(left[at]), int(n[at])) for at in found)
    return replace(share(int(left.sum()), int(n.sum()), threshold=threshold), findings=findings)


def share(hits: int, n: int, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the result, without findings, of counts that somebody keeps.

    Args:
        hits: votes for the answer on the left.
        n: votes for one of two answers whose sides were recorded.
        threshold: as for `position_bias`.
    """
    if not n:
        return nothing(
            NAME,
            "No decided vote has recorded sides yet.",
            "Collect votes on the label screen, which records which answer stood on which side.",
        )
    chance = min(1.0, 2 * float(bdtr(min(hits, n - hits), n, 0.5)))  # two-sided
    severity = _severity(hits, n, chance <= threshold)
    return measured(NAME, hits, n, severity, _message(hits, n, chance), REMEDY)


def _severity(hits: int, n: int, unlikely: bool) -> str:
    low, high = wilson(hits, n)
    if not unlikely or abs(hits / n - 0.5) < LEAST_LEAN:
        return "ok"
    return "stop" if low >= STOP or high <= 1 - STOP else "warn"


def _told(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return (
        f"The left answer won {100 * hits / n:.1f} % of {n:,} decided votes with known sides "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    )


def _message(hits: int, n: int, chance: float) -> str:
    odds = f"{chance:.2g}" if chance >= 1e-12 else "less than 1e-12"
    return f"{_told(hits, n)}; with fair sides so much or more has a probability of {odds}."


def _finding(labeler: str, hits: int, n: int) -> Finding:
    message = f"labeler {labeler}: {_told(hits, n)}; the lot draws sides, so it is the person."
    severity = _severity(hits, n, unlikely=True)
    return part(f"labeler {labeler}", hits, n, severity, message, SIGNALS["left"].remedy)
