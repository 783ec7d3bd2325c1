"""The live meters: what they count by hand, and that moved ones are those counted again."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.meters import Majorities, Meters, live_majorities, live_meters
from feedback.simulate import simulate_votes
from feedback.snapshots import preview
from storage.news import News, Told
from storage.records import Assignment, Comparison, Exclusion, Vote
from storage.store import Store
from tests.feedback.stock import stock

ANSWERS = [("long answer", "short"), ("same", "size"), ("a", "a longer one"), ("", "something")]
LABELERS = ("ann", "bob", "cy")
SOURCES = ("screen", "import:x")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Comparison]]]:
    with Store.open(tmp_path_factory.mktemp("meters")) as store:
        asked = [[{"role": "user", "content": f"Number {n} {'?' * n} {n**5}"}] for n in range(4)]
        rows = []
        for prompt, texts in zip(add_prompts(store, asked, "x"), ANSWERS, strict=True):
            a, b = add_responses(store, [NewResponse(prompt.id, t, "m", seed=n)
                                         for n, t in enumerate(texts)])  # fmt: skip
            rows += add_comparisons(store, [(a, b)], "x")
        yield store, rows


def assign(
    store: Store, pair: Comparison, left: str, labeler: str = "ann", kind: str = "plain"
) -> Assignment:
    id = str(uuid.uuid4())
    place = Assignment(id, "default", labeler, pair.id, "", left, kind, "screen")
    store.add([place])
    return place


def say(store: Store, place: Assignment, verdict: str, revision: int = 0, source: str = "screen"):
    id = str(uuid.uuid4())
    vote = Vote(id, place.id, revision, place.comparison, place.labeler, verdict, source=source)
    store.append(vote)
    return vote


def exclude(store: Store, kind: str, item: str, decision: str = "exclude") -> None:
    store.add([Exclusion(str(uuid.uuid4()), kind, item, decision, "because", "lead")])


def left_in(store: Store) -> pd.DataFrame:
    """Return the live votes without what is excluded, looked at one by one."""
    out = store.frame("excluded")
    gone = set(zip(out["kind"], out["item"], strict=True))
    sides = {c.id: c for c in store.rows(Comparison)}
    votes = store.frame("votes")
    stays = []
    for row in votes.itertuples():
        pair = sides[row.comparison]
        named = {("labeler", row.labeler), ("source", row.source), ("vote", row.vote),
                 ("comparison", pair.id), ("prompt", pair.prompt), ("response", pair.a),
                 ("response", pair.b)}  # fmt: skip
        stays.append(not named & gone)
    return votes[pd.Series(stays, index=votes.index, dtype=bool)]


def counted_again(store: Store) -> dict[tuple[str, str, int], int]:
    """Count vote by vote who says what."""
    said: Counter[tuple[str, str, int]] = Counter()
    for row in left_in(store).itertuples():
        longer = (row.chars_a > row.chars_b) - (row.chars_a < row.chars_b)
        said[row.verdict, row.left, longer] += 1
    return dict(said)


def decided_again(store: Store) -> Majorities:
    """Count comparison by comparison who has more than half; a silent repeat has no voice."""
    decided = both_bad = 0
    votes = left_in(store)
    votes = votes[(votes["kind"] != "repeat") & (votes["verdict"] != "skip")]
    for _, said in votes.groupby("comparison")["verdict"]:
        counts = Counter(said)
        decided += any(2 * counts[side] > len(said) for side in "ab")
        both_bad += 2 * counts["both_bad"] > len(said)
    return Majorities(decided, both_bad)


def test_the_shares_are_those_of_decided_votes():
    """Longer: 3 + 1 of 3 + 1 + 2, since 5 have no longer one; left: 3 of 3 + 2 + 5, as 1 has no
    side."""
    said = {("a", "a", 1): 3, ("b", "", -1): 1, ("b", "a", 1): 2, ("a", "b", 0): 5,
            ("tie", "a", 1): 7}  # fmt: skip
    meters = Meters(said)
    assert meters.longer == (4, 6)
    assert meters.left == (3, 10)
    assert meters.verdicts == {"a": 8, "b": 3, "tie": 7}


def test_a_vote_a_change_and_an_undo_move_the_meters(tmp_path: Path, pairs: tuple):
    """Ann takes the longer left answer: 1 of 1; changes to the other: 0 of 1; takes it back: 0."""
    store, rows = pairs
    before = live_meters(store)
    place = assign(store, rows[0], "a")
    moved = []
    for revision, verdict in enumerate(("a", "b", "undone")):
        say(store, place, verdict, revision)
        meters = live_meters(store)
        moved.append([now - then for now, then in
                      zip((*meters.longer, *meters.left), (*before.longer, *before.left),
                          strict=True)])  # fmt: skip
    assert moved == [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]


def test_votes_that_move_a_majority_move_what_there_is_to_learn_from(tmp_path: Path):
    """One vote decides; a second against it takes the majority away; a third for it brings it back;
    two for "both bad" against three are no majority, four are. A silent repeat counts nowhere."""
    with Store.open(tmp_path) as store:
        (pair,) = stock(store, 1)
        said = []
        for kind, verdict in (("plain", "a"), ("plain", "b"), ("repeat", "b"), ("plain", "a"),
                              *[("plain", "both_bad")] * 4):  # fmt: skip
            say(store, assign(store, pair, "a", kind=kind), verdict)
            now = live_majorities(store)
            said.append((now.pairs, now.labels))
        assert said == [(1, 2), (0, 0), (0, 0), (1, 2), (0, 0), (0, 0), (0, 0), (0, 2)]


def test_what_plain_votes_give_is_what_a_snapshot_would_hold(tmp_path: Path):
    """No thumbs, no edits, no blank or repeated texts; some ties and contradictions."""
    with Store.open(tmp_path) as store:
        stock(store, 30)
        simulate_votes(store, 30, prefer="random", labelers=3)
        held = preview(store)
        now = live_majorities(store)
        assert (now.pairs, now.labels) == (held["pairs"]["all"], held["labels"]["all"])
        assert now.pairs > 0


step = st.one_of(
    st.tuples(st.just("vote"), st.integers(0, 3), st.sampled_from(("", "a", "b")),
              st.sampled_from(("a", "b", "tie", "both_bad", "skip")), st.sampled_from(LABELERS),
              st.sampled_from(SOURCES), st.sampled_from(("plain", "repeat"))),
    st.tuples(st.just("change"), st.integers(0, 50), st.sampled_from(("a", "b", "tie", "undone"))),
    st.tuples(st.just("exclusion"), st.sampled_from(("labeler", "source", "comparison", "prompt",
                                                     "response", "vote")),
              st.integers(0, 3), st.sampled_from(("exclude", "include"))),
    st.tuples(st.just("read")),
)  # fmt: skip


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(step, max_size=12))
def test_after_any_steps_the_meters_are_what_counting_again_gives(steps: list, pairs: tuple):
    """The steps of one example go on where those of the example before ended."""
    store, rows = pairs
    for kind, *what in steps:
        if kind == "vote":
            number, left, verdict, labeler, source, kind_of = what
            place = assign(store, rows[number], left, labeler, kind_of)
            say(store, place, verdict, source=source)
        elif kind == "change":
            number, verdict = what
            votes = store.rows(Vote, order="-created_at", limit=number + 1)
            if votes:
                place = Assignment(votes[-1].assignment, "", votes[-1].labeler,
                                   votes[-1].comparison, "", "", "", "")  # fmt: skip
                newest = store.live(Vote, place.id)
                say(store, place, verdict, newest.revision + 1, newest.source)
        elif kind == "exclusion":
            thing, number, decision = what
            items = {"labeler": (*LABELERS, "dan"), "source": (*SOURCES, "y", "z"),
                     "comparison": [c.id for c in rows], "prompt": [c.prompt for c in rows],
                     "response": [c.a for c in rows],
                     "vote": [v.id for v in store.rows(Vote, limit=4)]}[thing]  # fmt: skip
            if number < len(items):
                exclude(store, thing, items[number], decision)
        else:
            live_meters(store)
            live_majorities(store)
    assert live_meters(store).said == counted_again(store)
    assert live_majorities(store) == decided_again(store)


def test_votes_that_the_store_no_longer_remembers_are_read_again(pairs: tuple):
    store, rows = pairs
    store._news._kept, before = 3, store._news._kept
    live_meters(store)
    for _ in range(5):
        say(store, assign(store, rows[0], "a"), "a")
    assert live_meters(store).said == counted_again(store)
    store._news._kept = before


def test_news_are_those_after_a_number_and_none_where_some_are_gone():
    news = News(5, kept=2)
    told = [Told(n, Vote(str(n), "s", 0, "c", "ann", "a"), None) for n in (6, 8, 9)]
    assert news.after(5) == []
    assert news.after(4) is None
    news.tell(told[:2])
    assert [t.n for t in news.after(5)] == [6, 8]
    assert [t.n for t in news.after(6)] == [8]
    news.tell(told[2:])
    assert news.after(5) is None
    assert [t.n for t in news.after(6)] == [8, 9]
    news.restart(None)
    assert news.after(9) is None
    news.tell([Told(12, told[0].event, None)])
    assert [t.n for t in news.after(11)] == [12]
    assert news.after(9) is None
