"""From verdicts to pairs and labels: hand-worked cases, and what holds for any feedback."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import preferences
from feedback.preferences import Preferences, pairs_and_labels

VOTE = ["vote", "comparison", "prompt", "verdict", "a", "b", "text_a", "text_b"]
RATING = ["rating", "response", "prompt", "verdict", "text"]
EDIT = ["edit", "prompt", "original", "corrected", "text_original", "text_corrected"]


def gives(
    votes: Sequence[tuple] = (),
    ratings: Sequence[tuple] = (),
    edits: Sequence[tuple] = (),
    **options: frozenset[str],
) -> Preferences:
    return pairs_and_labels(
        pd.DataFrame(list(votes), columns=VOTE),
        pd.DataFrame(list(ratings), columns=RATING),
        pd.DataFrame(list(edits), columns=EDIT),
        **options,
    )


def votes_on(verdicts: str, comparison: str = "c1", prompt: str = "p1") -> list[tuple]:
    """Return a vote for each letter: a, b, t(ie), x (both bad), s(kip)."""
    names = {"a": "a", "b": "b", "t": "tie", "x": "both_bad", "s": "skip"}
    a, b = f"{comparison}.a", f"{comparison}.b"
    return [
        (f"{comparison}.v{i}", comparison, prompt, names[letter], a, b, f"text {a}", f"text {b}")
        for i, letter in enumerate(verdicts)
    ]


def said(result: Preferences) -> set[tuple[str, bool]]:
    return {(label.response, label.good) for label in result.labels}


def test_no_feedback_gives_nothing():
    assert gives() == Preferences([], [], {})


def test_a_majority_gives_one_pair_with_its_votes_and_two_labels():
    """a, a, b: a has 2 of 3 votes, more than half; p_chosen = 2/3; 2 votes for, 1 against."""
    result = gives(votes_on("aab"))
    (pair,) = result.pairs
    assert (pair.prompt, pair.chosen, pair.rejected) == ("p1", "c1.a", "c1.b")
    assert pair.votes_for == ("c1.v0", "c1.v1")
    assert pair.votes_against == ("c1.v2",)
    assert pair.p_chosen == 2 / 3
    assert (pair.weight, pair.source) == (1.0, "vote")
    assert said(result) == {("c1.a", True), ("c1.b", False)}
    assert result.labels[0].votes == ("c1.v0", "c1.v1")
    assert result.dropped == {}


def test_a_side_wins_with_more_than_half_of_all_votes_that_were_not_skipped():
    """a, a, b, tie: a has 2 of 4, not more than half. a, a, b, skip: 2 of 3."""
    assert gives(votes_on("aabt")).dropped == {preferences.NO_MAJORITY: 1}
    assert gives(votes_on("aabs")).pairs[0].p_chosen == 2 / 3
    assert gives(votes_on("aaat")).pairs[0].p_chosen == 1.0


def test_tied_votes_give_nothing():
    for verdicts, reason in (
        ("t", preferences.TIED),
        ("ab", preferences.NO_MAJORITY),
        ("ax", preferences.NO_MAJORITY),
        ("ss", preferences.ONLY_SKIPPED),
        ("ttas", preferences.TIED),
    ):
        assert gives(votes_on(verdicts)) == Preferences([], [], {reason: 1}), verdicts


def test_both_bad_gives_two_bad_labels_and_no_pair():
    """x, x, a: both_bad has 2 of 3."""
    result = gives(votes_on("xxa"))
    assert result.pairs == []
    assert said(result) == {("c1.a", False), ("c1.b", False)}
    assert result.labels[0].votes == ("c1.v0", "c1.v1")
    assert result.dropped == {preferences.BOTH_BAD: 1}


def test_the_same_two_texts_under_another_id_are_counted_together():
    """c1 says a, c2 (the same texts, the other way round) says a, a: 1 to 2 for c1's b."""
    swapped = [
        (f"c2.v{i}", "c2", "p1", "a", "r2", "r1", "text c1.b", "text c1.a") for i in range(2)
    ]
    (pair,) = gives(votes_on("a") + swapped).pairs
    assert (pair.chosen, pair.rejected) == ("c1.b", "c1.a")
    assert pair.p_chosen == 2 / 3


def test_the_same_text_against_itself_is_never_a_pair():
    row = ("v1", "c1", "p1", "a", "r1", "r2", "same", "same")
    assert gives([row]) == Preferences([], [], {preferences.SAME_TEXTS: 1})


