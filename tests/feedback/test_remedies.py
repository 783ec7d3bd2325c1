"""The remedies on values worked by hand, and what has to hold whatever the values are."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.preferences import pairs_and_labels
from feedback.remedies import (
    CAP,
    balanced_by_length,
    beyond_cap,
    left_in,
    likely_verdicts,
    repeated_pairs,
)
from storage.errors import BadInput

# Lengths of chosen and rejected answers


def lengths(*rows: tuple[int, int]) -> pd.DataFrame:
    named = [(f"pair{i}", *row) for i, row in enumerate(rows)]
    return pd.DataFrame(named, columns=["id", "chosen_chars", "rejected_chars"])


def test_of_each_size_of_difference_as_many_longer_as_shorter_ones_stay():
    """20 against 10 differ by half: two longer chosen, one shorter, so one of the two goes. 100
    against 95 differ by 0.05: one each way, both stay. 10 against 100 has nothing to match it."""
    pairs = lengths((20, 10), (20, 10), (10, 20), (100, 95), (95, 100), (10, 100), (7, 7))
    found = balanced_by_length(pairs)
    assert {"pair2", "pair3", "pair4", "pair6"} < found.kept
    assert len(found.kept) == 5
    assert found.left_out == set(pairs["id"]) - found.kept
    assert "pair5" in found.left_out
    assert (found.before, found.after) == ((3, 6), (2, 4))


def test_who_stays_depends_on_ids_and_seed_and_not_on_the_order():
    pairs = lengths(*[(20, 10)] * 40, *[(10, 20)] * 10)
    found = balanced_by_length(pairs)
    assert len(found.kept) == 20
    assert balanced_by_length(pairs.sample(frac=1, random_state=1)).kept == found.kept
    assert balanced_by_length(pairs, seed=1).kept != found.kept


def test_the_cost_is_told_with_intervals():
    """30 of 40 longer: Wilson gives 59.8 to 85.8 %; 10 of 20 after it 29.9 to 70.1 %."""
    found = balanced_by_length(lengths(*[(20, 10)] * 30, *[(10, 20)] * 10))
    assert found.before.words() == "75.0 % of 40 pairs (95 % interval 59.8 to 85.8 %)"
    assert found.after.as_json() == {
        "value": 0.5,
        "low": pytest.approx(0.299, abs=1e-3),
        "high": pytest.approx(0.701, abs=1e-3),
        "n": 20,
    }
    assert balanced_by_length(lengths()).after.as_json()["value"] is None


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=60))
def test_balanced_pairs_are_half_longer_in_every_stratum_and_none_more_could_stay(rows):
    pairs = lengths(*rows)
    found = balanced_by_length(pairs)
    kept = pairs[pairs["id"].isin(found.kept)]
    for frame, matched in ((kept, True), (pairs, False)):
        a, b = frame["chosen_chars"].astype(int), frame["rejected_chars"].astype(int)
        size = ((a - b).abs() / np.maximum(a, b) * 10).astype(int).clip(upper=9)
        longer, shorter = (size[won].value_counts() for won in (a > b, a < b))
        if matched:
            assert longer.to_dict() == shorter.to_dict()
            most = longer.sum()
        else:
            assert most == sum(min(n, shorter.get(key, 0)) for key, n in longer.items())
    assert found.after.longer * 2 == found.after.pairs


# One labeler's share


def pieces(*counts: int) -> tuple[list[str], list[str]]:
    labelers = [f"l{i}" for i, count in enumerate(counts) for _ in range(count)]
    return [f"v{i}" for i in range(len(labelers))], labelers


def test_a_labeler_keeps_at_most_a_share_of_what_is_kept():
    """Half for one of three with 10, 3 and 2: at 5 they keep 5 + 3 + 2 = 10, and 5 is half of it;
    at 6 they would keep 11, of which 6 is more."""
    ids, labelers = pieces(10, 3, 2)
    found = beyond_cap(ids, labelers, 0.5)
    assert (found.ceiling, found.labelers) == (5, 3)
    assert found.most == pytest.approx(10 / 15)
    assert len(found.left_out) == 5
    assert {labelers[ids.index(id)] for id in found.left_out} == {"l0"}
    shuffled = sorted(zip(ids, labelers, strict=True), key=lambda row: row[0][::-1])
    assert beyond_cap(*zip(*shuffled, strict=True), 0.5).left_out == found.left_out


def test_without_a_wish_the_usual_cap_holds_where_there_are_enough_labelers():
    """Twenty with 10 each and one with 60: 10 % of 200 + 22 is 22.2, so 22 of the 60 stay."""
    assert CAP == 0.1
    found = beyond_cap(*pieces(*[10] * 20, 60), None)
    assert found.ceiling == 22
    assert len(found.left_out) == 38


@pytest.mark.parametrize(
    "counts",
    [(), (50,), (5,) * 9, (100, *[1] * 20), (10,) * 20],
    ids=["none", "one", "too few", "it would cost more than half", "nobody has too much"],
)
def test_without_a_wish_nothing_is_cut_where_it_would_hurt_or_is_not_needed(counts):
    found = beyond_cap(*pieces(*counts), None)
    assert (found.ceiling, found.left_out) == (None, frozenset())


def test_a_cap_that_so_few_cannot_hold_is_refused_and_one_of_all_is_none():
    with pytest.raises(
        BadInput, match="a cap of 20 % for one labeler needs at least 5 labelers; 3"
    ):
        beyond_cap(*pieces(10, 3, 2), 0.2)
    assert beyond_cap(*pieces(10), 1.0).left_out == frozenset()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.floats(0.05, 1.0))
def test_the_cap_holds_and_no_higher_ceiling_would_hold_it(counts, cap):
    ids, labelers = pieces(*counts)
    try:
        found = beyond_cap(ids, labelers, cap)
    except BadInput:
        assert cap * len(counts) < 1
        return
    top = max(counts) if found.ceiling is None else found.ceiling
    kept = [min(count, top) for count in counts]
    assert max(kept) <= cap * sum(kept) + 1e-6
    assert sum(kept) == len(ids) - len(found.left_out)
    if found.ceiling is not None:
        more = [min(count, top + 1) for count in counts]
        assert max(more) > cap * sum(more)


# Repeated pairs


def test_of_pairs_nearly_the_same_the_one_with_the_most_votes_stays():
    """p1, p2 and p3 show the same two answers to near prompts, p3 the other way round; p4 shows
    another answer, p5 belongs to another cluster."""
    rows = [
        ("p1", "c", "t1", "t2", 1), ("p2", "c", "t1x", "t2", 3), ("p3", "c", "t2", "t1", 3),
        ("p4", "c", "t1", "t9", 1), ("p5", "d", "t1", "t2", 1),
    ]  # fmt: skip
    pairs = pd.DataFrame(rows, columns=["id", "cluster", "chosen", "rejected", "votes"])
    alike = {"t1": "t1", "t1x": "t1"}
    assert repeated_pairs(pairs, alike) == {"p1": "p2", "p3": "p2"}
    assert repeated_pairs(pairs[::-1], alike) == {"p1": "p2", "p3": "p2"}
    assert repeated_pairs(pairs, {}) == {"p1": "p3"}


# What is excluded


def test_rows_that_name_something_excluded_do_not_stay():
    frame = pd.DataFrame({"vote": ["v1", "v2", "v3"], "labeler": ["a", "b", "a"], "a": [1, 2, 3]})
    assert left_in(frame, {}).tolist() == [True] * 3
    assert left_in(frame, {"labeler": ["b"], "source": ["x"]}).tolist() == [True, False, True]
    assert left_in(frame, {"vote": ["v1"], "response": [3]}).tolist() == [False, True, False]
    codes = frame.astype({"labeler": "category"})
    assert left_in(codes, {"labeler": {"a"}}).tolist() == [False, True, False]


# Who said it


def said(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Votes (labeler, prompt, verdict) on two texts per prompt, every other one turned round."""
    turned = {"a": "b", "b": "a"}
    made = []
    for n, (labeler, prompt, verdict) in enumerate(rows):
        texts = ("t1", "t2") if n % 2 else ("t2", "t1")
        shown = verdict if n % 2 else turned.get(verdict, verdict)
        made.append((f"v{n}", f"c{prompt}", prompt, labeler, shown, f"r{texts[0]}", f"r{texts[1]}",
                     *texts))  # fmt: skip
    names = ["vote", "comparison", "prompt", "labeler", "verdict", "a", "b", "text_a", "text_b"]
    return pd.DataFrame(made, columns=names)


