"""Judges: rules by hand, both orders, where their votes count and where not, agreement by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from feedback.assignments import serve_items
from feedback.curation import exclude
from feedback.gold import set_gold
from feedback.intervals import wilson
from feedback.judged import (
    Done,
    Judge,
    agreement,
    combined,
    judge_all,
    ordinary,
    peoples,
    said,
    verdicts,
)
from feedback.judging import progress
from feedback.live import live_feedback
from feedback.meters import live_majorities, live_meters
from feedback.quality import gather
from feedback.rules import SAYS, Unreadable, contains, longer, shorter
from feedback.selection import SnapshotSettings, select
from feedback.simulate import simulate_votes
from storage.errors import BadInput
from storage.records import JUDGE, JUDGE_APART, Comparison, Labeler, Vote, now
from storage.store import Store
from tests.feedback.people import columns, vote
from tests.feedback.stock import fill, stock

SHORTER = Judge("judge: shorter", shorter)
FIRST = Judge("judge: first", lambda conversation, first, second: "first")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def votes_of(store: Store) -> dict[str, str]:
    return {vote.comparison: vote.verdict for vote in store.rows(Vote)}


@pytest.mark.parametrize(
    ("rule", "first", "second", "says"),
    [
        (shorter, "abc", "abcd", "first"),
        (shorter, "abcd", "abc", "second"),
        (shorter, "one", "two", "tie"),
        (longer, "abc", "abcd", "second"),
        (contains("Thank"), "so thankful", "no", "first"),
        (contains("thank"), "thanks", "THANKS", "tie"),
        (contains("straße"), "no", "STRASSE", "second"),
    ],
)
def test_rules_say_what_they_are_called(rule, first: str, second: str, says: str) -> None:
    assert rule([], first, second) == says


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 201])
def test_a_rule_looks_for_something_on_one_line(text: str) -> None:
    with pytest.raises(BadInput, match="1 to 200 characters"):
        contains(text)


@pytest.mark.parametrize(
    ("a_first", "b_first", "verdict", "flip"),
    [
        ("first", "second", "a", False),
        ("second", "first", "b", False),
        ("tie", "tie", "tie", False),
        ("first", "first", "tie", True),
        ("second", "second", "tie", True),
        ("first", "tie", "tie", True),
        ("tie", "first", "tie", True),
    ],
)
def test_only_what_both_orders_say_is_a_verdict(a_first, b_first, verdict, flip) -> None:
    assert combined(a_first, b_first) == (verdict, flip)


def test_a_judge_votes_as_a_marked_labeler_without_sides(store: Store) -> None:
    """Of four comparisons the short answer is b, a, b, a."""
    made = stock(store, 4)
    assert judge_all(store, SHORTER, ordinary(store), JUDGE) == Done(4, 0)
    assert votes_of(store) == dict(zip([c.id for c in made], "baba", strict=True))
    assert [(one.id, one.kind) for one in store.rows(Labeler)] == [("judge: shorter", "judge")]
    frame = store.frame("votes")
    assert set(frame["source"]) == {JUDGE}
    assert set(frame["left"]) == {""}
    found = verdicts(store, ordinary(store), JUDGE)
    assert sorted(set(found["said"])) == [
        "a first: first; b first: second",
        "a first: second; b first: first",
    ]


def test_a_judge_that_likes_the_first_place_says_tie_and_is_counted(store: Store) -> None:
    stock(store, 3)
    judge_all(store, FIRST, ordinary(store), JUDGE)
    assert list(votes_of(store).values()) == ["tie"] * 3
    assert verdicts(store, ordinary(store), JUDGE)["flip"].tolist() == [True] * 3


def test_every_couple_of_words_is_known_as_a_flip_or_not(store: Store) -> None:
    """Three words twice are nine couples: three agree (first-second, second-first, tie-tie)."""
    stock(store, 9)
    words = iter([(one, other) for one in SAYS for other in SAYS])
    waiting: list[str] = []

    def ask(conversation, first: str, second: str) -> str:
        if not waiting:
            waiting.extend(next(words))
        return waiting.pop(0)

    judge_all(store, Judge("judge: all", ask), ordinary(store), JUDGE)
    found = verdicts(store, ordinary(store), JUDGE)
    assert len(set(found["said"])) == 9
    assert sorted(found.loc[~found["flip"], "said"]) == sorted(
        [said("first", "second"), said("second", "first"), said("tie", "tie")]
    )


def test_asked_again_it_judges_only_what_is_new(store: Store) -> None:
    stock(store, 5)
    assert judge_all(store, SHORTER, ordinary(store), JUDGE, limit=2) == Done(2, 0)
    assert judge_all(store, SHORTER, ordinary(store), JUDGE) == Done(3, 0)
    assert judge_all(store, SHORTER, ordinary(store), JUDGE) == Done(0, 0)
    assert store.count(Vote) == 5


def test_what_cannot_be_read_is_no_vote_and_is_asked_again(store: Store) -> None:
    stock(store, 3)

    def ask(conversation, first: str, second: str) -> str:
        if "number 1" in first:
            raise Unreadable
        return shorter(conversation, first, second)

    assert judge_all(store, Judge("judge: x", ask), ordinary(store), JUDGE) == Done(2, 1)
    assert judge_all(store, Judge("judge: x", shorter), ordinary(store), JUDGE) == Done(1, 0)


def test_what_was_judged_before_an_error_stays(store: Store) -> None:
    stock(store, 3)
    left = iter([True] * 4)  # two comparisons in both orders

    def ask(conversation, first: str, second: str) -> str:
        if not next(left, False):
            raise BadInput("the model is gone")
        return "tie"

    with pytest.raises(BadInput, match="gone"):
        judge_all(store, Judge("judge: x", ask, at_once=500), ordinary(store), JUDGE)
    assert store.count(Vote) == 2


def test_judges_get_no_gold_nothing_left_out_and_nothing_that_nobody_is_asked(store: Store) -> None:
    texts = [("same", "same"), ("", "something"), ("a", "bb"), ("a", "bb"), ("a", "bb")]
    made = fill(store, texts)
    set_gold(store, made[2].id, "a")
    exclude(store, "comparison", made[3].id, reason="odd", by="lead")
    assert judge_all(store, SHORTER, ordinary(store), JUDGE) == Done(1, 0)
    assert list(votes_of(store)) == [made[4].id]


def in_a_duel(store: Store) -> list[Comparison]:
    """Return two comparisons of a duel; three others are in none."""
    made = stock(store, 5)
    with_source = [
        Comparison(f"d{n}", one.prompt, one.a, one.b, "duel:r-1:base", now() + timedelta(seconds=n))
        for n, one in enumerate(made[:2])
    ]
    store.add(with_source)
    return with_source


def test_in_a_duel_a_judge_counts_nowhere_else(store: Store) -> None:
    """What is measured, learned from and left to people is as it was before; so it is afterwards,
    counted on with each vote or read again."""
    in_a_duel(store)
    simulate_votes(store, 2)
    frame = store.frame("comparisons")
    duel = frame[frame["source"].str.startswith("duel:")]

    def now_stands() -> list:
        return [
            live_meters(store), live_majorities(store), progress(store, "ann", now()),
            len(live_feedback(store).votes), len(gather(store).votes),
            select(store, SnapshotSettings()).counts(),
            store.frame("open_comparisons", labeler="ann")["comparison"].tolist(),
        ]  # fmt: skip

    before = now_stands()
    assert judge_all(store, FIRST, duel, JUDGE_APART) == Done(2, 0)
    assert store.count(Vote) == 4
    assert now_stands() == before
    store.companions.clear()
    assert now_stands() == before
    assert set(verdicts(store, duel, JUDGE_APART)["labeler"]) == {"judge: first"}


def test_outside_duels_its_votes_count_but_people_are_asked_all_the_same(store: Store) -> None:
    stock(store, 4)
    judge_all(store, SHORTER, ordinary(store), JUDGE)
    counts = select(store, SnapshotSettings()).counts()
    assert counts["feedback"] == {"judge": 4}
    assert counts["pairs"]["all"] == 4
    assert sum(live_meters(store).said.values()) == 4
    for _ in range(2):
        assert progress(store, "ann", now()).comparisons_open == 4
        assert store.frame("progress", labeler="ann")["comparisons_open"][0] == 4
        store.companions.clear()
    assert len(serve_items(store, "ann", "pairs", 4, _chance())) == 4
    exclude(store, "labeler", "judge: shorter", reason="no person", by="lead")
    assert select(store, SnapshotSettings()).counts()["feedback"] == {}
    assert verdicts(store, ordinary(store), JUDGE).empty


def _chance():
    import random

    return random.Random(0)


def test_people_are_one_verdict_a_comparison_and_judges_are_not_people() -> None:
    """c1: two of three say a. c2: one each, so neither. c3: both bad is a tie. c4: a skip only."""
    said = [("ann", "c1", "a"), ("bob", "c1", "a"), ("cy", "c1", "b"), ("ann", "c2", "a"),
            ("bob", "c2", "b"), ("ann", "c3", "both_bad"), ("ann", "c4", "skip")]  # fmt: skip
    votes = [vote(*one) for one in said]
    votes += [vote("judge: x", "c2", "a", source=JUDGE), vote("judge: x", "c5", "a", source=JUDGE)]
    assert peoples(columns(votes).votes) == {"c1": "a", "c2": "tie", "c3": "tie"}


def test_agreement_by_hand() -> None:
    """Both judged 1 to 5 and say the same of 1, 2, 3: a, a, b; of 4 and 5: a against b, b against
    tie. Ten judgements: a five times (1, 1, 2, 2, 4), b four (3, 3, 4, 5), tie once. Krippendorff:
    D_o = 4 of 10 (two units with both their ordered pairs differing); D_e = (10² - 25 - 16 - 1) /
    (10 · 9) = 58 / 90; alpha = 1 - 0.4 · 90 / 58."""
    judge = {"1": "a", "2": "a", "3": "b", "4": "a", "5": "b", "6": "a"}
    people = {"1": "a", "2": "a", "3": "b", "4": "b", "5": "tie", "7": "b"}
    found = agreement(judge, people)
    assert (found.comparisons, found.same, found.share) == (5, 3, 0.6)
    assert (found.low, found.high) == wilson(3, 5)
    assert found.alpha == pytest.approx(1 - 0.4 * 90 / 58)


def test_where_nobody_has_judged_nothing_is_said_and_one_word_alone_has_no_alpha() -> None:
    assert agreement({"1": "a"}, {"2": "a"}).share is None
    alike = agreement({"1": "a", "2": "a"}, {"1": "a", "2": "a"})
    assert (alike.share, alike.alpha) == (1.0, None)


def test_nothing_is_said_of_no_votes(store: Store) -> None:
    assert peoples(pd.DataFrame(columns=["comparison", "verdict", "source"])) == {}
    assert verdicts(store, ordinary(store), JUDGE).empty
