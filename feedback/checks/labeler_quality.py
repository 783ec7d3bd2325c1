"""Who can be trusted? The share of labelers against whom nothing speaks, and those it does.

Each labeler's row (`feedback.labelers`) is held against what an honest one does
(`feedback.signals`): gold items, silent repeats, sides, streaks of one key, speed, length, the
consensus by Dawid and Skene, copies. What it cannot see: somebody who votes well and turns one
vote in twenty around looks like a good labeler with a few slips. The cap on one labeler's share
(`imbalance`) and the difference between two snapshots bound what such a person can do.
"""

from __future__ import annotations

from typing import Any

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.intervals import wilson
from feedback.labelers import labeler_table
from feedback.signals import ALPHA, SIGNALS

NAME = "labeler_quality"
THRESHOLD = ALPHA  # P that an honest labeler is ever flagged, by whichever signal
FEW = 20  # votes. Choice: as in `length_bias`; a finding on fewer says so


def labeler_quality(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of labelers against whom nothing speaks, and a finding for each other.

    Args:
        columns: Of which votes and gold are read.
        threshold: The probability with which an honest labeler may ever be flagged, however often
            somebody looks.
    """
    table = labeler_table(columns, alpha=threshold)
    table = table[(table["votes"] > 0) | (table["flags"].map(len) > 0)]  # some only skip
    if table.empty:
        return nothing(NAME, "Nobody has voted yet.", "Collect votes; mix in gold items.")
    flagged = table[table["flags"].map(len) > 0]
    n, fine = len(table), len(table) - len(flagged)
    low, high = wilson(fine, n)
    known = f" {int((table['gold_n'] > 0).sum()):,} of them met gold items."
    return CheckResult(
        NAME,
        fine / n,
        low,
        high,
        n,
        "ok" if flagged.empty else "warn",
        f"Nothing speaks against {share_text(fine, n, 'labelers')}.{known}",
        "" if flagged.empty else "Look at the labelers below: ask them, or exclude their votes.",
        (),
        tuple(_finding(row, threshold) for row in flagged.itertuples()),
    )


def _finding(row: Any, alpha: float) -> Finding:
    """Return what speaks against one labeler: the strongest signal in figures, all in words."""
    worst = SIGNALS[row.flags[0]]
    share, n = float(getattr(row, worst.share)), int(getattr(row, worst.n))
    low, high = wilson(share * n, n)
    few = f" Only {n} so far." if n < FEW else ""
    told = "; ".join(_told(row, name) for name in row.flags)
    return Finding(
        subject=f"labeler {row.labeler}",
        value=share,
        low=low,
        high=high,
        n=n,
        severity="warn",
        message=f"labeler {row.labeler} {told}.{few} At most {100 * alpha:g} % of honest people "
        "are ever named here.",
        remedy=worst.remedy,
    )


def _told(row: Any, name: str) -> str:
    signal = SIGNALS[name]
    share, n = float(getattr(row, signal.share)), int(getattr(row, signal.n))
    return signal.says.format(share=f"{100 * share:.0f} %", n=f"{n:,}", row=row)
