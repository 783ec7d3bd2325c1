"""What a duel says: how often the answer after an alignment was preferred to the one before.

Pure: one score a prompt in, the outcome out. Its test and its interval may be read after every
vote, because everybody does: they hold whenever somebody stops. Prompts are counted and not votes,
since people who judge the same two answers are not independent. What is promised is of scores that
stand: where several people judge each prompt, the last ones may still change a little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from feedback.sequential import log_evidence, share_interval, votes_until

ALPHA = 0.05  # of ever deciding between equals
# Choice: prompts under which the rate at equal lengths is noise: two parameters, ten each.
CONTROL_LEAST = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """A duel so far, from the side of the model after the alignment."""

    wins: int  # prompts where it was preferred
    losses: int
    ties: int  # neither, or as many for as against
    rate: float | None  # a tie is half a win; None before the first vote
    low: float  # of the rate: valid whenever it is read
    high: float
    p: float  # of "both are equally good": valid whenever it is read
    decided: str  # "better", "worse", or "" while it is open
    more: int | None  # prompts until it is decided at this rate; 0 if it is; None: no end in sight
    at_equal_lengths: float | None  # the rate that a fit expects of equally long answers

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def prompts(self) -> int:
        return self.wins + self.losses + self.ties


def outcome(scores: Sequence[float], longer: Sequence[float] = ()) -> Outcome:
    """Return what the duel says.

    Args:
        scores: one for each prompt judged, in 0..1: the share of its votes for the model after, a
            tie as half a vote.
        longer: how much longer that model's answer is, (after - before) / (after + before), one
            for each prompt; without them nothing is said of equal lengths.
    """
    n, hits = len(scores), float(sum(scores))
    low, high = share_interval(hits, n, ALPHA)
    evidence = float(log_evidence(hits, n))
    wins, losses = (sum(1 for s in scores if sign * (s - 0.5) > 0) for sign in (1, -1))
    open_still = evidence < -math.log(ALPHA)
    return Outcome(
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        rate=hits / n if n else None,
        low=low,
        high=high,
        p=min(1.0, math.exp(-evidence)),
        decided="" if open_still else "better" if hits > n / 2 else "worse",
        more=votes_until(hits / n, n, ALPHA) if n else None,
        at_equal_lengths=_at_equal_lengths(scores, longer),
    )


def _at_equal_lengths(scores: Sequence[float], longer: Sequence[float]) -> float | None:
    """Return the rate at equal lengths by the leaderboard's fit; None where it would be noise."""
    if len(longer) < CONTROL_LEAST or not any(longer):
        return None
    import numpy as np

    from feedback.ranking import with_length  # here: it brings in scipy.stats

    n = len(scores)
    first, second = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    logs, _ = with_length(first, second, np.array(scores), np.array(longer), np.ones(n), 2)
    return float(1 / (1 + np.exp(logs[1] - logs[0])))


def words(found: Outcome) -> str:
    """Return the outcome in a sentence or two, for somebody who has never seen one.

    Example:
        >>> words(outcome([1.0] * 8 + [0.0]))
        'Preferred on 8 of 9 prompts, worse on 1, tied on 0: 89 % (95 % interval 42 to 100 %). \
Open: about 5 more prompts would decide it at this rate.'
    """
    if found.rate is None:
        return "Nobody has judged yet."
    said = (
        f"Preferred on {found.wins} of {found.prompts} prompts, worse on {found.losses}, tied on "
        f"{found.ties}: {found.rate * 100:.0f} % (95 % interval {found.low * 100:.0f} to "
        f"{found.high * 100:.0f} %). "
    )
    return said + next_words(found)


def next_words(found: Outcome) -> str:
    """Return what is decided, or what would decide it."""
    if found.decided:
        return f"It is {found.decided}."
    if found.more is None:
        return "They are about equal: more votes would hardly decide it."
    return f"Open: about {found.more} more prompts would decide it at this rate."
