"""What the quality screen draws, as tables of a few rows (pure); each is also an export."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback.checks.length_bias import longer_won
from feedback.intervals import wilson

# Choice: how much longer the longer answer is, in shares of the shorter one; a tenth is what the
# eye begins to see, twice as long is another kind of answer.
LONGER_BY = (0.0, 0.1, 0.25, 0.5, 1.0, 3.0, np.inf)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of agreeing couples of votes; Choice: five bars
BARS = 30  # Choice: the most bars of time that a phone's width can show apart


def win_rate_by_length(votes: pd.DataFrame) -> pd.DataFrame:
    """Return how often the longer answer won, by how much longer it is.

    Args:
        votes: live votes: verdict, chars_a, chars_b.

    Returns:
        One row per class that has votes: longer_by_from, longer_by_to (shares of the shorter
        answer's characters, from inclusive), votes, longer_won, share, low, high (95 %, Wilson).
    """
    names = ["longer_by_from", "longer_by_to", "votes", "longer_won", "share", "low", "high"]
    won = longer_won(votes).to_numpy(dtype=float)
    known = ~np.isnan(won)
    a, b = (
        pd.to_numeric(votes[name]).to_numpy(dtype=float)[known] for name in ("chars_a", "chars_b")
    )
    shorter, longer = np.minimum(a, b), np.maximum(a, b)
    by = np.divide(longer, shorter, out=np.full(len(longer), np.inf), where=shorter > 0) - 1
    which = np.searchsorted(LONGER_BY, by, side="right") - 1
    which = np.minimum(which, len(LONGER_BY) - 2)
    counts = np.bincount(which, minlength=len(LONGER_BY) - 1)
    hits = np.bincount(which, weights=won[known], minlength=len(LONGER_BY) - 1)
    rows = [
        (LONGER_BY[i], LONGER_BY[i + 1], int(n), int(k), k / n, *wilson(k, int(n)))
        for i, (n, k) in enumerate(zip(counts, hits, strict=True))
        if n
    ]
    return pd.DataFrame(rows, columns=names)


def votes_over_time(votes: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """Return how many votes and thumbs came when: `start`, `votes`, `thumbs`, oldest first.

    The step is the smallest of a minute, ten minutes, an hour, a day, a week, four weeks, a year
    with which at most 30 rows are needed; a step in which nothing came is a row too.
    """
    names = ["start", "votes", "thumbs"]
    times = [pd.to_datetime(frame["created_at"], utc=True) for frame in (votes, ratings)]
    both = pd.concat([one for one in times if len(one)]) if any(map(len, times)) else None
    if both is None:
        return pd.DataFrame(columns=names)
    span = both.max() - both.min()
    steps = [pd.Timedelta(size) for size in ("1min", "10min", "1h", "1D", "7D", "28D", "365D")]
    step = next((size for size in steps if span / size < BARS - 1), steps[-1])
    first = both.min().floor("D") if step > pd.Timedelta("1D") else both.min().floor(step)
    bars = int((both.max() - first) // step) + 1
    counts = [np.bincount(((one - first) // step).to_numpy(dtype=int), minlength=bars)
              for one in times]  # fmt: skip
    starts = [first + i * step for i in range(bars)]
    return pd.DataFrame(dict(zip(names, (starts, *counts), strict=True)))


def agreement_by_prompt(votes: pd.DataFrame) -> pd.DataFrame:
    """Return how often two people agree, by prompt, least first.

    Two votes on one comparison agree when their verdicts are the same; skips and silent repeats
    are left out.

    Args:
        votes: live votes: prompt, comparison, verdict, kind.

    Returns:
        One row per prompt on which two votes met: prompt, couples, agreeing, share.
    """
    judged = votes[~votes["verdict"].isin(["skip"]) & (votes["kind"] != "repeat")]
    keys = pd.DataFrame({name: judged[name].to_numpy() for name in ("prompt", "comparison")})
    keys["verdict"] = judged["verdict"].astype(str).to_numpy()
    grouped = keys.groupby(["prompt", "comparison", "verdict"], observed=True).size()
    same = (grouped * (grouped - 1) // 2).groupby(level="prompt", observed=True).sum()
    each = grouped.groupby(level=["prompt", "comparison"], observed=True).sum()
    couples = (each * (each - 1) // 2).groupby(level="prompt", observed=True).sum()
    found = pd.DataFrame({"couples": couples, "agreeing": same}).query("couples > 0")
    found = found.assign(share=found["agreeing"] / found["couples"])
    return found.rename_axis("prompt").reset_index().sort_values(["share", "prompt"])


def prompts_by_agreement(prompts: pd.DataFrame) -> pd.DataFrame:
    """Return how many prompts of `agreement_by_prompt` lie in each fifth: low, high, prompts."""
    share = prompts["share"].to_numpy(dtype=float)
    which = np.minimum(np.searchsorted(SHARES, share, side="right") - 1, len(SHARES) - 2)
    counts = np.bincount(which, minlength=len(SHARES) - 1) if len(share) else [0] * 5
    return pd.DataFrame({"low": SHARES[:-1], "high": SHARES[1:], "prompts": counts})
