"""Each planted fault does what its name says."""

from __future__ import annotations

import random
from statistics import median

import pytest

from feedback.faulty import FAULTS, Sight, honest


def said(kind: str, sight: Sight, n: int = 1_000, noise: float = 0.1):
    rng = random.Random(3)
    return [FAULTS[kind](sight, noise, rng) for _ in range(n)]


def share_left(kind: str, sight: Sight, noise: float = 0.1) -> float:
    return sum(one.side == "left" for one in said(kind, sight, noise=noise)) / 1_000


@pytest.mark.parametrize(
    ("kind", "better_left", "better_right"),
    [
        ("noisy", 0.6, 0.4),  # slips in 0.1 + 0.3
        ("left", 1.0, 1.0),
        ("left70", 0.7, 0.7),
        ("random", 0.5, 0.5),
        ("fast", 0.7, 0.3),  # slips in 0.1 + 0.2
        ("length", 0.9, 0.9),  # the left answer is longer, slips in 0.1
        ("poison", 0.86, 0.14),  # 0.9 · 0.95 + 0.1 · 0.05
        ("copying", 0.9, 0.1),  # nobody to copy: honest
    ],
)
def test_a_fault_takes_its_share_of_left(kind, better_left, better_right):
    """1,000 votes: within 4 standard deviations, 4 · sqrt(0.25 / 1000) = 0.063."""
    assert share_left(kind, Sight("left", 300, 100)) == pytest.approx(better_left, abs=0.063)
    assert share_left(kind, Sight("right", 300, 100)) == pytest.approx(better_right, abs=0.063)


def test_who_always_says_tie_chooses_no_side_and_takes_the_time_to_read():
    votes = said("tie", Sight("left", 600, 400))
    assert {one.side for one in votes} == {"tie"}
    assert median(one.seconds for one in votes) == pytest.approx(44, abs=4)


def test_a_copier_says_what_the_other_said_within_seconds():
    for one in said("copying", Sight("left", 300, 100, others="right")):
        assert (one.side, one.copied) == ("right", True)
        assert one.seconds <= 6


def test_honest_people_take_the_time_to_read_and_fast_ones_do_not():
    """1,000 characters at 23.8 a second and 2 seconds: 44 at the median."""
    rng = random.Random(1)
    sight = Sight("left", 600, 400)
    assert median(honest(sight, 0.1, rng).seconds for _ in range(1_000)) == pytest.approx(44, abs=2)
    assert max(one.seconds for one in said("fast", sight)) < 1


def test_equal_lengths_leave_the_length_lover_with_the_better_one():
    assert share_left("length", Sight("left", 100, 100), noise=0.0) == 1.0
