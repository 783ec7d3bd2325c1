"""Does form win instead of content? Formatting and phrasing that separates chosen from rejected.

For each mark (headings, lists, "Sure!", a refusal, …) only the votes count in which one answer has
more of it: the share of them that chose this answer, and its odds. That is McNemar's comparison,
and the maximum of the conditional likelihood of a matched pair. Of many marks some differ by
chance: the false discoveries are held to 5 %.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Example, Finding, nothing
from feedback.checks.said import Counts, Decided, Mask, decided_votes, different_ids, values
from feedback.features import CLOSINGS, OPENINGS
from feedback.intervals import wilson

NAME = "style"
# Choice: what moves the odds by less than a fifth is no shortcut to speak of, however sure it is.
THRESHOLD = 1.2  # odds ratio that the interval has to clear, either way
RATE = 0.05  # Choice: share of false ones among the marks told, as an interval of 95 % has
MIN_TO_WARN = 20  # votes that differ in a mark. Choice: below, the normal approximation is poor
MAX_FINDINGS = 10  # Choice: the strongest ones; a person reads no more

REMEDY = (
    "Say in the guideline whether this matters; then collect comparisons in which both answers "
    "have this form, or leave out votes that it decided."
)


class Mark(NamedTuple):
    """A feature of form, and how it is called."""

    words: str
    feature: str
    value: int | None = None  # the class that counts; None: more of it counts


MARKS: dict[str, Mark] = {
    "headings": Mark("headings", "headings"),
    "lists": Mark("list items", "list_items"),
    "bold": Mark("bold words", "bold"),
    "tables": Mark("tables", "tables"),
    "code": Mark("code blocks", "code_blocks"),
    "links": Mark("links", "links"),
    "emoji": Mark("emoji", "emoji"),
    "exclamations": Mark("exclamation marks", "exclamations"),
    "questions": Mark("question marks", "questions"),
    "praise": Mark("an opening that praises the question", "opening", OPENINGS.index("praise")),
    "eager": Mark("an opening like “Sure!”", "opening", OPENINGS.index("eager")),
    "sorry": Mark("an opening that apologises", "opening", OPENINGS.index("sorry")),
    "as_an_ai": Mark("an opening like “As an AI”", "opening", OPENINGS.index("as_an_ai")),
    "offer": Mark("an offer of more help at the end", "closing", CLOSINGS.index("offer")),
    "summary": Mark("a summary at the end", "closing", CLOSINGS.index("summary")),
    "asks": Mark("a question at the end", "closing", CLOSINGS.index("question")),
    "refusal": Mark("a refusal", "refusal"),
    "hedges": Mark("hedges like “perhaps”", "hedges"),
}


class Tally(NamedTuple):
    """One mark's votes."""

    mark: str
    wins: int  # votes for the answer with more of it
    n: int  # votes in which one answer has more
    spread: float  # n over what it is worth, as votes on one comparison go together; 1 and more
    p: float  # of no effect, two-sided

    @property
    def share(self) -> float:
        return self.wins / self.n

    def interval(self, z: float | None = None) -> tuple[float, float]:
        """Return the interval of the share; of 95 % where no quantile is given."""
        return wilson_at(self.wins / self.spread, self.n / self.spread, z)