def test_an_empty_response_is_in_no_pair_and_no_label():
    """a is empty and lost: no pair, no bad label for it; b keeps its good label."""
    result = gives(votes_on("b"), blank=frozenset({"text c1.a"}))
    assert result.pairs == []
    assert said(result) == {("c1.b", True)}
    assert result.dropped == {preferences.EMPTY_PAIR: 1, preferences.EMPTY_LABEL: 1}


def test_what_was_skipped_as_a_duplicate_is_left_out():
    votes = votes_on("aa", "c1", "p1") + votes_on("a", "c2", "p2") + votes_on("a", "c3", "p3")
    ratings = [("t1", "r1", "p3", "up", "text")]
    result = gives(votes, ratings, skipped=frozenset({"c1", "p3"}))
    assert [pair.prompt for pair in result.pairs] == ["p2"]
    assert result.dropped == {preferences.SKIPPED: 4}


def test_thumbs_give_labels_by_majority():
    """r1: 2 up, 1 down: good. r2: 1 up, 1 down: nothing. r3: down: bad. r4: skip: nothing."""
    rows = [
        *((f"t{i}", "r1", "p1", verdict, "one") for i, verdict in enumerate(("up", "up", "down"))),
        ("t3", "r2", "p2", "up", "two"),
        ("t4", "r2", "p2", "down", "two"),
        ("t5", "r3", "p3", "down", "three"),
        ("t6", "r4", "p4", "skip", "four"),
    ]
    result = gives(ratings=rows)
    assert result.pairs == []
    assert said(result) == {("r1", True), ("r3", False)}
    assert result.dropped == {preferences.CONTRADICTION: 1, preferences.ONLY_SKIPPED: 1}


def test_an_up_and_a_down_for_one_prompt_give_a_pair():
    """Up has 2 ups and 1 down, down has 1 down: 3 verdicts for the pair, 1 against, 3/4."""
    rows = [
        *((f"t{i}", "r1", "p1", verdict, "one") for i, verdict in enumerate(("up", "up", "down"))),
        ("t3", "r2", "p1", "down", "two"),
        ("t4", "r3", "p2", "down", "three"),
    ]
    (pair,) = gives(ratings=rows).pairs
    assert (pair.chosen, pair.rejected, pair.source) == ("r1", "r2", "thumbs")
    assert pair.votes_for == ("t0", "t1", "t3")
    assert pair.votes_against == ("t2",)
    assert pair.p_chosen == 0.75


def test_several_ups_and_downs_are_paired_in_the_order_of_their_ids_each_once():
    """Ups r1, r4, r5 and downs r2, r3: r1 > r2 and r4 > r3; r5 finds no partner."""
    verdicts = {"r1": "up", "r2": "down", "r3": "down", "r4": "up", "r5": "up"}
    rows = [(f"t.{id}", id, "p1", verdict, f"text {id}") for id, verdict in verdicts.items()]
    pairs = gives(ratings=rows).pairs
    assert {(p.chosen, p.rejected) for p in pairs} == {("r1", "r2"), ("r4", "r3")}


def test_an_edit_gives_the_correction_over_the_original():
    result = gives(edits=[("e1", "p1", "r1", "h1", "wrong", "right")])
    (pair,) = result.pairs
    assert (pair.chosen, pair.rejected, pair.p_chosen) == ("h1", "r1", 1.0)
    assert (pair.votes_for, pair.votes_against, pair.source) == (("e1",), (), "edit")
    assert said(result) == {("h1", True), ("r1", False)}


def test_two_people_who_make_the_same_correction_give_one_pair():
    rows = [(f"e{i}", "p1", "r1", "h1", "wrong", "right") for i in range(2)]
    result = gives(edits=rows)
    assert [pair.votes_for for pair in result.pairs] == [("e0", "e1")]
    assert len(result.labels) == 2


def test_an_edited_winner_is_neither_good_nor_bad_but_its_correction_is_good():
    """A vote says c1.a is good, the edit of it says bad: 1 to 1, no label; both pairs stay."""
    edit = ("e1", "p1", "c1.a", "h1", "text c1.a", "better")
    result = gives(votes_on("a"), edits=[edit])
    assert {(p.chosen, p.rejected) for p in result.pairs} == {("c1.a", "c1.b"), ("h1", "c1.a")}
    assert said(result) == {("h1", True), ("c1.b", False)}
    assert result.dropped == {preferences.CONTRADICTION: 1}


