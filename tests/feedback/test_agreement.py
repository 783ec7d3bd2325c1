"""Alpha, its interval, pairs, Dawid and Skene: by hand, against plain loops, as laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import agreement
from feedback.agreement import alpha_interval, dawid_skene, krippendorff_alpha, pairwise_agreement

judgements = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40)


def by_coincidences(units: list[int], values: list[int]) -> float:
    """Return alpha as the book has it: from the coincidence matrix, pair by pair."""
    size = max(values, default=0) + 1
    coincidences = np.zeros((size, size))
    for unit in set(units):
        mine = [v for u, v in zip(units, values, strict=True) if u == unit]
        for i, first in enumerate(mine):
            for j, second in enumerate(mine):
                if i != j:
                    coincidences[first, second] += 1 / (len(mine) - 1)
    counts, n = coincidences.sum(axis=1), coincidences.sum()
    observed = n - np.trace(coincidences)
    expected = sum(counts[c] * counts[k] for c in range(size) for k in range(size) if c != k)
    return 1 - (n - 1) * observed / expected if expected else math.nan


# Alpha


def test_alpha_of_the_books_example():
    """Krippendorff's own data (2011, four observers, 12 units, missing values): nominal 0.743."""
    rows = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    cells = [(unit, value) for row in rows for unit, value in enumerate(row.split())]
    units, values = zip(*[(u, int(v)) for u, v in cells if v != "."], strict=True)
    assert round(krippendorff_alpha(units, values), 3) == 0.743


def test_alpha_by_hand():
    """Units aa, ab: n = 4, a 3 and b 1. D_o = 2/4; D_e = 2·3·1/(4·3) = 1/2. Alpha 0."""
    assert krippendorff_alpha([0, 0, 1, 1], [0, 0, 0, 1]) == pytest.approx(0.0)


def test_opposite_verdicts_everywhere_are_below_chance():
    """Units ab, ab: D_o = 1, D_e = 2·2·2/(4·3) = 2/3. Alpha -1/2."""
    assert krippendorff_alpha([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("units", "values"), [([], []), ([0], [1]), ([0, 1], [0, 1]), ([0, 0], [2, 2])]
)
def test_alpha_is_nan_where_nothing_can_disagree(units, values):
    assert math.isnan(krippendorff_alpha(units, values))
    assert all(map(math.isnan, alpha_interval(units, values, np.random.default_rng(0))))


@settings(deadline=None)
@given(judgements)
def test_alpha_is_that_of_the_coincidence_matrix(votes):
    units, values = [u for u, _ in votes], [v for _, v in votes]
    assert krippendorff_alpha(units, values) == pytest.approx(
        by_coincidences(units, values), nan_ok=True
    )


@settings(deadline=None)
@given(judgements, st.integers(1, 9))
def test_a_unit_judged_once_changes_nothing(votes, value):
    units, values = [u for u, _ in votes], [v for _, v in votes]
    assert krippendorff_alpha([*units, 99], [*values, value]) == pytest.approx(
        krippendorff_alpha(units, values), nan_ok=True
    )


# Its interval


@settings(deadline=None)
@given(judgements)
def test_the_interval_holds_alpha(votes):
    units, values = [u for u, _ in votes], [v for _, v in votes]
    low, high = alpha_interval(units, values, np.random.default_rng(1), times=50)
    alpha = krippendorff_alpha(units, values)
    assert (math.isnan(low) and math.isnan(alpha)) or low <= alpha <= high


def test_the_interval_is_that_of_units_drawn_one_by_one():
    """Draw the units themselves, with plain indices; the ends agree within the noise of 2,000."""
    rng = np.random.default_rng(5)
    units, values = np.repeat(np.arange(60), 3), rng.integers(0, 2, 180)
    values[:60] = 0
    low, high = alpha_interval(units, values, np.random.default_rng(6), times=2000)
    table = values.reshape(60, 3)
    drawn = [
        krippendorff_alpha(units, table[rng.integers(0, 60, 60)].reshape(-1)) for _ in range(2000)
    ]
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.03)


def test_the_same_generator_gives_the_same_interval_and_more_units_a_narrower_one():
    rng = np.random.default_rng(2)
    units, values = np.repeat(np.arange(400), 2), rng.integers(0, 3, 800)
    ends = [alpha_interval(units, values, np.random.default_rng(3)) for _ in range(2)]
    assert ends[0] == ends[1]
    few = alpha_interval(units[:100], values[:100], np.random.default_rng(3))
    assert ends[0][1] - ends[0][0] < few[1] - few[0]


# Pairs


@settings(deadline=None)
@given(judgements)
def test_pairwise_agreement_counts_every_pair_of_a_unit(votes):
    pairs = [
        first[1] == second[1]
        for i, first in enumerate(votes)
        for second in votes[:i]
        if first[0] == second[0]
    ]
    counted = pairwise_agreement([u for u, _ in votes], [v for _, v in votes])
    assert counted == (sum(pairs), len(pairs))


