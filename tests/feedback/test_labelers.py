"""The labeler table: each column by hand, and against plain loops over random votes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.checks.columns import Columns
from feedback.labelers import TABLE, labeler_table, too_fast
from tests.feedback.people import columns, vote


def row(votes, labeler="ann", gold=None) -> pd.Series:
    return labeler_table(columns(votes, gold)).set_index("labeler").loc[labeler]


def test_nobody_gives_a_table_without_rows():
    table = labeler_table(Columns.empty())
    assert list(table.columns) == [*TABLE, "flags"]
    assert table.empty


def test_skips_are_no_votes_and_ties_are_a_share_of_votes():
    ann = row([vote("ann", f"c{n}", v) for n, v in enumerate(["a", "tie", "skip", "both_bad"])])
    assert ann["votes"] == 3
    assert ann["ties_share"] == pytest.approx(1 / 3)


def test_the_left_share_is_of_decided_votes_with_known_sides():
    """Left: a on the left and chosen; right: b on the left, a chosen. The others have no side."""
    rows = [("a", "a"), ("a", "b"), ("b", "b"), ("a", ""), ("tie", "a"), ("skip", "a")]
    ann = row([vote("ann", f"c{n}", v, left=left) for n, (v, left) in enumerate(rows)])
    assert (ann["left_share"], ann["left_n"]) == (pytest.approx(2 / 3), 3)


def test_the_longer_share_leaves_out_equal_lengths_and_ties():
    rows = [("a", 9, 1), ("b", 9, 1), ("b", 1, 9), ("a", 5, 5), ("tie", 9, 1)]
    ann = row([vote("ann", f"c{n}", v, chars_a=a, chars_b=b) for n, (v, a, b) in enumerate(rows)])
    assert (ann["longer_share"], ann["longer_n"]) == (pytest.approx(2 / 3), 3)


def test_agreement_is_with_every_other_vote_on_the_same_comparison():
    """On c1 Ann agrees with Bob and not with Cy, on c2 with Bob: 2 of 3."""
    votes = [vote("ann", "c1", "a"), vote("bob", "c1", "a"), vote("cy", "c1", "tie")]
    votes += [vote("ann", "c2", "b"), vote("bob", "c2", "b"), vote("ann", "c3", "a")]
    ann = row(votes)
    assert (ann["agreement"], ann["agreement_n"]) == (pytest.approx(2 / 3), 3)
    assert ann["accuracy_n"] == 2  # c3 is hers alone


def test_without_overlap_there_is_no_accuracy():
    ann = row([vote("ann", "c1", "a"), vote("ann", "c1", "a"), vote("bob", "c2", "b")])
    assert ann["accuracy_n"] == 0
    assert np.isnan(ann["accuracy"])


def test_accuracy_tells_the_one_who_differs_from_three_who_agree():
    votes = [
        vote(name, f"c{n}", "ab"[n % 2] if name != "dan" else "ba"[n % 2])
        for n in range(20)
        for name in ("ann", "bob", "cy", "dan")
    ]
    table = labeler_table(columns(votes)).set_index("labeler")["accuracy"]
    assert table[["ann", "bob", "cy"]].min() > 0.9
    assert table["dan"] < 0.1


def test_gold_counts_the_first_verdict_and_a_tie_is_a_miss():
    votes = [vote("ann", "g1", "a"), vote("ann", "g1", "b"), vote("ann", "g2", "tie")]
    votes += [vote("ann", "g3", "skip"), vote("ann", "c1", "b")]
    ann = row(votes, gold={"g1": "a", "g2": "b", "g3": "a", "g4": "a"})
    assert (ann["gold_accuracy"], ann["gold_n"]) == (0.5, 2)


def test_consistency_compares_a_silent_repeat_with_the_first_verdict():
    """c1 the same, c2 turned around; c3 a tie and c4 never seen before: 1 of 2."""
    votes = [vote("ann", "c1", "a"), vote("ann", "c2", "a"), vote("ann", "c3", "tie")]
    votes += [vote("bob", "c4", "a")]
    votes += [vote("ann", f"c{n}", v, kind="repeat") for n, v in enumerate("abaa", start=1)]
    ann = row(votes)
    assert (ann["consistency"], ann["repeats_n"]) == (0.5, 2)


def test_too_fast_is_faster_than_a_hundred_characters_a_second():
    """200 characters take 2 s; 10 take 1 s to see and press; of 9,000 nobody has to read 501."""
    seconds = np.array([1.9, 2.1, 0.9, 1.1, 4.9, 5.1, np.nan])
    chars = np.array([200, 200, 10, 10, 9_000, 9_000, 200])
    assert too_fast(seconds, chars).tolist() == [True, False, True, False, True, False, False]


def test_speed_is_of_votes_with_a_time():
    rows = [(0.5, "a"), (9.0, "a"), (None, "a"), (0.5, "skip")]
    ann = row([vote("ann", f"c{n}", v, seconds_spent=s) for n, (s, v) in enumerate(rows)])
    assert (ann["fast_share"], ann["timed_n"], ann["seconds_median"]) == (0.5, 2, 0.5)


def test_a_streak_runs_over_ties_and_ends_with_the_other_side():
    """Left, left, (tie), left, right, right: the longest is 3, begun at the first vote: 2^2 / 2."""
    verdicts = ["a", "a", "tie", "a", "b", "b"]
    ann = row([vote("ann", f"c{n}", v, left="a") for n, v in enumerate(verdicts)])
    assert ann["streak"] == 3
    assert np.exp(ann["streak_evidence"]) == pytest.approx(2)


def test_streaks_do_not_run_from_one_labeler_to_the_next():
    votes = [vote(name, f"c{n}", "a", left="a") for name in ("ann", "bob") for n in range(2)]
    assert labeler_table(columns(votes))["streak"].tolist() == [2, 2]


def crowd(n: int = 20) -> list[dict]:
    """Return votes of two others that choose a side, on comparisons of their own."""
    return [vote(who, f"{who}{k}", "ab"[k % 2]) for k in range(n) for who in ("bob", "cy")]


def flagged(votes: list[dict], labeler: str = "ann") -> bool:
    return "same" in row(votes, labeler)["flags"]


@pytest.mark.parametrize("verdict", ["tie", "both_bad", "skip"])
def test_who_says_one_thing_only_is_found_at_the_seventeenth(verdict: str):
    """Others say it in 0 of 40 votes: at most half is honest. 2^17 / 2 = 65,536, more than
    3 · 8 · 7 / 0.5 / 0.01 = 33,600; 2^16 / 2 is less."""
    votes = [vote("ann", f"c{n}", verdict) for n in range(17)]
    assert flagged(crowd() + votes)
    assert not flagged(crowd() + votes[1:])
    ann = row(crowd() + votes)
    assert (ann["same"], ann["same_streak"], ann["same_n"]) == (verdict, 17, 17)
    assert np.exp(ann["same_evidence"]) == pytest.approx(2**17 / 2 / 3)


def test_a_run_of_ties_that_a_choice_breaks_begins_anew():
    """Three ties from the first vote: 2^3 / 2; five from the fifth: 2^5 / 30. The first is more."""
    votes = [vote("ann", f"c{n}", v) for n, v in enumerate(["tie"] * 3 + ["a"] + ["tie"] * 5)]
    ann = row(crowd() + votes)
    assert (ann["same_streak"], ann["same_share"], ann["same_n"]) == (3, pytest.approx(8 / 9), 9)
    assert np.exp(ann["same_evidence"]) == pytest.approx(4 / 3)


def test_ties_that_somebody_else_saw_too_make_no_run():
    """Twenty equal pairs in a row: Ann and Dan both say tie, and nobody is to blame. Twenty more of
    her own are a run: others say tie in 20 of 60, (20 + 13) / 80 + 0.15 = 0.5625 is honest, and
    0.5625^-20 / 2 = 49,620, more than 33,600."""
    votes = [vote(who, f"c{n}", "tie") for n in range(20) for who in ("ann", "dan")]
    ann = row(crowd() + votes)
    assert (ann["same"], ann["same_streak"], ann["same_evidence"]) == ("", 0, 0)
    assert flagged([*crowd(), *votes, *(vote("ann", f"d{n}", "tie") for n in range(20))])


def test_where_ties_are_common_a_longer_run_is_honest():
    """Six of ten votes of the others are ties: (240 + 20 · 0.65) / 420 + 0.15 = 0.7524 is honest.
    0.7524^-30 / 2 = 2,563 is too little, 0.7524^-40 / 2 = 44,064 is enough."""
    others = [vote(who, f"{who}{k}", "tie" if k % 5 < 3 else "ab"[k % 2])
              for k in range(200) for who in ("bob", "cy")]  # fmt: skip
    votes = [vote("ann", f"c{n}", "tie") for n in range(40)]
    assert not flagged(others + votes[:30])
    assert flagged(others + votes)


def test_alone_with_a_weak_model_somebody_may_call_much_bad():
    """Nobody to compare with: four of five are honest. 0.8^-49 / 2 = 27,994, 0.8^-50 / 2 = 34,992;
    33,600 are needed."""
    votes = [vote("ann", f"c{n}", "both_bad") for n in range(50)]
    assert not flagged(votes[:49])
    assert flagged(votes)


def test_a_file_without_times_has_no_order_and_no_run():
    votes = [vote("ann", f"c{n}", "tie", second=n / 1e6) for n in range(60)]
    assert row(votes)["same_evidence"] == 0


def test_who_follows_within_seconds_is_named_with_whom():
    """Twenty comparisons, Bob 3 seconds after Ann, 30 seconds apart; Cy an hour later."""
    votes = []
    for n in range(20):
        verdict = "ab"[n % 3 == 0]
        for name, second in (("ann", 30 * n), ("bob", 30 * n + 3), ("cy", 3_600 + 30 * n)):
            votes.append(vote(name, f"c{n}", verdict, second=second))
    table = labeler_table(columns(votes)).set_index("labeler")
    assert table.loc["bob", ["copied_from", "copied_share", "copied_n"]].tolist() == [
        "ann",
        1.0,
        20,
    ]
    assert table["flags"].to_dict() == {"ann": (), "bob": ("copying",), "cy": ()}


def test_votes_that_a_file_brought_all_at_once_copy_nobody():
    votes = [
        vote(name, f"c{n}", "a", second=(n + k / 10) / 1000)
        for k, name in enumerate(["ann", "bob"])
        for n in range(60)
    ]
    assert set(labeler_table(columns(votes))["copied_from"]) == {""}


VERDICT = st.sampled_from(["a", "b", "tie", "both_bad", "skip"])
VOTE = st.tuples(
    st.sampled_from("xyz"),
    st.integers(0, 4),
    VERDICT,
    st.sampled_from(["a", "b", ""]),
    st.sampled_from(["plain", "plain", "repeat"]),
)


@given(st.lists(VOTE, min_size=1, max_size=40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_table_is_what_plain_loops_count(drawn, rng: random.Random):
    votes = [
        vote(who, f"c{item}", verdict, left=left, kind=kind)
        for who, item, verdict, left, kind in drawn
    ]
    given_columns = columns(votes)
    table = labeler_table(given_columns).set_index("labeler")
    for who in table.index:
        own = [v for v in votes if v["labeler"] == who]
        sided = [v for v in own if v["verdict"] in "ab" and v["left"]]
        assert table.loc[who, "left_n"] == len(sided)
        assert table.loc[who, "votes"] == sum(v["verdict"] != "skip" for v in own)
        first = {}
        for v in own:
            if v["verdict"] != "skip" and v["kind"] == "plain":
                first.setdefault(v["comparison"], v["verdict"])
        again = [
            (first[v["comparison"]], v["verdict"])
            for v in own
            if v["kind"] == "repeat" and v["verdict"] in "ab"
            and first.get(v["comparison"], "tie") in ("a", "b")
        ]  # fmt: skip
        assert table.loc[who, "repeats_n"] == len(again)
        if again:
            same = sum(one == other for one, other in again) / len(again)
            assert table.loc[who, "consistency"] == pytest.approx(same)
    order = list(range(len(votes)))
    rng.shuffle(order)
    other = given_columns.votes.iloc[order]
    for column in ("labeler", "comparison", "verdict", "left", "kind", "source"):
        other = other.assign(**{column: other[column].astype("category")})
    mixed = labeler_table(replace(given_columns, votes=other)).set_index("labeler")
    exact = [c for c in table.columns if c != "accuracy"]
    pd.testing.assert_frame_equal(mixed[exact], table[exact])
    np.testing.assert_allclose(mixed["accuracy"], table["accuracy"], rtol=1e-6)