def test_a_vote_on_two_answers_counts_more_than_thumbs_on_each():
    ratings = [
        ("t1", "c1.a", "p1", "down", "text c1.a"),
        ("t2", "c1.b", "p1", "up", "text c1.b"),
    ]
    result = gives(votes_on("a"), ratings)
    assert [(p.chosen, p.source) for p in result.pairs] == [("c1.a", "vote")]
    assert result.dropped == {preferences.JUDGED_ALREADY: 1, preferences.CONTRADICTION: 2}


def test_a_label_that_is_said_twice_is_one_label():
    """c1.a wins one comparison and gets a thumb up: one good label with both ids."""
    result = gives(votes_on("a"), [("t1", "c1.a", "p1", "up", "text c1.a")])
    label = next(label for label in result.labels if label.good)
    assert (label.votes, label.source) == (("c1.v0", "t1"), "thumbs+vote")
    assert len(result.labels) == 2


# -- what holds for any feedback --------------------------------------------------------------

PROMPTS = st.sampled_from(["p1", "p2"])
ANSWERS = st.sampled_from(["1", "2", "3", "4"])  # response r1 has the text t1; r4 that of r3
VERDICTS = st.sampled_from(["a", "b", "tie", "both_bad", "skip"])


def _text(prompt: str, answer: str) -> str:
    return f"{prompt} text {'3' if answer == '4' else answer}"


@st.composite
def feedback(draw: st.DrawFn) -> tuple[list[tuple], list[tuple], list[tuple]]:
    votes, ratings, edits = [], [], []
    for i in range(draw(st.integers(0, 12))):
        p, x, y, verdict = draw(st.tuples(PROMPTS, ANSWERS, ANSWERS, VERDICTS))
        a, b = f"{p}.r{x}", f"{p}.r{y}"
        votes.append((f"v{i}", f"c.{a}.{b}", p, verdict, a, b, _text(p, x), _text(p, y)))
    for i in range(draw(st.integers(0, 8))):
        p, x, verdict = draw(st.tuples(PROMPTS, ANSWERS, st.sampled_from(["up", "down", "skip"])))
        ratings.append((f"t{i}", f"{p}.r{x}", p, verdict, _text(p, x)))
    for i in range(draw(st.integers(0, 4))):
        p, x, y = draw(st.tuples(PROMPTS, ANSWERS, ANSWERS))
        edits.append((f"e{i}", p, f"{p}.r{x}", f"{p}.r{y}", _text(p, x), _text(p, y)))
    return votes, ratings, edits


@given(rows=feedback(), order=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_order_of_the_rows_never_matters_and_frames_stay_as_they_are(rows, order):
    frames = [
        pd.DataFrame(part, columns=columns)
        for part, columns in zip(rows, (VOTE, RATING, EDIT), strict=True)
    ]
    before = [frame.copy() for frame in frames]
    result = pairs_and_labels(*frames)
    for frame, kept in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, kept)
    shuffled = [part[:] for part in rows]
    for part in shuffled:
        order.shuffle(part)
    assert gives(*shuffled) == result


@given(rows=feedback())
@settings(max_examples=150, deadline=None)
def test_no_two_rows_contradict_or_repeat_each_other(rows):
    """Each couple of texts is in one pair at most, each text in one label at most."""
    result = gives(*rows, blank=frozenset({"p1 text 1"}))
    text_of = {}
    for vote in rows[0]:
        text_of |= {vote[4]: vote[6], vote[5]: vote[7]}
    for rating in rows[1]:
        text_of[rating[1]] = rating[4]
    for edit in rows[2]:
        text_of |= {edit[2]: edit[4], edit[3]: edit[5]}
    couples = [frozenset((text_of[p.chosen], text_of[p.rejected])) for p in result.pairs]
    labeled = [text_of[label.response] for label in result.labels]
    assert all(len(couple) == 2 for couple in couples)
    assert len(set(couples)) == len(couples)
    assert len(set(labeled)) == len(labeled)
    assert "p1 text 1" not in {text for couple in couples for text in couple} | set(labeled)
    assert all(0.5 < pair.p_chosen <= 1 for pair in result.pairs)
    assert len({row.id for row in [*result.pairs, *result.labels]}) == len(couples) + len(labeled)


@given(rows=feedback())
@settings(max_examples=100, deadline=None)
def test_every_id_behind_a_row_is_the_id_of_some_feedback(rows):
    known = {row[0] for part in rows for row in part}
    result = gives(*rows)
    for pair in result.pairs:
        assert {*pair.votes_for, *pair.votes_against} <= known
        assert not {*pair.votes_for} & {*pair.votes_against}
    for label in result.labels:
        assert label.votes
        assert {*label.votes} <= known
