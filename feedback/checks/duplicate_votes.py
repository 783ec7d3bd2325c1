"""Votes that are no news: the same person twice on one comparison, and one person after another.

A silent repeat is asked for, so it is no fault; a name that stands for many people is none either
(`feedback.surplus`). What copying is, `feedback.copying` says.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, measured, nothing, part, share_text
from feedback.copying import WITHIN, Copies
from feedback.labelers import SKIP, Judged, copies_in, judged_in
from feedback.sequential import is_found
from feedback.signals import ALPHA, SIGNALS
from feedback.surplus import among_several, surplus

NAME = "duplicate_votes"
THRESHOLD = 0.0  # share of repeated votes above which it warns. Choice: none is meant
MAX_FINDINGS = 200  # Choice: as for duplicate prompts; a person reads no more
REMEDY = (
    "Leave these votes out: the first of each person's votes on a comparison stays, which is the "
    "only one that counts in a pair."
)


def duplicate_votes(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of votes that repeat the same person's on the same comparison.

    The items are these votes, not the first ones. Findings: each labeler with such votes, and each
    who follows another within seconds.
    """
    judged = columns.once(judged_in)
    n = int((judged.verdict != SKIP).sum())
    if not n:
        return nothing(NAME, "There is no vote yet.", "Collect votes.")
    again = _again(columns)
    hits = len(again)
    copied = _copied(judged, columns.once(copies_in))
    found = [*copied, *_repeated(judged, again)]
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
        tuple(sorted(again["vote"])),
        tuple(found[:MAX_FINDINGS]),
    )


def _again(columns: Columns) -> pd.DataFrame:
    """Return the votes of people who had voted on the comparison before: labeler, and id as vote.

    Columns of a million votes call a vote by a hash, so its id is looked up for these few.
    """
    few = columns.votes[among_several(columns.votes)]
    ids = [str(columns.vote_ids.get(one, one)) for one in few["vote"].tolist()]
    few = few.assign(vote=pd.Series(ids, index=few.index, dtype=object))
    return few.loc[surplus(few), ["labeler", "vote"]]


def _repeated(judged: Judged, again: pd.DataFrame) -> list[Finding]:
    """Return one finding per labeler with repeated votes, the most of them first."""
    of_all = dict(zip(judged.names, judged.total(judged.verdict != SKIP).astype(int), strict=True))
    found = [
        _finding(labeler, int(of_all[labeler]), tuple(sorted(own)))
        for labeler, own in again["vote"].groupby(again["labeler"].astype(str))
    ]
    return sorted(found, key=lambda one: (-(one.value or 0) * one.n, one.subject))


def _finding(labeler: str, n: int, items: tuple[str, ...]) -> Finding:
    message = f"labeler {labeler}: {share_text(len(items), n, 'votes')} repeat their own."
    return part(f"labeler {labeler}", len(items), n, "warn", message, REMEDY, items)


def _copied(judged: Judged, found: Copies) -> list[Finding]:
    """Return one finding per labeler who follows another, the surest first."""
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