# Dawid and Skene


def plain_dawid_skene(votes, classes, rounds):
    """Return posterior, confusion and prior as the paper has it, in loops over dictionaries."""
    items, labelers = {i for i, _, _ in votes}, {m for _, m, _ in votes}
    wrong = 0.5 / (classes - 1)
    posterior = {}
    for i in items:
        mine = [v for item, _, v in votes if item == i]
        posterior[i] = [mine.count(c) / len(mine) for c in range(classes)]
    confusion, prior = {}, []
    for _ in range(rounds):
        prior = [1 / classes + sum(posterior[i][c] for i in items) for c in range(classes)]
        prior = [p / sum(prior) for p in prior]
        for m in labelers:
            for c in range(classes):
                row = [0.5 if c == v else wrong for v in range(classes)]
                for i, who, v in votes:
                    row[v] += posterior[i][c] * (who == m)
                confusion[m, c] = [n / sum(row) for n in row]
        for i in items:
            joint = list(prior)
            for item, m, v in votes:
                if item == i:
                    joint = [p * confusion[m, c][v] for c, p in enumerate(joint)]
            posterior[i] = [p / sum(joint) for p in joint]
    return posterior, confusion, prior


def simulated(n_items: int, accuracies: list[float], seed: int, classes: int = 3):
    """Return (items, labelers, verdicts, truth); everybody judges everything."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n_items)
    items = np.repeat(np.arange(n_items), len(accuracies))
    labelers = np.tile(np.arange(len(accuracies)), n_items)
    right = rng.random(len(items)) < np.array(accuracies)[labelers]
    slips = (truth[items] + rng.integers(1, classes, len(items))) % classes
    return items, labelers, np.where(right, truth[items], slips), truth


def test_one_round_by_hand():
    """Two items, two labelers, two classes: both say 0 of item 0; of item 1 they say 0 and 1.

    Start: posterior (1, 0) and (½, ½). Prior: (½ + 3/2, ½ + ½)/3 = (2/3, 1/3).
    Labeler 0 said 0 twice: row of class 0 (½ + 3/2, ½)/2.5 = (0.8, 0.2), of class 1
    (½ + ½, ½)/1.5 = (2/3, 1/3). Labeler 1 said 0, then 1: class 0 (½ + 1, ½ + ½)/2.5 = (0.6, 0.4),
    class 1 (½, ½ + ½)/1.5 = (1/3, 2/3).
    Item 0: 2/3·0.8·0.6 = 0.32 against 1/3·2/3·1/3 = 2/27. Item 1: 2/3·0.8·0.4 = 16/75 against
    1/3·2/3·2/3 = 4/27. Accuracies: 2/3·0.8 + 1/3·1/3 = 29/45; 2/3·0.6 + 1/3·2/3 = 28/45.
    """
    found = dawid_skene([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], 2, rounds=1)
    assert found.prior == pytest.approx([2 / 3, 1 / 3])
    assert found.confusion[0] == pytest.approx(np.array([[0.8, 0.2], [2 / 3, 1 / 3]]))
    assert found.confusion[1] == pytest.approx(np.array([[0.6, 0.4], [1 / 3, 2 / 3]]))
    first, second = 0.32 / (0.32 + 2 / 27), (16 / 75) / (16 / 75 + 4 / 27)
    assert found.posterior[:, 0] == pytest.approx([first, second])
    assert found.accuracy == pytest.approx([29 / 45, 28 / 45])
    likelihood = math.log(0.32 + 2 / 27) + math.log(16 / 75 + 4 / 27)
    assert found.log_likelihood == pytest.approx(likelihood)
    assert found.rounds == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_it_agrees_with_the_plain_loops(seed: int, rounds: int):
    rng = np.random.default_rng(seed)
    votes = sorted({(i, m): 0 for i, m in rng.integers(0, 7, (40, 2)).tolist()})
    names = {i: n for n, i in enumerate(sorted({i for i, _ in votes}))}
    votes = [(names[i], m, int(rng.integers(0, 3))) for i, m in votes]
    found = dawid_skene(*zip(*votes, strict=True), 3, rounds=rounds, tolerance=-math.inf)
    posterior, confusion, prior = plain_dawid_skene(votes, 3, rounds)
    assert found.rounds == rounds
    assert found.prior == pytest.approx(prior)
    for i, shares in posterior.items():
        assert found.posterior[i] == pytest.approx(shares)
    for (m, c), row in confusion.items():
        assert found.confusion[m, c] == pytest.approx(row)


def test_it_finds_who_is_good_and_outvotes_a_majority_of_guessers():
    """Two at 0.95 and three at 0.4 of three classes: the two are believed."""
    items, labelers, verdicts, truth = simulated(400, [0.95, 0.95, 0.4, 0.4, 0.4], seed=0)
    found = dawid_skene(items, labelers, verdicts, 3)
    assert found.accuracy == pytest.approx([0.95, 0.95, 0.4, 0.4, 0.4], abs=0.06)
    majority = np.array(
        [np.bincount(verdicts[items == i], minlength=3).argmax() for i in set(items)]
    )
    right = (found.posterior.argmax(axis=1) == truth).mean()
    assert right > 0.93
    assert right > (majority == truth).mean() + 0.05


@pytest.mark.parametrize("seed", range(3))
def test_every_round_raises_the_smoothed_likelihood(seed: int):
    items, labelers, verdicts, _ = simulated(60, [0.8, 0.6, 0.5, 0.4], seed)
    smoothing = agreement._smoothing(3)
    heights = []
    for rounds in range(1, 15):
        found = dawid_skene(items, labelers, verdicts, 3, rounds=rounds, tolerance=-math.inf)
        priors = (smoothing * np.log(found.confusion)).sum() + np.log(found.prior).mean()
        heights.append(found.log_likelihood + priors)
    assert all(
        later >= earlier - 1e-9 for earlier, later in zip(heights, heights[1:], strict=False)
    )


def sparse_votes(seed: int = 5):
    """Return (items, labelers, verdicts): 400 items, each judged by 3 of 30 people."""
    rng = np.random.default_rng(seed)
    items = np.repeat(np.arange(400), 3)
    labelers = np.concatenate([rng.choice(30, 3, replace=False) for _ in range(400)])
    right = rng.random(len(items)) < rng.uniform(0.4, 0.9, 30)[labelers]
    truth = rng.integers(0, 3, 400)[items]
    return items, labelers, np.where(right, truth, (truth + 1) % 3)


def test_leaps_reach_in_fewer_rounds_what_plain_rounds_reach(monkeypatch: pytest.MonkeyPatch):
    votes = sparse_votes()
    leaping = dawid_skene(*votes, 3, rounds=2000, tolerance=1e-9)
    monkeypatch.setattr(agreement, "PLAIN", 10**6)
    plain = dawid_skene(*votes, 3, rounds=2000, tolerance=1e-9)
    assert leaping.rounds < 0.6 * plain.rounds < 1200
    assert leaping.log_likelihood == pytest.approx(plain.log_likelihood, abs=0.01)
    assert leaping.accuracy == pytest.approx(plain.accuracy, abs=0.01)


def test_a_leap_that_leads_down_is_not_taken(monkeypatch: pytest.MonkeyPatch):
    """Every third round is lost, the others go on as if it had not been."""
    votes = sparse_votes()
    monkeypatch.setattr(agreement, "PLAIN", 10**6)
    plain = dawid_skene(*votes, 3, rounds=16, tolerance=-math.inf)
    monkeypatch.setattr(agreement, "PLAIN", 10)
    worst = agreement._Guess(np.full((30, 3, 3), 1 / 3), np.array([0.98, 0.01, 0.01]))
    monkeypatch.setattr(agreement, "_leap", lambda way, farthest: (worst, 1.0))
    # rounds 11, 14, 17 and 20 are leaps
    found = dawid_skene(*votes, 3, rounds=20, tolerance=-math.inf)
    assert found.rounds == 20
    assert found.posterior == pytest.approx(plain.posterior)


def test_shares_are_shares_and_the_order_of_the_votes_does_not_matter():
    items, labelers, verdicts, _ = simulated(50, [0.9, 0.7, 0.5], seed=4)
    found = dawid_skene(items, labelers, verdicts, 4)
    for shares in (found.posterior, found.confusion, found.prior):
        assert shares.sum(axis=-1) == pytest.approx(np.ones(shares.shape[:-1]))
        assert (shares > 0).all()
    order = np.random.default_rng(0).permutation(len(items))
    again = dawid_skene(items[order], labelers[order], verdicts[order], 4)
    assert again.posterior == pytest.approx(found.posterior)


def test_a_labeler_with_one_vote_is_no_oracle():
    """One vote beside two good labelers: theirs is learnt, the newcomer's stays moderate."""
    items, labelers, verdicts, _ = simulated(100, [0.9, 0.9], seed=1)
    found = dawid_skene([*items, 0], [*labelers, 2], [*verdicts, verdicts[0]], 3)
    assert 0.4 < found.accuracy[2] < 0.75


def test_no_votes_give_empty_answers():
    found = dawid_skene([], [], [], 4)
    assert found.posterior.shape == (0, 4)
    assert found.accuracy.shape == (0,)
    assert found.prior == pytest.approx([0.25] * 4)
    assert found.log_likelihood == 0.0
