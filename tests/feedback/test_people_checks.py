"""Position bias, labeler quality, duplicate votes and imbalance on planted cases."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from feedback.checks import CHECKS
from feedback.checks.imbalance import kto_weights, label_counts
from feedback.signals import ALPHA, SIGNALS, flags
from tests.feedback.people import columns, vote


def sided(labeler: str, left: int, right: int) -> list[dict]:
    """Return decided votes, left and right in turn as long as there are both."""
    turns = [side for n in range(max(left, right)) for side in "a" * (n < left) + "b" * (n < right)]
    return [vote(labeler, f"{labeler}{n}", v, left="a") for n, v in enumerate(turns)]


@pytest.mark.parametrize(
    ("left", "right", "severity"),
    [
        (5, 0, "ok"),  # 2 · 2^-5 = 0.06
        (11, 0, "warn"),  # 2 · 2^-11 = 0.00098, from 0.74 on
        (12, 0, "stop"),  # from 0.76 on
        (60, 40, "ok"),  # p = 0.057
        (700, 500, "warn"),
        (500, 700, "warn"),
        (51_000, 49_000, "ok"),  # unlikely (6 sd), but a lean of one point harms nothing
    ],
)
def test_when_position_bias_speaks_up(left: int, right: int, severity: str):
    result = CHECKS["position_bias"](columns(sided("ann", left, right)))
    assert (result.severity, result.n) == (severity, left + right)
    assert result.value == pytest.approx(left / (left + right))
    assert bool(result.remedy) == (severity != "ok")


def test_the_labeler_whose_side_decides_is_named_and_no_other():
    votes = sided("ann", 20, 0) + sided("bob", 30, 30) + sided("cy", 0, 25)
    result = CHECKS["position_bias"](columns(votes))
    assert [(f.subject, f.value, f.n) for f in result.findings] == [
        ("labeler ann", 1.0, 20),
        ("labeler cy", 0.0, 25),
    ]
    assert "won 100.0 % of 20 decided votes" in result.findings[0].message


def test_sides_that_nobody_recorded_say_nothing():
    result = CHECKS["position_bias"](columns([vote("ann", "c1", "a")]))
    assert (result.severity, result.n) == ("unknown", 0)


def test_labeler_quality_is_the_share_against_whom_nothing_speaks():
    votes = sided("ann", 40, 0) + sided("bob", 30, 30) + sided("cy", 10, 12)
    result = CHECKS["labeler_quality"](columns(votes))
    assert (result.value, result.n, result.severity) == (pytest.approx(2 / 3), 3, "warn")
    (found,) = result.findings
    assert (found.subject, found.value, found.n) == ("labeler ann", 1.0, 40)
    assert "took the left answer in 100 % of 40 decided votes" in found.message
    assert "took the same side 40 times in a row" in found.message
    assert "exclude" in found.remedy


def test_a_guesser_is_found_by_gold_and_few_votes_are_called_few():
    """Ten gold items, one right: 0.1 where whoever reads gets 0.875."""
    votes = [vote("ann", f"g{n}", "a") for n in range(10)]
    gold = {f"g{n}": "a" if n < 1 else "b" for n in range(10)}
    (found,) = CHECKS["labeler_quality"](columns(votes, gold)).findings
    assert (found.value, found.n) == (0.1, 10)
    assert "right on 10 % of 10 gold items" in found.message
    assert "Only 10 so far." in found.message


def test_who_only_skips_has_no_vote_and_is_named():
    """Ann skips twenty times; Bob decides. One of two has nothing that speaks against them."""
    votes = [vote("ann", f"c{n}", "skip") for n in range(20)] + sided("bob", 15, 15)
    result = CHECKS["labeler_quality"](columns(votes))
    (found,) = result.findings
    assert (result.value, result.n, found.subject) == (0.5, 2, "labeler ann")
    assert "said skip 20 times in a row, where nobody else did (100 % of 20 verdicts)" in (
        found.message
    )
    assert CHECKS["labeler_quality"](columns(votes[15:])).findings == ()


def test_the_levels_of_all_signals_sum_to_alpha():
    assert sum(signal.part for signal in SIGNALS.values()) == pytest.approx(1)
    assert ALPHA == 0.01


def test_a_crowd_that_likes_length_does_not_make_its_members_suspect():
    """Everybody takes the longer answer in 70 %; Dan in 100 %."""
    table = pd.DataFrame(0.0, index=range(6), columns=["dummy"])
    for signal in SIGNALS.values():
        table[signal.share], table[signal.n] = 0.5, 0.0
    table[["streak_evidence", "same_evidence", "copied_evidence"]] = 0.0
    table["longer_n"], table["longer_share"] = 200.0, 0.7
    table.loc[5, "longer_share"] = 1.0
    assert flags(table) == [(), (), (), (), (), ("length",)]


def test_the_same_persons_second_vote_is_a_duplicate_and_a_silent_repeat_is_none():
    votes = [vote("ann", "c1", "a"), vote("ann", "c1", "b"), vote("bob", "c1", "a")]
    votes += [vote("bob", "c1", "a", kind="repeat"), vote("bob", "c2", "skip")]
    result = CHECKS["duplicate_votes"](columns(votes))
    assert (result.value, result.n, result.items) == (0.25, 4, ("v1",))
    (found,) = result.findings
    assert (found.subject, found.value, found.items) == ("labeler ann", 0.5, ("v1",))
    clean = CHECKS["duplicate_votes"](columns(votes[1:]))
    assert (clean.value, clean.severity, clean.remedy) == (0.0, "ok", "")


def test_many_people_under_one_name_are_no_duplicates():
    votes = [vote("imported", "c1", verdict) for verdict in "aba"]
    result = CHECKS["duplicate_votes"](columns(votes))
    assert (result.value, result.n, result.items, result.findings) == (0.0, 3, (), ())


def test_who_copies_is_a_finding_of_duplicate_votes():
    votes = [
        vote(name, f"c{n}", "ab"[n % 2], second=30 * n + later)
        for n in range(20)
        for name, later in (("ann", 0), ("bob", 4))
    ]
    result = CHECKS["duplicate_votes"](columns(votes))
    assert (result.value, result.severity) == (0.0, "warn")
    assert [f.subject for f in result.findings] == ["labeler bob"]
    assert "gave the verdict of ann within 10 seconds after it in 20 of 20" in (
        result.findings[0].message
    )


def ratings(*verdicts: tuple[str, str]) -> pd.DataFrame:
    made = [("ann", "api", f"p{n}", response, v) for n, (response, v) in enumerate(verdicts)]
    return pd.DataFrame(made, columns=["labeler", "source", "prompt", "response", "verdict"])


def test_labels_are_counted_as_training_counts_them():
    """c1 a majority: good and bad; c2 split: none; c3 both bad: two bad; r1 up, r2 split, r3 down.
    Good 1 + 1, bad 1 + 2 + 1."""
    votes = [vote("ann", "c1", "a"), vote("bob", "c1", "a"), vote("cy", "c1", "b")]
    votes += [vote("ann", "c2", "a"), vote("bob", "c2", "b"), vote("ann", "c3", "both_bad")]
    votes += [vote("ann", "c4", "tie"), vote("ann", "c5", "skip")]
    thumbs = ratings(("r1", "up"), ("r2", "up"), ("r2", "down"), ("r3", "down"))
    assert label_counts(columns(votes).votes, thumbs) == (2, 4)


def test_a_lopsided_set_warns_and_says_the_weights():
    """300 ups, 10 downs: 30 to 1, λ_U = 30 · 3 / 4 = 22.5."""
    thumbs = ratings(
        *[(f"r{n}", "up") for n in range(300)], *[(f"x{n}", "down") for n in range(10)]
    )
    result = CHECKS["imbalance"](replace(columns([vote("ann", "c1", "skip")]), ratings=thumbs))
    assert (result.value, result.n, result.severity) == (pytest.approx(300 / 310), 310, "warn")
    assert "weighs good ones 1.00 and bad ones 22.50" in result.message
    assert "collect more of what is few" in result.remedy


def test_one_voice_over_a_tenth_is_named_where_there_are_ten():
    crowd = [vote(f"labeler {n}", f"c{n}{k}", "a") for n in range(9) for k in range(5)]
    loud = [vote("ann", f"d{k}", "b") for k in range(55)]
    result = CHECKS["imbalance"](columns(crowd + loud))
    assert [(f.subject, f.value) for f in result.findings] == [("labeler ann", 0.55)]
    assert result.findings[0].remedy.startswith("Count at most 10 of them")
    assert CHECKS["imbalance"](columns(crowd[5:] + loud)).findings == ()  # nine people


@pytest.mark.parametrize(("good", "bad"), [(1, 1), (50, 100), (200, 100), (3, 1_000), (133, 100)])
def test_the_weights_are_those_that_training_takes(good: int, bad: int):
    from align.losses import balanced_weights

    assert kto_weights(good, bad) == balanced_weights(good, bad)
    desirable, undesirable = kto_weights(good, bad)
    assert 1 - 1e-9 <= desirable * good / (undesirable * bad) <= 4 / 3 + 1e-9
