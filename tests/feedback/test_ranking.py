"""The leaderboard: Bradley–Terry by hand, against evalica on single votes, and what length does."""

from __future__ import annotations

import json
import math

import evalica
import numpy as np
import pandas as pd
import pytest
from evalica import Winner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from feedback.ranking import Leaderboard, leaderboard, with_length

games = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"), st.sampled_from(["a", "b", "tie"])),
    min_size=1,
    max_size=30,
)


def board(*rows: tuple, times: int = 20, kind: str = "plain", adapters: dict = {}) -> Leaderboard:  # noqa: B006
    """Return the leaderboard of votes given as (model_a, model_b, verdict[, chars_a, chars_b])."""
    votes = pd.DataFrame(
        [(f"c{n}", *(*row, 10, 10)[:5], kind) for n, row in enumerate(rows)],
        columns=["comparison", "model_a", "model_b", "verdict", "chars_a", "chars_b", "kind"],
    )
    comparisons = votes[["comparison"]].assign(adapter_a="", adapter_b="")
    for comparison, adapter in adapters.items():
        comparisons.loc[comparisons["comparison"] == comparison, "adapter_b"] = adapter
    return leaderboard(votes, comparisons, np.random.default_rng(0), times=times)


def test_scores_of_two_models_by_hand():
    """x wins 3 of 4: s_x / (s_x + s_y) = 3/4, s_x s_y = 1: s_x = √3, s_y = 1/√3."""
    x, y = board(*[("x", "y", "a")] * 3, ("x", "y", "b")).models
    assert (x.model, x.votes, x.win_rate) == ("x", 4, 0.75)
    assert (x.score, y.score) == pytest.approx((math.sqrt(3), 1 / math.sqrt(3)), abs=1e-5)


def test_a_tie_and_both_bad_are_half_a_win_and_a_skip_is_nothing():
    """x: 1 win, 2 halves, of 3: odds 2 to 1, score √2."""
    rows = [("x", "y", "a"), ("x", "y", "tie"), ("y", "x", "both_bad"), ("x", "y", "skip")]
    x, y = board(*rows).models
    assert (x.votes, x.win_rate) == (3, pytest.approx(2 / 3))
    assert x.score == pytest.approx(math.sqrt(2), abs=1e-5)


def test_votes_on_one_model_and_silent_repeats_are_left_out():
    assert board(("x", "x", "a"), ("y", "y", "b")).models == ()
    assert board(("x", "y", "a"), kind="repeat") == Leaderboard((), 0, None, None, None)
    assert [one.model for one in board(("x", "y", "a"), ("z", "z", "b")).models] == ["x", "y"]


def test_an_adapter_is_a_contestant_of_its_own():
    rows = [("m", "m", "b"), ("m", "m", "b"), ("m", "m", "a")]
    found = board(*rows, adapters={"c0": "r-1", "c1": "r-1", "c2": "r-1"}).models
    assert [one.model for one in found] == ["m + r-1", "m"]
    assert found[0].win_rate == pytest.approx(2 / 3)


def test_who_never_lost_never_won_or_never_met_the_others_has_no_score():
    """x and y beat each other; top only wins, low only loses, far met nobody but further."""
    rows = [("x", "y", "a"), ("x", "y", "b"), ("top", "x", "a"), ("low", "y", "b")]
    found = {one.model: one for one in board(*rows, ("far", "further", "tie")).models}
    ranked = {name for name, one in found.items() if one.score is not None}
    assert len(ranked) == 2
    assert {"top", "low"}.isdisjoint(ranked)
    assert found["top"].win_rate == 1.0
    assert found["low"].low is found["low"].score_length_controlled is None


def test_without_a_finite_score_the_json_has_nulls_and_no_infinity():
    found = board(("x", "y", "a"))
    printed = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert [one["score"] for one in printed["models"]] == [None, None]
    assert printed["twice_as_long"] is None


def test_the_intervals_hold_the_scores_and_narrow_with_votes():
    few = board(*[("x", "y", "a")] * 6, *[("x", "y", "b")] * 4, times=200).models[0]
    many = board(*[("x", "y", "a")] * 600, *[("x", "y", "b")] * 400, times=200).models[0]
    for one in (few, many):
        assert one.low <= one.score <= one.high
        assert one.low_length_controlled <= one.score_length_controlled
        assert one.score_length_controlled <= one.high_length_controlled
    assert many.high - many.low < (few.high - few.low) / 5
    assert few.low < 1 < many.low  # 6 of 10 may be chance, 600 of 1,000 not


def test_the_interval_holds_the_true_score_about_as_often_as_it_says():
    """40 votes of x against y, true share 0.6: the chance of each number of wins is known, so the
    coverage is a sum over those that matter (16 to 32 of 40: 99.4 %), without luck."""
    covered, true = 0.0, math.sqrt(0.6 / 0.4)
    for wins in range(16, 33):
        rows = [("x", "y", "a")] * wins + [("x", "y", "b")] * (40 - wins)
        x = next(one for one in board(*rows, times=60).models if one.model == "x")
        covered += binom.pmf(wins, 40, 0.6) * (x.low <= true <= x.high)
    assert 0.88 <= covered <= 0.99


