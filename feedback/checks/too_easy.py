"""Comparisons that teach little: one answer is blank, broken, cut off, or copied from the prompt.

Who chooses the whole answer over half a one has said nothing about answers. What is copied is told
by `feedback.echoes`. With the reference's log-probabilities, also those where it already tells the
two far apart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.checks.said import Mask, Places, different_ids, net_votes, places_of, values
from feedback.checks.scores import TO_SCORE, scored
from feedback.intervals import wilson

NAME = "too_easy"
# Choice: a tenth of pairs that say nothing is waste; from there on it is a matter of the source.
THRESHOLD = 0.10  # share of comparisons
MIN_TO_WARN = 10  # comparisons. Choice: as for the length bias
# Choice: e^1.5: on every token the reference finds the chosen answer 4.5 times as likely as the
# rejected one; what is decided so far ahead needs no training.
MARGIN = 1.5  # nats per token

WORDS = {
    "blank": "have a blank answer",
    "broken": "have one answer that repeats itself on and on or shows control characters",
    "cut off": "have one answer that was cut off",
    "copied": "have one answer that mostly copies the prompt",
}
REMEDY = (
    "Leave these comparisons out and generate them anew: with more tokens for what was cut off, "
    "at a lower temperature for what is broken."
)
MARGIN_REMEDY = "Leave some of these out: they cost training time and move the model little."


def too_easy(
    columns: Columns, *, threshold: float = THRESHOLD, margin: float = MARGIN
) -> CheckResult:
    """Return the share of comparisons with a flawed answer, each flaw's, and that of margins."""
    pairs = columns.comparisons
    n = len(pairs)
    if not n or columns.features.empty:
        return nothing(NAME, "There is no comparison to look at yet.", "Add comparisons.")
    ids = np.asarray(pairs["comparison"], dtype=object)
    flawed = flaws(columns)
    hit = np.logical_or.reduce(list(flawed.values()))
    hits = int(hit.sum())
    low, high = wilson(hits, n)
    severity = _severity(hits, n, threshold)
    findings = [
        _finding(flaw, ids[mask], n, _severity(int(mask.sum()), n, threshold))
        for flaw, mask in flawed.items()
        if mask.any()
    ]
    findings.append(_margins(columns, margin, threshold))
    message = f"{share_text(hits, n, 'comparisons')} teach little, for one answer is no answer."
    return CheckResult(
        NAME,
        hits / n,
        low,
        high,
        n,
        severity,
        message if hits else f"Both answers are whole in all {n:,} comparisons.",
        REMEDY if severity == "warn" else "",
        different_ids(ids[hit]),
        tuple(findings),
    )


def flaws(columns: Columns) -> dict[str, Mask]:
    """Return flaw → which comparisons have it in one answer alone; blank ones in either."""
    pairs, features = columns.comparisons, columns.features
    a, b = places_of(features, pairs["text_a"]), places_of(features, pairs["text_b"])

    def only_one(of_a: Mask, of_b: Mask) -> Mask:
        return of_a != of_b

    def has(name: str, places: Places) -> Mask:
        return values(features, name, places) > 0

    return {
        "blank": has("blank", a) | has("blank", b),
        "broken": only_one(has("broken", a), has("broken", b)),
        "cut off": only_one(
            _cut(pairs["finished_a"], has("cut_off", a)),
            _cut(pairs["finished_b"], has("cut_off", b)),
        ),
        "copied": only_one(pairs["echo_a"].to_numpy(bool), pairs["echo_b"].to_numpy(bool)),
    }


def _cut(finished: pd.Series, looks_cut: Mask) -> Mask:
    """Return which answers were cut off: as the model reported, else by how the text ends."""
    known = finished.notna().to_numpy()
    stopped = (finished == True).to_numpy(dtype=bool, na_value=False)  # noqa: E712  (may be None)
    return np.where(known, ~stopped, looks_cut)


def _severity(hits: int, n: int, threshold: float) -> str:
    return "warn" if n >= MIN_TO_WARN and hits / n > threshold else "ok"


def _finding(flaw: str, ids: np.ndarray, n: int, severity: str) -> Finding:
    low, high = wilson(len(ids), n)
    message = f"{share_text(len(ids), n, 'comparisons')} {WORDS[flaw]}."
    remedy = REMEDY if severity == "warn" else ""
    return Finding(flaw, len(ids) / n, low, high, n, severity, message, remedy, different_ids(ids))


def _margins(columns: Columns, margin: float, threshold: float) -> Finding:
    """Return what the reference says: how many decided comparisons it is already far ahead on."""
    subject = "reference margin"
    pairs = columns.comparisons
    by_a, by_b = scored(columns, pairs["a"], pairs["b"])
    ahead = by_a.per_token - by_b.per_token
    known = ~np.isnan(ahead)
    if known.any():
        chose = np.sign(net_votes(columns, pairs["comparison"]))
        ahead, known = ahead * chose, known & (chose != 0)
    n = int(known.sum())
    if not n:
        message = "No decided comparison has the reference's log-probability of both answers yet."
        return Finding(subject, None, None, None, 0, "unknown", message, TO_SCORE)
    far = known & (np.nan_to_num(ahead) >= margin)
    hits = int(far.sum())
    low, high = wilson(hits, n)
    severity = _severity(hits, n, threshold)
    message = (
        f"In {share_text(hits, n, 'decided comparisons')} {by_a.model} already finds the chosen "
        f"answer likelier by {margin:g} nats per token or more."
    )
    remedy = MARGIN_REMEDY if severity == "warn" else ""
    items = different_ids(np.asarray(pairs["comparison"], dtype=object)[far])
    return Finding(subject, hits / n, low, high, n, severity, message, remedy, items)
