"""Votes that are no news: the same person twice on one comparison, and one person after another.

A silent repeat is asked for, so it is no fault. What copying is, `feedback.copying` says.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, measured, nothing, part, share_text
from feedback.copying import WITHIN, copies
from feedback.labelers import SKIP, Codes, Judged, first_votes, judged_votes
from feedback.sequential import is_found
from feedback.signals import ALPHA, SIGNALS

NAME = "duplicate_votes"
THRESHOLD = 0.0  # share of repeated votes above which it warns. Choice: none is meant
MAX_FINDINGS = 200  # Choice: as for duplicate prompts; a person reads no more
REMEDY = "Keep the first of each person's votes on a comparison and exclude the others."


def duplicate_votes(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of votes that repeat the same person's on the same comparison.

    Findings: each labeler with such votes, and each who follows another within seconds.
    """
    judged = judged_votes(columns.votes)
    counted = judged.verdict != SKIP
    n = int(counted.sum())
    if not n:
        return nothing(NAME, "There is no vote yet.", "Collect votes.")
    first = first_votes(judged)
    again = np.flatnonzero(counted & ~judged.repeat & ~first)
    items = columns.votes["comparison"].iloc[judged.rows[again]].astype(str)
    hits = len(again)
    copied = _copied(judged, first)
    found = [*copied, *_repeated(judged, again, items)]
    message = f"{share_text(hits, n, 'votes')} are by somebody who had voted on that comparison"
    warn = hits / n > threshold or bool(copied)
    remedies = [REMEDY] * bool(hits) + [one.remedy for one in copied[:1]]
    return measured(
        NAME,
        hits,
        n,
        "warn" if warn else "ok",
        (f"{message}." if hits else f"Nobody voted twice on a comparison, in {n:,} votes.")
        + (f" {len(copied):,} labelers follow another within seconds." if copied else ""),
        " ".join(remedies),
        tuple(sorted(set(items))),
        tuple(found[:MAX_FINDINGS]),
    )


def _repeated(judged: Judged, again: Codes, items: pd.Series) -> list[Finding]:
    """Return one finding per labeler with repeated votes, the most of them first."""
    of_all = judged.total(judged.verdict != SKIP).astype(int)
    found = [
        _finding(judged.names[at], int(of_all[at]), sorted(own))
        for at, own in items.groupby(judged.labeler[again])
    ]
    return sorted(found, key=lambda one: (-(one.value or 0) * one.n, one.subject))


def _finding(labeler: str, n: int, items: list[str]) -> Finding:
    message = f"labeler {labeler}: {share_text(len(items), n, 'votes')} repeat their own."
    different = tuple(dict.fromkeys(items))
    return part(f"labeler {labeler}", len(items), n, "warn", message, REMEDY, different)


def _copied(judged: Judged, first: NDArray[np.bool_]) -> list[Finding]:
    """Return one finding per labeler who follows another, the surest first."""
    found = copies(judged.labeler, judged.item, judged.verdict, judged.time, first)
    sure = np.flatnonzero(is_found(found.evidence, ALPHA * SIGNALS["copying"].part))
    return [
        _copy(judged.names[at], judged.names[found.source[at]], found.share[at], int(found.n[at]))
        for at in sure[np.argsort(-found.evidence[sure], kind="stable")]
    ]


def _copy(labeler: str, source: str, share: float, n: int) -> Finding:
    hits = round(share * n)
    message = (
        f"labeler {labeler} gave the verdict of {source} within {WITHIN:g} seconds after "
        f"it in {share_text(hits, n, 'shared comparisons')}."
    )
    return part(f"labeler {labeler}", hits, n, "warn", message, SIGNALS["copying"].remedy)
