"""What a duel says: values by hand, ties, and that it may be read after every vote."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feedback.duels import CONTROL_LEAST, Outcome, outcome, words
from feedback.sequential import log_evidence, share_interval, votes_until


def test_eight_wins_of_eight_decide_and_seven_do_not() -> None:
    """The wealth of n wins of n is 2^n / (n + 1): 28.4 of eight, 16 of seven; 20 is asked."""
    seven, eight = outcome([1.0] * 7), outcome([1.0] * 8)
    assert (seven.decided, seven.more) == ("", 1)
    assert (eight.decided, eight.more) == ("better", 0)
    assert eight.p == pytest.approx(9 / 256)
    assert eight.low == pytest.approx((1 / 180) ** (1 / 8))  # p^-8 / 9 = 20
    assert eight.high == 1.0
    assert outcome([0.0] * 8).decided == "worse"


def test_ties_are_counted_openly_and_are_half_a_win() -> None:
    found = outcome([1.0, 1.0, 0.5, 0.0])
    assert (found.wins, found.losses, found.ties, found.prompts) == (2, 1, 1, 4)
    assert found.rate == 0.625
    assert found.low < 0.5 < found.high


def test_several_people_on_one_prompt_are_one_score() -> None:
    """Two of three for the one after is a win of that prompt, and counts two thirds in the rate."""
    found = outcome([2 / 3, 0.5])
    assert (found.wins, found.ties) == (1, 1)
    assert found.rate == pytest.approx(7 / 12)


def test_nothing_is_said_of_no_votes() -> None:
    found = outcome([])
    assert (found.rate, found.low, found.high, found.p, found.more) == (None, 0.0, 1.0, 1.0, None)
    assert words(found) == "Nobody has judged yet."


def test_equals_have_no_end_in_sight() -> None:
    found = outcome([1.0, 0.0] * 10)
    assert found.more is None
    assert "about equal" in words(found)
    assert votes_until(0.5, 0) is None


def test_an_interval_holds_what_there_is_no_evidence_against() -> None:
    for hits, n in ((3, 10), (7.5, 10), (0, 4), (120, 200)):
        low, high = share_interval(hits, n)
        for end in (low, high):
            if 0 < end < 1:
                assert log_evidence(hits, n, end) == pytest.approx(math.log(20), abs=1e-6)
        assert low <= hits / n <= high


def test_the_rate_at_equal_lengths_takes_out_what_length_decides() -> None:
    """The longer one wins 22 of 25, and the one after is longer on three prompts of four: it wins
    69 of 100. The log-odds are 2 or -2 as it is longer or shorter, so 0 at equal lengths."""
    longer = np.array([0.3, 0.3, 0.3, -0.3] * 25)
    wins = [float((long > 0) == (i // 4 % 10 != 0)) for i, long in enumerate(longer)]
    found = outcome(wins, longer.tolist())
    assert found.rate == 0.69
    assert found.at_equal_lengths == pytest.approx(0.5, abs=0.01)
    few = outcome(wins[: CONTROL_LEAST - 1], longer[: CONTROL_LEAST - 1].tolist())
    assert few.at_equal_lengths is None


@pytest.mark.parametrize(("win", "tie"), [(0.5, 0.0), (0.4, 0.2), (0.6, 0.2)])
def test_the_interval_covers_whenever_somebody_stops(win: float, tie: float) -> None:
    """400 duels of 100 prompts, read after each: 5 % may ever leave the truth out, 20 ± 4 · 4.4."""
    rng = np.random.default_rng(11)
    drawn = rng.random((400, 100))
    scores = np.where(drawn < win, 1.0, np.where(drawn < win + tie, 0.5, 0.0))
    hits, n = scores.cumsum(axis=1), np.arange(1, 101)
    evidence = log_evidence(hits, n, win + tie / 2)
    assert (evidence >= math.log(20)).any(axis=1).sum() <= 37


def test_an_outcome_goes_into_json_and_back() -> None:
    found = outcome([1.0, 0.5])
    assert Outcome(**found.as_json()) == found
