"""Answers that say which model they are or who made them: who reads that votes for a name."""

from __future__ import annotations

import numpy as np

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, measured, nothing, part, share_text
from feedback.checks.said import Answers, Mask, answers, different, different_ids, places_of, values
from feedback.identity import FAMILIES

NAME = "identity_leak"
# Choice: every leak unblinds whoever reads it, so one is enough to be told.
THRESHOLD = 0.0  # share of different answers

REMEDY = (
    "Leave these answers out, or hide the names in them before people judge; votes that were cast "
    "on them may have gone to the name."
)


def identity_leak(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of different answers that name their model or maker, by family.

    A family that the prompt names itself is not a leak.
    """
    given = columns.once(answers)
    size = len(columns.features)
    n = different(given.text, size)
    if not n:
        return nothing(NAME, "There is no answer to look at yet.", "Add comparisons.")
    leaks = leaked(columns, given)
    hit = leaks != 0
    hits = different(given.text[hit], size)
    severity = "warn" if hits / n > threshold else "ok"
    message = f"{share_text(hits, n, 'different answers')} say which model they are or who made it."
    return measured(
        NAME,
        hits,
        n,
        severity,
        message if hits else f"None of {n:,} different answers names its model or maker.",
        REMEDY,
        different_ids(given.response[hit]),
        _findings(given, leaks, size, n, severity),
    )


def leaked(columns: Columns, given: Answers) -> np.ndarray:
    """Return per answer the families that it says it belongs to and its prompt does not name, as
    bit masks (R,)."""
    leaks = values(columns.features, "claims", given.text)
    at = np.flatnonzero(leaks)
    if len(at):
        prompts = columns.prompts
        names = values(columns.features, "names", places_of(columns.features, prompts["text"]))
        asked = dict(zip(prompts["prompt"], names.tolist(), strict=True))
        leaks[at] &= ~np.array([asked.get(prompt, 0) for prompt in given.prompt[at]])
    return leaks


def _findings(
    given: Answers, leaks: np.ndarray, size: int, n: int, severity: str
) -> tuple[Finding, ...]:
    """Return one finding per family, the most frequent first."""
    found = []
    for bit, family in enumerate(FAMILIES):
        hit: Mask = (leaks >> bit & 1) == 1
        if hits := different(given.text[hit], size):
            text = share_text(hits, n, "different answers")
            message = f"{text} say that they are a model of {family}."
            items = different_ids(given.response[hit])
            found.append(part(family, hits, n, severity, message, REMEDY, items))
    return tuple(sorted(found, key=lambda one: (-(one.value or 0.0), one.subject)))