def crowd() -> list[tuple[str, str, str]]:
    """Three who agree on 30 prompts, and one who says anything."""
    rng = random.Random(4)
    truth = {f"p{i}": rng.choice("ab") for i in range(30)}
    rows = [(name, prompt, right) for name in "xyz" for prompt, right in truth.items()]
    return [*rows, *(("chance", prompt, rng.choice("ab")) for prompt in truth)]


def test_a_labeler_who_is_often_right_counts_more_than_one_who_guesses():
    """On q, x says a and the guesser b; heads are even, and x is the likelier to be right."""
    found = likely_verdicts(said(*crowd(), ("x", "q", "a"), ("chance", "q", "b")))
    assert found["q", "t1", "t2"]["a"] > 0.9
    for verdicts in found.values():
        assert math.isclose(sum(verdicts.values()), 1.0)


def test_weighed_votes_decide_what_heads_leave_open_and_say_how_sure_it_is():
    votes = said(*crowd(), ("x", "q", "a"), ("chance", "q", "b"), ("chance", "r", "b"))
    none = pd.DataFrame()
    by_heads = {p.prompt: p for p in pairs_and_labels(votes, none, none).pairs}
    weighed = {
        p.prompt: p
        for p in pairs_and_labels(votes, none, none, likely=likely_verdicts(votes)).pairs
    }
    assert "q" not in by_heads
    assert (weighed["q"].chosen, weighed["q"].rejected) == ("rt1", "rt2")
    assert 0.9 < weighed["q"].p_chosen < 1
    assert by_heads["r"].p_chosen == 1.0
    assert "r" not in weighed or weighed["r"].p_chosen < 0.8
    assert {p: weighed[p].chosen for p in by_heads if p != "r"} == {
        p: by_heads[p].chosen for p in by_heads if p != "r"
    }


def test_skips_say_nothing_and_no_votes_give_no_verdicts():
    assert likely_verdicts(said(("x", "p", "skip"))) == {}
    assert likely_verdicts(said().iloc[:0]) == {}