def style(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of the strongest mark, and a finding for each that clears the threshold."""
    votes = decided_votes(columns)
    if not len(votes.comparison) or columns.features.empty:
        return nothing(
            NAME,
            "No vote has chosen between two answers whose texts are known yet.",
            "Collect votes; what form they reward shows after some dozens.",
        )
    tallies = [one for name in MARKS if (one := tally(columns, votes, name)).n]
    if not tallies:
        return nothing(NAME, "The answers that were voted on have the same form.", "Go on.")
    told = discoveries(tallies)
    findings = sorted(
        (_finding(columns, votes, one, threshold, z) for one, z in told), key=_strength
    )
    strongest = findings[0] if findings else _best(columns, votes, tallies, threshold)
    worse = [one for one in findings if one.severity == "warn"]
    return CheckResult(
        NAME,
        strongest.value,
        strongest.low,
        strongest.high,
        strongest.n,
        "warn" if worse else "ok",
        _message(strongest, len(worse), len(tallies)),
        REMEDY if worse else "",
        worse[0].items if worse else (),
        tuple(findings[:MAX_FINDINGS]),
        strongest.example,
    )


def tally(columns: Columns, votes: Decided, mark: str) -> Tally:
    """Return how the votes went in which one answer has more of a mark.

    Votes on one comparison are not independent: the variance is that of clusters, and the number
    of votes is divided by the factor by which it is larger.
    """
    more = np.sign(amount(columns, mark, votes.text_a) - amount(columns, mark, votes.text_b))
    wins = np.where(more > 0, votes.wins_a, np.where(more < 0, votes.wins_b, 0))
    all_ = np.where(more != 0, votes.wins_a + votes.wins_b, 0)
    won, n = int(wins.sum()), int(all_.sum())
    if not n:
        return Tally(mark, 0, 0, 1.0, 1.0)
    share = won / n
    clusters = float((wins * wins).sum() - 2 * share * (wins * all_).sum())
    clusters += share * share * float((all_ * all_).sum())
    alone = n * share * (1 - share)
    spread = max(1.0, clusters / alone) if alone > 0 else max(1.0, float((all_ * all_).sum()) / n)
    z = abs(share - 0.5) * 2 * math.sqrt(n / spread)
    return Tally(mark, won, n, spread, math.erfc(z / math.sqrt(2)))


def amount(columns: Columns, mark: str, places: Counts) -> Counts:
    """Return how much of a mark each text has."""
    _, feature, value = MARKS[mark]
    found = values(columns.features, feature, places)
    return found if value is None else (found == value).astype(np.int64)


def discoveries(tallies: list[Tally], rate: float = RATE) -> list[tuple[Tally, float]]:
    """Return the marks that count as found, with the normal quantile of their intervals.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (1995), for which ones;
    Benjamini and Yekutieli, "False discovery rate-adjusted multiple confidence intervals for
    selected parameters" (2005): R of m selected get intervals of level 1 - R * rate / m.
    """
    able = sorted(
        (one for one in tallies if one.n >= one.spread * MIN_TO_WARN), key=lambda one: one.p
    )
    m = len(able)
    passed = [rank for rank, one in enumerate(able, start=1) if one.p <= rank * rate / m]
    if not passed:
        return []
    z = -NormalDist().inv_cdf(passed[-1] * rate / m / 2)
    return [(one, z) for one in able[: passed[-1]]]


def wilson_at(hits: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Return Wilson's interval at another normal quantile than that of 95 %.

    Example:
        >>> wilson_at(3, 10) == wilson(3, 10)
        True
    """
    if z is None:
        return wilson(hits, n)  # type: ignore[arg-type]
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def odds(share: float) -> float:
    """Return the odds of a share; infinite for 1."""
    return math.inf if share >= 1 else share / (1 - share)


def _finding(
    columns: Columns, votes: Decided, one: Tally, threshold: float, z: float | None
) -> Finding:
    """Return one mark's finding.

    Args:
        z: quantile of the interval that has to clear the threshold; None: it may not warn.
    """
    low, high = one.interval()
    severity = "ok"
    if z is not None:
        least, most = one.interval(z)
        severity = "warn" if odds(least) > threshold or odds(most) < 1 / threshold else "ok"
    for_it = one.share >= 0.5
    decided = _decided_by(columns, votes, one) if severity == "warn" else None
    message = (
        f"The answer with more of it, {MARKS[one.mark].words}, won {100 * one.share:.1f} % of "
        f"{one.n:,} decided votes that differ in it: odds ratio {_times(odds(one.share))} (95 % "
        f"interval {_times(odds(low))} to {_times(odds(high))})."
    )
    return Finding(
        subject=one.mark if for_it else f"no {one.mark}",
        value=one.share,
        low=min(low, one.share),
        high=max(high, one.share),
        n=one.n,
        severity=severity,
        message=message,
        remedy=REMEDY if severity == "warn" else "",
        items=() if decided is None else different_ids(votes.comparison[decided]),
        example=None if decided is None else _example(columns, votes, one.mark, decided),
    )


def _decided_by(columns: Columns, votes: Decided, one: Tally) -> Mask:
    """Return which comparisons were decided the way of the mark."""
    agrees = _gap(columns, votes, one.mark) * (votes.wins_a - votes.wins_b)
    return agrees > 0 if one.share >= 0.5 else agrees < 0


def _gap(columns: Columns, votes: Decided, mark: str) -> Counts:
    """Return how much more of a mark a has than b."""
    return amount(columns, mark, votes.text_a) - amount(columns, mark, votes.text_b)


def _example(columns: Columns, votes: Decided, mark: str, decided: Mask) -> Example | None:
    """Return the answer with more of a mark, of the comparison in which it has the most more."""
    gap = _gap(columns, votes, mark)
    worst = np.flatnonzero(decided & (np.abs(gap) == np.abs(gap[decided]).max(initial=0)))
    if not len(worst):
        return None
    at = min(worst, key=lambda row: str(votes.comparison[row]))
    place = votes.text_a[at] if gap[at] > 0 else votes.text_b[at]
    return Example(str(columns.features.index[place]), MARKS[mark].feature)


def _best(columns: Columns, votes: Decided, tallies: list[Tally], threshold: float) -> Finding:
    """Return the mark that comes nearest to a finding."""
    able = [one for one in tallies if one.n >= MIN_TO_WARN] or tallies
    return _finding(columns, votes, min(able, key=lambda one: (one.p, one.mark)), threshold, None)


def _strength(finding: Finding) -> tuple[bool, float, str]:
    """Return what orders findings: those that warn first, then by how sure the effect is."""
    low, high = finding.low or 0.0, finding.high or 0.0
    return finding.severity != "warn", -max(low - 0.5, 0.5 - high), finding.subject


def _message(strongest: Finding, worse: int, marks: int) -> str:
    if worse:
        return (
            f"{worse} of {marks} marks of form tell chosen from rejected answers (false ones held "
            f"to {100 * RATE:.0f} %); the strongest: {strongest.message}"
        )
    few = f" Too few to say more: fewer than {MIN_TO_WARN}." if strongest.n < MIN_TO_WARN else ""
    return (
        f"No mark of form clearly tells chosen from rejected answers. The nearest: "
        f"{strongest.message}{few}"
    )


def _times(value: float) -> str:
    return "without bound" if math.isinf(value) else f"{value:.2f}"