@given(games)
@settings(deadline=None, max_examples=25)
def test_counting_like_votes_together_changes_nothing(rows):
    """Evalica on single votes, among the models that all beat each other in circles."""
    found = [one for one in board(*rows, times=0).models if one.score is not None]
    names = {one.model for one in found}
    kept = [row for row in rows if row[0] in names and row[1] in names and row[0] != row[1]]
    if not kept:
        assert not found
        return
    winners = [{"a": Winner.X, "b": Winner.Y, "tie": Winner.Draw}[row[2]] for row in kept]
    scores = evalica.bradley_terry([r[0] for r in kept], [r[1] for r in kept], winners).scores
    for one in found:
        assert one.score == pytest.approx(scores[one.model], rel=1e-3)


# Length control


def test_where_lengths_are_equal_length_control_changes_nothing():
    rows = [("x", "y", "a"), ("y", "z", "a"), ("z", "x", "a"), ("x", "z", "a"), ("x", "y", "tie")]
    found = board(*rows * 20)
    for one in found.models:
        assert one.score_length_controlled == pytest.approx(one.score, rel=1e-3)
    assert found.twice_as_long == pytest.approx(1.0)


def test_a_model_that_wins_by_length_alone_is_no_better_under_control():
    """In 3 of 4 votes the longer answer wins, whosever it is; x writes the longer one in 9 of 10.

    An answer thrice as long has odds 3, so g · (3 - 1)/(3 + 1) = log 3, and one twice as long has
    e^(g/3) = 3^(2/3).
    """
    rows = []
    for x, y, many in ((30, 10, 90), (10, 30, 10)):
        for n in range(4 * many):
            longer_wins = n % 4 < 3
            rows.append(("x", "y", "a" if longer_wins == (x > y) else "b", x, y))
    found = board(*rows)
    x = next(one for one in found.models if one.model == "x")
    assert x.score > 1.4
    assert x.score_length_controlled == pytest.approx(1.0, abs=0.01)
    assert found.twice_as_long == pytest.approx(3 ** (2 / 3), rel=0.01)
    assert found.twice_as_long_low < found.twice_as_long < found.twice_as_long_high


def test_an_answer_that_always_wins_by_length_keeps_everything_finite():
    rows = [("x", "y", "a", 90, 10), ("x", "y", "b", 10, 90)] * 10
    found = board(*rows)
    assert found.twice_as_long > 10
    assert all(math.isfinite(one.score_length_controlled) for one in found.models)


def simulated(seed: int, n: int = 4000):
    """Return first, second, won, longer, and the truth behind them."""
    rng = np.random.default_rng(seed)
    strengths, effect = np.array([0.6, 0.1, -0.2, -0.5]), 0.8
    first = rng.integers(0, 4, n)
    second = (first + rng.integers(1, 4, n)) % 4
    longer = rng.uniform(-1, 1, n)
    z = strengths[first] - strengths[second] + effect * longer
    won = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    return first, second, won, longer, strengths, effect


@pytest.mark.parametrize("seed", range(3))
def test_newton_recovers_the_truth_and_stands_where_the_likelihood_is_flat(seed: int):
    first, second, won, longer, strengths, effect = simulated(seed)
    logs, found = with_length(first, second, won, longer, np.ones(len(won)), 4)
    assert logs == pytest.approx(strengths, abs=0.15)
    assert found == pytest.approx(effect, abs=0.2)
    missing = won - 1 / (1 + np.exp(-(logs[first] - logs[second] + found * longer)))
    assert missing @ longer == pytest.approx(0, abs=0.05)
    for model in range(4):
        pull = missing[first == model].sum() - missing[second == model].sum()
        assert pull == pytest.approx(0, abs=0.05)


def test_swapping_the_sides_of_a_game_changes_nothing():
    first, second, won, longer, _, _ = simulated(7)
    ones, swap = np.ones(len(won)), np.random.default_rng(0).random(len(won)) < 0.5
    plain = with_length(first, second, won, longer, ones, 4)
    turned = with_length(
        np.where(swap, second, first),
        np.where(swap, first, second),
        np.where(swap, 1 - won, won),
        np.where(swap, -longer, longer),
        ones,
        4,
    )
    assert turned[0] == pytest.approx(plain[0], abs=1e-6)
    assert turned[1] == pytest.approx(plain[1], abs=1e-6)


def test_the_same_generator_gives_the_same_board_in_any_order_of_the_votes():
    rows = [("x", "y", "a", 30, 10), ("y", "z", "b", 5, 9), ("z", "x", "tie"), ("z", "y", "b")] * 5
    rows += [("x", "z", "b", 7, 9), ("y", "x", "a")]
    assert board(*rows) == board(*reversed(rows))
