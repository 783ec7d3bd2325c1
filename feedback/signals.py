"""What speaks against a labeler, and when it is enough: reads the labeler table. Pure.

Every signal is evidence that stays right when somebody looks after every vote
(`feedback/sequential.py`). Their levels sum to `ALPHA`, so an honest labeler is ever flagged, by
whichever signal, with a probability of at most that. Three levels rest on what the crowd does
(`length`, `accuracy`, `same`) and hold as far as the crowd is honest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feedback.sequential import is_found, log_evidence

Floats = NDArray[np.float64]

ALPHA = 0.01  # the mark: at most 1 % of honest people, over a whole evening of looking

# What an honest labeler's share is at worst.
# Choice: seven of eight. Gold items are those that are clear; who slips at one vote in ten has 0.9.
# At 0.9 a guesser would be found a little sooner, and everybody who slips more often with them.
HONEST_GOLD = 0.875
HONEST_FAST = 0.3  # Choice: some pairs are settled at a glance, but not one in three
# Choice: two looks with one slip in ten each agree in 0.82; close calls turn more often.
HONEST_REPEATS = 0.65
# Choice: as `length_bias` warns; where the others lean to one length, 0.15 beyond them:
# in LLMFAO people whom the consensus trusts stand 0.2 apart.
HONEST_LENGTH, BEYOND_OTHERS = 0.60, 0.15
OTHERS_PRIOR = 20  # votes at one half, so that one colleague's few votes move the bar little
# Choice: a guesser between two stands 0.4 below people who slip at one vote in ten, and people with
# another taste than the crowd's stand nearer to it.
BELOW_CROWD = 0.25
CROWD_VOTES, CROWD = 20, 3  # Choice: votes of a labeler, and labelers, that make a median
EXPECT_GUESSING = (10.0, 10.0)  # Choice: the prior's counts; a guesser between two is right half


class Signal(NamedTuple):
    """One thing that speaks against a labeler; `share` and `n` are columns of the table."""

    share: str
    n: str
    part: float  # of alpha
    evidence: Callable[[pd.DataFrame], Floats]  # log, one per labeler
    says: str  # with {share}, {n} and {row}
    remedy: str


def flags(table: pd.DataFrame, alpha: float = ALPHA) -> list[tuple[str, ...]]:
    """Return, for each labeler, the names of the signals that speak against them, worst first."""
    wealth = np.column_stack([s.evidence(table) + np.log(s.part) for s in SIGNALS.values()])
    found = is_found(wealth, alpha)
    order = np.argsort(-wealth, axis=1, kind="stable")
    names = np.array(list(SIGNALS))
    return [
        tuple(names[row][found[at, row]].tolist()) if found[at].any() else ()
        for at, row in enumerate(order)
    ]


def _counts(table: pd.DataFrame, share: str, n: str) -> tuple[Floats, Floats]:
    many = table[n].to_numpy(dtype=float)
    return np.rint(np.nan_to_num(table[share].to_numpy(dtype=float)) * many), many


def _left(table: pd.DataFrame) -> Floats:
    return log_evidence(*_counts(table, "left_share", "left_n"))


def _streak(table: pd.DataFrame) -> Floats:
    return table["streak_evidence"].to_numpy(dtype=float)


def _same(table: pd.DataFrame) -> Floats:
    return table["same_evidence"].to_numpy(dtype=float)


def _fast(table: pd.DataFrame) -> Floats:
    return log_evidence(*_counts(table, "fast_share", "timed_n"), HONEST_FAST, direction="above")


def _gold(table: pd.DataFrame) -> Floats:
    counts = _counts(table, "gold_accuracy", "gold_n")
    return log_evidence(*counts, HONEST_GOLD, direction="below", prior=EXPECT_GUESSING)


def _repeats(table: pd.DataFrame) -> Floats:
    counts = _counts(table, "consistency", "repeats_n")
    return log_evidence(*counts, HONEST_REPEATS, direction="below", prior=EXPECT_GUESSING)


def _length(table: pd.DataFrame) -> Floats:
    """Return the evidence that a labeler leans to one length, well beyond the others.

    Half of the stake on the longer answer, half on the shorter.
    """
    hits, n = _counts(table, "longer_share", "longer_n")
    others, of = hits.sum() - hits, n.sum() - n
    lean = (others + OTHERS_PRIOR / 2) / (of + OTHERS_PRIOR)
    most = np.clip(lean + BEYOND_OTHERS, HONEST_LENGTH, 0.99)
    least = np.clip(lean - BEYOND_OTHERS, 0.01, 1 - HONEST_LENGTH)
    longer = log_evidence(hits, n, most, direction="above")
    shorter = log_evidence(hits, n, least, direction="below")
    return np.asarray(np.logaddexp(longer, shorter) - np.log(2.0))


def _accuracy(table: pd.DataFrame) -> Floats:
    """Return the evidence that a labeler differs from the consensus far more than others do."""
    hits, n = _counts(table, "accuracy", "accuracy_n")
    crowd = table.loc[table["accuracy_n"] >= CROWD_VOTES, "accuracy"]
    bar = float(crowd.median()) - BELOW_CROWD if len(crowd) >= CROWD else 0.0
    if bar <= 0:
        return np.zeros(len(table))
    return log_evidence(hits, n, bar, direction="below", prior=EXPECT_GUESSING)


def _copied(table: pd.DataFrame) -> Floats:
    return table["copied_evidence"].to_numpy(dtype=float)


EXCLUDE = (
    "Ask them; if nothing explains it, exclude the labeler (their votes are kept, and it can be "
    "undone)."
)
# Half of alpha for gold, because it is the signal that finds guessers; the rest in equal parts.
REST = 0.5 / 7
# Choice: an eighth of the streaks' part. Who always takes the left is still named at the 13th vote;
# who always says tie, beside others, at the 17th.
SAME_PART = REST / 8

SIGNALS: dict[str, Signal] = {
    "gold": Signal(
        "gold_accuracy", "gold_n", 0.5, _gold,
        "right on {share} of {n} gold items (whoever reads gets seven of eight)",
        "Look at the gold items they missed. " + EXCLUDE,
    ),
    "left": Signal(
        "left_share", "left_n", REST, _left,
        "took the left answer in {share} of {n} decided votes, whose sides were drawn by lot",
        EXCLUDE,
    ),
    "streak": Signal(
        "left_share", "left_n", REST - SAME_PART, _streak,
        "took the same side {row.streak} times in a row, whose sides were drawn by lot ({share} "
        "left of {n})",
        "Ask them to take a break, and ask again what was voted in the streak. " + EXCLUDE,
    ),
    "same": Signal(
        "same_share", "same_n", SAME_PART, _same,
        "said {row.same} {row.same_streak} times in a row, where nobody else did ({share} of {n} "
        "verdicts), far more often than the others do",
        "Read some of these: if they are right, go on; else ask them to choose, and ask again what "
        "was voted in the streak. " + EXCLUDE,
    ),
    "fast": Signal(
        "fast_share", "timed_n", REST, _fast,
        "voted sooner than the answers can be read in {share} of {n} timed votes",
        "Ask them to slow down. " + EXCLUDE,
    ),
    "repeats": Signal(
        "consistency", "repeats_n", REST, _repeats,
        "chose the same answer again in {share} of {n} silent repeats",
        EXCLUDE,
    ),
    "length": Signal(
        "longer_share", "longer_n", REST, _length,
        "took the longer answer in {share} of {n} decided votes, far from what the others do",
        "Ask whether length is what they want; balance by length, or exclude the labeler.",
    ),
    "accuracy": Signal(
        "accuracy", "accuracy_n", REST, _accuracy,
        "agrees with the consensus in {share} of {n} shared comparisons, far less than most",
        "Read some of their votes: another taste is no fault, guessing is. " + EXCLUDE,
    ),
    "copying": Signal(
        "copied_share", "copied_n", REST, _copied,
        "gave the verdict of {row.copied_from} within seconds after it in {share} of {n} shared "
        "comparisons",
        "Count one of the two only: exclude the labeler who copies.",
    ),
}  # fmt: skip
