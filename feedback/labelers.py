"""Who votes how: one row per labeler, with everything that the checks and the screen say of them.

Pure: columns in, a frame out. Which of it is a fault is said in `feedback/signals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feedback.agreement import dawid_skene
from feedback.checks.columns import Columns
from feedback.checks.said import found_in
from feedback.copying import Copies, copies
from feedback.signals import ALPHA, flags
from feedback.streaks import same_runs, side_runs

VERDICTS = ("a", "b", "tie", "both_bad", "skip")
A, B, TIE, BOTH_BAD, SKIP = range(5)
SAME = (TIE, BOTH_BAD, SKIP)  # verdicts that choose no side: their runs are looked at apart
LEFT, RIGHT, UNKNOWN = 0, 1, -1

# Source: Rayner, Schotter, Masson, Potter, Treiman 2016, "So much to read, so little time": above
# 1,000 words a minute nobody reads (most adults: 175 to 300; Brysbaert 2019). A word of English
# with its space is 6 characters, so 100 characters a second.
FASTEST = 100.0  # characters per second
# Choice: the first lines of two answers often settle it; nobody is held to read on.
READ_CHARS = 500
LEAST_SECONDS = 1.0  # Choice: to see two answers and to press a key

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

# What a labeler's row says, in this order. A share is NaN where its n is 0.
TABLE = (
    "labeler", "votes", "ties_share", "seconds_median", "left_share", "left_n", "longer_share",
    "longer_n", "agreement", "agreement_n", "accuracy", "accuracy_n", "gold_accuracy", "gold_n",
    "consistency", "repeats_n", "fast_share", "timed_n", "streak", "streak_evidence", "same",
    "same_streak", "same_share", "same_n", "same_evidence", "copied_from", "copied_share",
    "copied_n", "copied_evidence",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """The votes of M labelers as codes, V long, in the order in which each labeler cast them."""

    names: list[str]  # of the labelers, sorted
    labeler: Codes
    item: Codes
    comparisons: pd.Index  # what the codes of `item` stand for
    verdict: Codes  # an index of VERDICTS
    side: Codes  # LEFT or RIGHT where a side was chosen and recorded, else UNKNOWN
    time: Codes  # of the vote; nanoseconds
    repeat: NDArray[np.bool_]  # a silent repeat
    rows: Codes  # where each vote stands in the frame

    @property
    def items(self) -> int:
        return len(self.comparisons)

    def total(self, what: NDArray[np.bool_] | Floats) -> Floats:
        """Return the sum of one value per vote over each labeler's votes, (M,)."""
        weights = np.asarray(what, dtype=float)
        return np.bincount(self.labeler, weights, len(self.names)).astype(float)

    def share(self, hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return each labeler's share of hits among the votes `of`, and how many these are."""
        n = self.total(of)
        return _over(self.total(hits & of), n), n


def labeler_table(columns: Columns, *, alpha: float = ALPHA) -> pd.DataFrame:
    """Return one row per labeler, sorted by name, with the columns of `TABLE` and `flags`.

    Shares are 0..1, each with the number of votes that it is of:

    votes: verdicts, skips not among them; ties_share: ties among them.
    seconds_median: from showing to voting, where it was measured.
    left_share: of decided votes with recorded sides; longer_share: of decided votes on answers of
        different length.
    agreement: share of other people's verdicts on the same comparisons that are the same.
    accuracy: by Dawid and Skene, from the comparisons that two or more people judged.
    gold_accuracy: right verdicts on comparisons whose verdict is known.
    consistency: silent repeats with the same side, of those decided both times.
    fast_share: votes given sooner than anybody can read, of those with a time.
    streak: the longest run of one key among left and right; streak_evidence: see `sequential`.
    same: which of tie, both_bad and skip was said over and over, "" for none; same_streak: times in
        a row, where nobody else said so; same_share: of all verdicts, skips among them (same_n).
    copied_from: whom this labeler follows most, or ""; copied_share: of the comparisons that they
        share, with the same verdict within seconds after.
    flags: names in `feedback.signals.SIGNALS` that speak against the labeler; an honest one ever
        gets any with a probability of at most about `alpha`, however often somebody looks.
    """
    votes = columns.votes
    judged, first = columns.once(judged_in), columns.once(first_in)
    decided = judged.verdict <= B
    counted = judged.verdict != SKIP
    left, left_n = judged.share(judged.side == LEFT, judged.side != UNKNOWN)
    longer = _longer(votes, judged)
    longer_share, longer_n = judged.share(longer > 0, decided & (longer != 0))
    agreement, agreement_n = _agreement(judged, first)
    accuracy, accuracy_n = _accuracy(judged, first)
    gold, gold_n = _gold(judged, first, columns)
    consistency, repeats_n = _consistency(judged, first)
    seconds, fast, fast_n = _speed(votes, judged)
    sided = judged.side != UNKNOWN
    people = len(judged.names)
    streak, streak_evidence = side_runs(judged.labeler[sided], judged.side[sided], people)
    same = same_runs(
        judged.labeler, judged.item, judged.verdict, judged.time, among=SAME, people=people
    )
    copied = columns.once(copies_in)
    names = np.array([*judged.names, ""], dtype=object)
    said = np.array([*VERDICTS, ""], dtype=object)  # -1 is the last
    values = (
        judged.names, judged.total(counted).astype(int),
        judged.share(judged.verdict == TIE, counted)[0], seconds, left, left_n, longer_share,
        longer_n, agreement, agreement_n, accuracy, accuracy_n, gold, gold_n, consistency,
        repeats_n, fast, fast_n, streak, streak_evidence, said[same.verdict], same.length,
        same.share, same.n, same.evidence, names[copied.source], copied.share, copied.n,
        copied.evidence,
    )  # fmt: skip
    table = pd.DataFrame(dict(zip(TABLE, values, strict=True)))
    whole = [name for name in TABLE if name.endswith("_n")]
    table = table.astype(dict.fromkeys(whole, int))
    return table.assign(flags=flags(table, alpha))


def judged_in(columns: Columns) -> Judged:
    """Return the columns' votes as codes."""
    return judged_votes(columns.votes)


def first_in(columns: Columns) -> NDArray[np.bool_]:
    """Return which of the columns' votes are their labeler's first on the comparison."""
    return first_votes(columns.once(judged_in))


def copies_in(columns: Columns) -> Copies:
    """Return whom each labeler of the columns copies, if anybody."""
    judged, first = columns.once(judged_in), columns.once(first_in)
    return copies(judged.labeler, judged.item, judged.verdict, judged.time, first)


def judged_votes(votes: pd.DataFrame) -> Judged:
    """Return the votes as codes, ordered by labeler and time."""
    names, labeler = _labelers(votes)
    item, comparisons = pd.factorize(votes["comparison"])
    verdict = _verdicts(votes)
    side = _sides(votes, verdict)
    time = pd.to_datetime(votes["created_at"], utc=True).to_numpy("datetime64[ns]").astype("int64")
    repeat = _codes(votes["kind"], {"repeat": 1}, 0) == 1
    rows = _in_order(labeler, time, votes["vote"])
    return Judged(
        names, labeler[rows], item[rows], pd.Index(comparisons), verdict[rows], side[rows],
        time[rows], repeat[rows], rows,
    )  # fmt: skip


def left_counts(votes: pd.DataFrame) -> tuple[list[str], Codes, Codes]:
    """Return the labelers, their votes for the left side, and their votes with a known side."""
    names, labeler = _labelers(votes)
    side = _sides(votes, _verdicts(votes))
    left = np.bincount(labeler[side == LEFT], minlength=len(names))
    return names, left, np.bincount(labeler[side != UNKNOWN], minlength=len(names))


def _labelers(votes: pd.DataFrame) -> tuple[list[str], Codes]:
    """Return the labelers' names, sorted, and the code of each vote's."""
    codes, found = pd.factorize(votes["labeler"])
    order = np.argsort(found.astype(str))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return found.astype(str)[order].tolist(), place[codes]


def _verdicts(judgements: pd.DataFrame) -> Codes:
    return _codes(judgements["verdict"], {name: n for n, name in enumerate(VERDICTS)}, SKIP)


def _sides(votes: pd.DataFrame, verdict: Codes) -> Codes:
    """Return LEFT or RIGHT where a side was chosen and recorded, else UNKNOWN."""
    left = _codes(votes["left"], {"a": A, "b": B}, UNKNOWN)
    return np.where((left != UNKNOWN) & (verdict <= B), verdict != left, UNKNOWN)


def _in_order(labeler: Codes, time: Codes, ids: pd.Series) -> Codes:
    """Return the rows ordered by labeler and time, whatever their order was.

    Among votes of one moment the hash of the id decides: any order, but always the same. As the
    store gives them they are in the order of time, and then this is quick.
    """
    if (np.diff(time) > 0).all():
        narrow = labeler.astype(np.uint16) if labeler.max(initial=0) < 2**16 else labeler
        return np.argsort(narrow, kind="stable")
    tie = pd.util.hash_array(ids.to_numpy(dtype=object))
    return np.lexsort((tie, time, labeler))


def too_fast(seconds: Floats, chars: Floats) -> NDArray[np.bool_]:
    """Return where a vote came sooner than its text can be read; never where a time is missing.

    Args:
        seconds: From showing to voting, (V,), NaN where nobody measured.
        chars: Characters of both answers, (V,).
    """
    least = np.maximum(LEAST_SECONDS, np.minimum(chars, READ_CHARS) / FASTEST)
    return np.asarray(seconds < least)


def _codes(values: pd.Series, codes: dict[str, int], other: int) -> Codes:
    """Return a code for each value; `other` for what is not in the dictionary."""
    found, names = pd.factorize(values)
    known = np.array([*(codes.get(name, other) for name in names), other], dtype=np.int64)
    return known[found]  # a missing value is -1, the last


def _over(hits: Floats, n: Floats) -> Floats:
    return np.divide(hits, n, out=np.full(len(n), np.nan), where=n > 0)


def _numbers(votes: pd.DataFrame, name: str, judged: Judged) -> Floats:
    return pd.to_numeric(votes[name]).to_numpy(dtype=float)[judged.rows]


def _longer(votes: pd.DataFrame, judged: Judged) -> Floats:
    """Return, per vote, above 0 where the longer answer won, below where the shorter, else 0."""
    gap = _numbers(votes, "chars_a", judged) - _numbers(votes, "chars_b", judged)
    return np.nan_to_num(gap) * np.select([judged.verdict == A, judged.verdict == B], [1, -1], 0)


def first_votes(judged: Judged) -> NDArray[np.bool_]:
    """Return which votes are their labeler's first on the comparison; skips and repeats are not."""
    places = np.flatnonzero((judged.verdict != SKIP) & ~judged.repeat)
    key = judged.labeler[places] * max(judged.items, 1) + judged.item[places]
    first = np.zeros(len(judged.verdict), dtype=bool)
    first[places[np.unique(key, return_index=True)[1]]] = True
    return first


def _agreement(judged: Judged, first: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return each labeler's share of others' verdicts that are the same, and of how many."""
    key = judged.item * SKIP + np.minimum(judged.verdict, BOTH_BAD)
    counts = np.bincount(key[first], minlength=judged.items * SKIP)
    of_item = counts.reshape(-1, SKIP).sum(axis=1)
    same = np.where(first, counts[key] - 1, 0)
    others = np.where(first, of_item[judged.item] - 1, 0)
    n = judged.total(others.astype(float))
    return _over(judged.total(same.astype(float)), n), n


def _accuracy(judged: Judged, first: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return each labeler's accuracy by Dawid and Skene, and from how many votes."""
    people = np.bincount(judged.item[first], minlength=judged.items)
    shared = first.copy()
    shared[first] = people[judged.item[first]] >= 2
    n = judged.total(shared)
    if not shared.any():
        return np.full(len(n), np.nan), n
    items = np.unique(judged.item[shared], return_inverse=True)[1]
    found = dawid_skene(items, judged.labeler[shared], judged.verdict[shared], SKIP)
    accuracy = np.full(len(n), np.nan)
    accuracy[: len(found.accuracy)] = found.accuracy
    return np.where(n > 0, accuracy, np.nan), n


def _gold(judged: Judged, first: NDArray[np.bool_], columns: Columns) -> tuple[Floats, Floats]:
    right = np.full(judged.items + 1, UNKNOWN)
    at = found_in(judged.comparisons, columns.gold["comparison"])
    right[at] = _verdicts(columns.gold)
    right[-1] = UNKNOWN  # where gold items went that nobody judged: to -1
    known = right[judged.item]
    return judged.share(judged.verdict == known, first & (known != UNKNOWN))


def _consistency(judged: Judged, first: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return each labeler's share of silent repeats that chose the same answer again."""
    width = max(judged.items, 1)
    key = judged.labeler * width + judged.item
    decided = judged.verdict <= B
    before = np.flatnonzero(first & decided)
    before = before[np.argsort(key[before])]
    again = np.flatnonzero(judged.repeat & decided)
    at = np.searchsorted(key[before], key[again])
    inside = at < len(before)
    again, at = again[inside], before[at[inside]] if len(before) else at[inside]
    paired = key[again] == key[at] if len(before) else np.zeros(0, dtype=bool)
    again, at = again[paired], at[paired]
    is_repeat = np.zeros(len(key), dtype=bool)
    is_same = np.zeros(len(key), dtype=bool)
    is_repeat[again] = True
    is_same[again] = judged.verdict[again] == judged.verdict[at]
    return judged.share(is_same, is_repeat)


def _speed(votes: pd.DataFrame, judged: Judged) -> tuple[Floats, Floats, Floats]:
    """Return each labeler's median seconds, share of votes that are too fast, and of how many."""
    seconds = _numbers(votes, "seconds_spent", judged)
    chars = _numbers(votes, "chars_a", judged) + _numbers(votes, "chars_b", judged)
    timed = ~np.isnan(seconds)
    median = pd.Series(seconds).groupby(judged.labeler).median()
    fast, n = judged.share(too_fast(seconds, chars), timed & (judged.verdict != SKIP))
    return median.reindex(range(len(judged.names))).to_numpy(dtype=float), fast, n
