"""Does one side outweigh the other? Good against bad labels for KTO, and one voice against all.

The labels are those of the rules in `feedback.preferences`, counted from votes and thumbs: a
decided comparison gives a good and a bad one, "both are bad" two bad ones, a thumb its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.intervals import wilson
from storage.records import ANONYMOUS

NAME = "imbalance"
CAP = 0.10  # the issue's: of all votes, by one labeler, source or prompt
ENOUGH = 10  # of them. Choice: with fewer than ten somebody has more than a tenth anyway
# Source: Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.2: KTO held up with a tenth of the
# good examples, so beyond ten to one nobody has looked.
MOST = 10.0  # good to bad, or bad to good
VERDICTS = ("a", "b", "tie", "both_bad")


def imbalance(columns: Columns, *, threshold: float = CAP) -> CheckResult:
    """Return the share of good labels, with KTO's weights, and a finding for each over the cap.

    Args:
        columns: Of which votes and ratings are read.
        threshold: The largest share of all votes and thumbs that one labeler, source or prompt may
            have, where there are ten or more of them.
    """
    good, bad = label_counts(columns.votes, columns.ratings)
    found = tuple(_over_cap(columns, threshold))
    if not good + bad:
        return nothing(NAME, "No vote or thumb gives a label yet.", "Collect votes or thumbs.")
    low, high = wilson(good, good + bad)
    lopsided = low > MOST / (MOST + 1) or high < 1 / (MOST + 1)
    remedies = [
        f"Beyond {MOST:g} to 1 weights help little: collect more of what is few." * lopsided,
        "Cap what one of them gives to a snapshot, or collect from others." * bool(found),
    ]
    return CheckResult(
        NAME,
        good / (good + bad),
        low,
        high,
        good + bad,
        "warn" if lopsided or found else "ok",
        _message(good, bad, len(found)),
        " ".join(filter(None, remedies)),
        (),
        found,
    )


def kto_weights(good: int, bad: int) -> tuple[float, float]:
    """Return (λ_D, λ_U) such that λ_D · good / (λ_U · bad) lies in [1, 4/3], neither below 1.

    The same rule as training's own (`balanced_weights`), said here because this room knows no
    training; a test holds the two together.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), equation 8.

    Example:
        >>> kto_weights(50, 100), kto_weights(200, 100)
        ((2.0, 1.0), (1.0, 1.5))
    """
    ratio = good / bad
    return (1 / ratio, 1.0) if ratio < 1 else (1.0, max(1.0, ratio * 3 / 4))


def label_counts(votes: pd.DataFrame, ratings: pd.DataFrame) -> tuple[int, int]:
    """Return how many good and bad labels votes and thumbs give; the larger side wins each."""
    won = _tally(votes, "comparison", VERDICTS)
    winner = 2 * won > won.sum(axis=1, keepdims=True)
    decided, both_bad = int(winner[:, :2].sum()), int(winner[:, 3].sum())
    thumbs = _tally(ratings, "response", ("up", "down"))
    ups, downs = thumbs[:, 0], thumbs[:, 1]
    return decided + int((ups > downs).sum()), decided + 2 * both_bad + int((downs > ups).sum())


def _tally(frame: pd.DataFrame, item: str, verdicts: tuple[str, ...]) -> np.ndarray:
    """Return how often each item got each verdict, (N, len(verdicts)); others do not count."""
    said, names = pd.factorize(frame["verdict"])
    codes = np.array([verdicts.index(v) if v in verdicts else -1 for v in names] + [-1])[said]
    items = pd.factorize(frame[item])[0][codes >= 0]
    width, rows = len(verdicts), int(items.max()) + 1 if len(items) else 0
    counts = np.bincount(items * width + codes[codes >= 0], minlength=rows * width)
    return counts.reshape(rows, width)


def _message(good: int, bad: int, over: int) -> str:
    told = f"{share_text(good, good + bad, 'labels')} are good"
    if good and bad:
        desirable, undesirable = kto_weights(good, bad)
        told += f": KTO weighs good ones {desirable:.2f} and bad ones {undesirable:.2f}"
    else:
        told += ": KTO needs both kinds"
    return f"{told}." + f" {over:,} labelers, sources or prompts are over the cap." * bool(over)


def _over_cap(columns: Columns, cap: float) -> Iterator[Finding]:
    """Yield a finding for each labeler, source and prompt with more than its share."""
    votes = columns.votes[columns.votes["verdict"] != "skip"]
    thumbs = columns.ratings[columns.ratings["verdict"].isin(["up", "down"])]
    n = len(votes) + len(thumbs)
    for kind in ("labeler", "source", "prompt"):
        counts = votes[kind].value_counts().add(thumbs[kind].value_counts(), fill_value=0)
        counts = counts[counts > 0].astype(int)
        if kind == "labeler":  # whom a product does not name is many people, and no labeler
            counts = counts.drop(ANONYMOUS, errors="ignore")
        if len(counts) >= ENOUGH:
            over = [(-hits, str(name)) for name, hits in counts[counts > cap * n].items()]
            for hits, name in sorted(over):
                if wilson(-hits, n)[0] > cap:  # not one vote over a tenth of eleven
                    yield _finding(kind, name, -hits, n, cap)


def _finding(kind: str, name: str, hits: int, n: int, cap: float) -> Finding:
    low, high = wilson(hits, n)
    return Finding(
        subject=f"{kind} {name}",
        value=hits / n,
        low=low,
        high=high,
        n=n,
        severity="warn",
        message=f"{kind} {name} gives {share_text(hits, n, 'votes')}, more than {100 * cap:g} %.",
        remedy=f"Count at most {int(cap * n):,} of them in a snapshot, or collect from others.",
    )
