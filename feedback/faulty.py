"""Labelers with a fault, to see whether the checks find them. Pure: a sight in, a verdict out.

Each is a function of what it sees, its share of slips and a random source; `simulate` gives them a
name that says which fault they have, and `benchmarks/detection.py` counts how soon they are found.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

# Source: Brysbaert 2019, "How many words do we read per minute?" (238 a minute, most adults 175 to
# 300); a word of English with its space is 6 characters.
CHARS_PER_SECOND = 238 * 6 / 60
SPREAD = 0.3  # of the logarithm of a vote's time. Choice: the same person's times differ by a third
DECIDE_SECONDS = 2.0  # Choice: to decide and to press a key
MOST_SECONDS = 50.0  # Choice: two long answers are not read to their ends
POISON = 0.05  # share of the votes that a poisoner turns around: the issue's


class Sight(NamedTuple):
    """What a simulated labeler sees."""

    better: str  # "left" or "right": the answer that deserves to win
    left: float  # characters
    right: float
    others: str = ""  # "left" or "right": what somebody else has just said, or ""


class Said(NamedTuple):
    """What a simulated labeler does."""

    side: str  # "left", "right" or "tie"
    seconds: float  # from showing to voting
    copied: bool = False  # said within seconds after somebody else's vote


Fault = Callable[[Sight, float, random.Random], Said]


def honest(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return the better side, or the other one with probability `noise`, after reading."""
    return Said(_slipped(sight.better, noise, rng), reading_seconds(sight, rng))


def noisy(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return a verdict that is wrong in three of ten votes more than an honest one's."""
    return honest(sight, min(1.0, noise + 0.3), rng)


def always_left(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return the left side, whatever stands there."""
    return Said("left", reading_seconds(sight, rng))


def mostly_left(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return the left side in 70 % of the votes, whatever stands there."""
    return Said("left" if rng.random() < 0.7 else "right", reading_seconds(sight, rng))


def always_tie(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return a tie, whatever stands there."""
    return Said("tie", reading_seconds(sight, rng))


def guessing(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return either side by chance."""
    return Said(rng.choice(("left", "right")), reading_seconds(sight, rng))


def too_fast(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return a verdict at first glance: in half a second or so, wrong in two of ten votes more."""
    return Said(_slipped(sight.better, min(1.0, noise + 0.2), rng), rng.uniform(0.2, 0.9))


def copying(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return what somebody else has just said; an honest verdict where nobody has."""
    if not sight.others:
        return honest(sight, noise, rng)
    return Said(sight.others, rng.uniform(2.0, 6.0), copied=True)


def length_loving(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return the longer answer, or the other one with probability `noise`."""
    if sight.left == sight.right:
        return honest(sight, noise, rng)
    longer = "left" if sight.left > sight.right else "right"
    return Said(_slipped(longer, noise, rng), reading_seconds(sight, rng))


def poisoning(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return an honest verdict, and in one vote of twenty the worse side on purpose."""
    said = honest(sight, noise, rng)
    return said._replace(side=_slipped(said.side, POISON, rng))


def reading_seconds(sight: Sight, rng: random.Random) -> float:
    """Return how long somebody takes who reads both answers and decides."""
    read = (sight.left + sight.right) / CHARS_PER_SECOND
    return min(MOST_SECONDS, (DECIDE_SECONDS + read) * rng.lognormvariate(0.0, SPREAD))


def _slipped(side: str, share: float, rng: random.Random) -> str:
    other = "right" if side == "left" else "left"
    return other if rng.random() < share else side


FAULTS: dict[str, Fault] = {
    "noisy": noisy,
    "left": always_left,
    "left70": mostly_left,
    "tie": always_tie,
    "random": guessing,
    "fast": too_fast,
    "copying": copying,
    "length": length_loving,
    "poison": poisoning,
}
