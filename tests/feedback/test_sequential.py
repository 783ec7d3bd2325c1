"""Evidence that may be read after every vote: worked values, and honest people over an evening."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.sequential import is_found, log_evidence, log_row_evidence, log_run_evidence


def test_ten_of_ten_against_a_half_is_worth_93():
    """The mean over p of p^10 / (1/2)^10 is 2^10 · 1/11 = 93.09."""
    assert np.exp(log_evidence(10, 10)) == pytest.approx(1024 / 11)


def test_no_vote_is_no_evidence():
    for direction in ("both", "above", "below"):
        assert log_evidence(0, 0, 0.7, direction=direction) == pytest.approx(0.0)


def test_one_sided_evidence_counts_only_its_own_side():
    """Against "at most 1/2": the mean of (2p)^2 over p in (1/2, 1) is 4 · 2 · (1 - 1/8) / 3 = 7/3;
    of "at least 1/2" over (0, 1/2): 4 · 2 · (1/8) / 3 = 1/3."""
    assert np.exp(log_evidence(2, 2, direction="above")) == pytest.approx(7 / 3)
    assert np.exp(log_evidence(2, 2, direction="below")) == pytest.approx(1 / 3)


@given(
    n=st.integers(0, 60),
    k=st.integers(0, 60),
    null=st.floats(0.05, 0.95),
    direction=st.sampled_from(["both", "above", "below"]),
    prior=st.sampled_from([(1.0, 1.0), (10.0, 10.0)]),
)
def test_a_fair_bet_neither_wins_nor_loses(n, k, null, direction, prior):
    """The wealth after the next vote, averaged over an honest labeler's, is the wealth now."""
    k = min(n, k)
    now, hit, miss = np.exp(
        log_evidence([k, k + 1, k], [n, n + 1, n + 1], null, direction=direction, prior=prior)
    )
    assert null * hit + (1 - null) * miss == pytest.approx(now, rel=1e-6)


def test_much_evidence_for_the_honest_side_is_minus_infinity_and_no_warning():
    assert log_evidence(100_000, 100_000, 0.2, direction="below") < -100


def test_a_run_is_worth_what_its_bettor_owns():
    """2^13 / 2 from the first vote on; from the second on the turn counts too: 2^13 / 6."""
    assert np.exp(log_run_evidence([14, 13], [1, 2])) == pytest.approx([2**13 / 2, 2**13 / 6])
    assert np.exp(log_run_evidence(0, 1)) == pytest.approx(1 / 2)


def test_a_row_of_one_outcome_is_worth_more_the_rarer_it_is():
    """Three in a row from the fifth trial: 2^3 / 30 at a half, 10^3 / 30 at a tenth."""
    assert np.exp(log_row_evidence(3, 5, [0.5, 0.1])) == pytest.approx([8 / 30, 1000 / 30])


def test_honest_rows_are_rarely_suspected():
    """4,000 people who say tie in every fourth of 400 votes, at alpha 0.01: at most 65 as below."""
    ties = np.random.default_rng(9).random((4_000, 400)) < 0.25
    length = np.zeros(4_000)
    suspected = np.zeros(4_000, dtype=bool)
    for step in range(400):
        length = np.where(ties[:, step], length + 1, 0)
        rows = length > 0
        evidence = log_row_evidence(length[rows], step + 2 - length[rows], 0.25)
        suspected[rows] |= is_found(evidence, 0.01)
    assert 0 < suspected.sum() <= 65


def test_what_is_enough_is_one_over_alpha():
    assert is_found([log(99), log(101)], 0.01).tolist() == [False, True]


def test_honest_people_who_are_looked_at_after_every_vote_are_rarely_suspected():
    """4,000 fair coins of 400 flips at alpha 0.01: at most 40 ± 4 · sqrt(40) = 65 are ever found,
    by the share; by the binomial test at 1 % it would be about a tenth of them."""
    rng = np.random.default_rng(7)
    flips = rng.random((4_000, 400)) < 0.5
    n = np.arange(1, 401)
    hits = flips.cumsum(axis=1)
    assert is_found(log_evidence(hits, n), 0.01).any(axis=1).sum() <= 65
    naive = np.abs(hits - n / 2) > 2.576 * np.sqrt(n) / 2
    assert naive[:, 10:].any(axis=1).mean() > 0.06


def test_honest_runs_are_rarely_suspected():
    """4,000 fair coins of 400 flips at alpha 0.01: at most 65 have a run that is evidence."""
    flips = np.random.default_rng(8).random((4_000, 400)) < 0.5
    length = np.ones(4_000)
    start = np.ones(4_000)
    suspected = np.zeros(4_000, dtype=bool)
    for step in range(1, 400):
        same = flips[:, step] == flips[:, step - 1]
        length = np.where(same, length + 1, 1)
        start = np.where(same, start, step + 1)
        suspected |= is_found(log_run_evidence(length, start), 0.01)
    assert 0 < suspected.sum() <= 65
