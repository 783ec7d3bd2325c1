"""The named queries, on data small enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pytest

from storage.columns import COLUMNS
from storage.records import (
    Duplicate,
    Edit,
    Exclusion,
    Rating,
    Response,
    Score,
    Text,
    Vote,
    Wanted,
)
from storage.store import Store


@pytest.fixture
def judged(store: Store, make: SimpleNamespace) -> Store:
    """Three comparisons; c0: a (ada) and b (bob); c1: skip (ada), undone (bob); c2: nothing.

    Answers: c0 "yes" | "maybe", c1 "one" | "twenty", c2 "left" | "up".
    """
    answers = [("yes", "maybe"), ("one", "twenty"), ("left", "up")]
    store.add([row for n, pair in enumerate(answers) for row in make.comparison(n, pair)])
    given = [("ada", "c0"), ("bob", "c0"), ("ada", "c1"), ("bob", "c1")]
    store.add([make.assignment(n, *who) for n, who in enumerate(given)])
    store.append_many([
        make.vote(0, comparison="c0", verdict="b"),
        make.vote(10, assignment=0, revision=1, comparison="c0", verdict="a", seconds_spent=2.5),
        make.vote(1, comparison="c0", labeler="bob", verdict="b"),
        make.vote(2, comparison="c1", verdict="skip"),
        make.vote(3, comparison="c1", labeler="bob", verdict="a"),
        make.vote(13, assignment=3, revision=1, comparison="c1", labeler="bob", verdict="undone"),
    ])  # fmt: skip
    return store


def listed(frame: pd.DataFrame, *names: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in frame[list(names)].itertuples(index=False)]


def test_votes_are_the_newest_of_each_assignment_unless_undone(judged: Store) -> None:
    votes = judged.frame("votes")
    assert listed(
        votes, "vote", "comparison", "labeler", "verdict", "left", "chars_a", "chars_b"
    ) == [
        ("v1", "c0", "bob", "b", "a", 3, 5),
        ("v10", "c0", "ada", "a", "a", 3, 5),
        ("v2", "c1", "ada", "skip", "a", 3, 6),
    ]
    assert list(votes) == [
        "vote", "assignment", "comparison", "prompt", "labeler", "verdict", "left", "kind",
        "chars_a", "chars_b", "text_a", "text_b", "model_a", "model_b", "seconds_spent", "source",
        "created_at",
    ]  # fmt: skip
    first = votes.iloc[1]
    assert first["text_a"] == Text.of("yes").id
    assert first["model_b"] == "y"
    assert first["seconds_spent"] == 2.5
    assert str(votes["created_at"].dt.tz) == "UTC"


def test_a_coded_vote_is_found_again_by_its_hash(judged: Store) -> None:
    coded = judged.frame("coded_votes")["vote"].tolist()
    found = judged.frame("vote_ids", coded=coded).set_index("coded")["vote"]
    assert [found[one] for one in coded] == ["v1", "v10", "v2"]
    assert judged.frame("vote_ids", coded=[]).empty


def test_a_vote_undone_and_given_again_counts_once(judged: Store, make: SimpleNamespace) -> None:
    again = make.vote(23, assignment=3, revision=2, comparison="c1", labeler="bob", verdict="tie")
    judged.append(again)
    votes = judged.frame("votes")
    assert votes[votes["assignment"] == "s3"]["verdict"].tolist() == ["tie"]


def test_comparisons_count_live_votes_and_assignments(judged: Store) -> None:
    """c0: two votes, two assignments. c1: the skip is a live vote, the undone one is not."""
    comparisons = judged.frame("comparisons")
    assert listed(comparisons, "comparison", "votes", "assigned") == [
        ("c0", 2, 2), ("c1", 1, 2), ("c2", 0, 0)
    ]  # fmt: skip
    assert listed(comparisons, "a", "b", "model_a", "model_b", "chars_a", "chars_b")[2] == (
        "r2a", "r2b", "x", "y", 4, 2
    )  # fmt: skip
    assert comparisons["text_b"][2] == Text.of("up").id


def test_prompts_and_responses_count_what_hangs_on_them(judged: Store) -> None:
    """One prompt for all: 6 responses, 3 comparisons."""
    prompts, responses = judged.frame("prompts"), judged.frame("responses")
    assert listed(prompts, "responses", "comparisons") == [(6, 3)]
    assert prompts["cluster"][0] == prompts["prompt"][0]
    assert listed(responses, "response", "chars", "model", "ratings")[:2] == [
        ("r0a", 3, "x", 0), ("r0b", 5, "y", 0)
    ]  # fmt: skip


def test_ratings_and_edits_are_live_ones(judged: Store, make: SimpleNamespace) -> None:
    human = Text.of("Yes, it is.")
    judged.add([human])
    at = {"created_at": make.monday}
    prompt = judged.rows(Response, id="r0a")[0].prompt
    judged.add([Response("h1", prompt, human.id, "human", "", {}, None, True, "edit", make.monday)])
    judged.append_many([
        Rating("1", "t1", 0, "r0a", "ada", "up", **at),
        Rating("2", "t1", 1, "r0a", "ada", "down", **at),
        Rating("3", "t2", 0, "r0b", "ada", "up", **at),
        Rating("4", "t2", 1, "r0b", "ada", "undone", **at),
        Edit("5", "s0", 0, "r0a", "h1", "ada", **at),
        Edit("6", "s1", 0, "r0a", "h1", "bob", **at),
        Edit("7", "s1", 1, "r0a", "", "bob", **at),
    ])  # fmt: skip
    ratings, edits = judged.frame("ratings"), judged.frame("edits")
    assert listed(ratings, "rating", "response", "verdict", "chars", "text", "model") == [
        ("2", "r0a", "down", 3, Text.of("yes").id, "x")
    ]
    assert listed(edits, "edit", "original", "corrected", "text_original", "text_corrected") == [
        ("5", "r0a", "h1", Text.of("yes").id, human.id)
    ]
    assert edits["prompt"][0] == ratings["prompt"][0] == prompt


def open_to(store: Store, labeler: str, **params: object) -> list[str]:
    frame: pd.DataFrame = store.frame("open_comparisons", labeler=labeler, **params)
    return list(frame["comparison"])


def test_the_queue_offers_what_this_labeler_has_not_seen(judged: Store) -> None:
    """Ada and bob had c0 and c1. c0 is judged twice, c1 only skipped: a third needs overlap 3."""
    assert open_to(judged, "ada", overlap=9) == ["c2"]
    assert open_to(judged, "eve", overlap=1, tie_breaks=0) == ["c1", "c2"]
    assert open_to(judged, "eve", overlap=2, tie_breaks=0) == ["c1", "c2"]
    assert open_to(judged, "eve", overlap=3) == ["c0", "c1", "c2"]
    assert open_to(judged, "eve", overlap=3, limit=1) == ["c0"]
    offered = judged.frame("open_comparisons", labeler="eve", overlap=3)
    assert listed(offered, "comparison", "votes") == [("c0", 2), ("c1", 0), ("c2", 0)]


def test_contested_comparisons_come_first_until_three_more_could_not_settle_them(
    judged: Store, make: SimpleNamespace
) -> None:
    """c0 has one a and one b. A tie settles nothing; at overlap 1 four judgements are the end."""
    assert open_to(judged, "eve") == ["c0", "c1", "c2"]
    for n, (labeler, verdict) in enumerate([("cy", "tie"), ("di", "tie")], 7):
        assert open_to(judged, "eve")[0] == "c0"
        judged.add([make.assignment(n, labeler, "c0")])
        judged.append(make.vote(n, comparison="c0", labeler=labeler, verdict=verdict))
    assert open_to(judged, "eve") == ["c1", "c2"]


def test_the_smallest_margin_of_the_policy_scored_last_comes_first(
    store: Store, make: SimpleNamespace
) -> None:
    """Run 2 scored last. Gains over the base: c0 3 and 1, c1 -1 and 0, c2 not all there.

    Margins: |3 - 1| = 2, |-1 - 0| = 1, missing.
    """
    for n in range(3):
        store.add(make.comparison(n, (f"yes {n}", f"no {n}")))
    gains = {"r0a": 3.0, "r0b": 1.0, "r1a": -1.0, "r1b": 0.0, "r2a": 9.0}
    for minute, (adapter, per) in enumerate([("", 0.0), ("run-1", 5.0), ("run-2", 1.0)]):
        at = make.monday + timedelta(minutes=minute)
        store.add([
            Score(f"{adapter}{r}", r, "m", adapter, -20.0 + per * gain, 5, at)
            for r, gain in gains.items()
        ])  # fmt: skip
    frame = store.frame("open_comparisons", labeler="ada")
    assert frame["comparison"].tolist() == ["c1", "c0", "c2"]
    assert frame["margin"].tolist()[:2] == [1.0, 2.0]
    assert pd.isna(frame["margin"].tolist()[2])


def test_own_verdicts_are_as_they_were_seen(judged: Store, make: SimpleNamespace) -> None:
    """Ada had a on the left of c0 and said a; c1 she skipped. c0's answers have 3 + 5 letters."""
    own = judged.frame("own_verdicts", labeler="ada")
    assert sorted(listed(own, "verdict", "chars")) == [("left", 8), ("skip", 9)]
    late = judged.frame("own_verdicts", labeler="ada", since=make.monday + timedelta(minutes=1))
    assert len(late) == 0


def test_what_somebody_has_on_the_screen_is_kept_for_them(
    store: Store, make: SimpleNamespace
) -> None:
    """Bob got c0 at 9:00: his until 9:10, free again at 9:11; an imported one is no lease."""
    store.add([*make.comparison(0, ("yes", "no")), *make.comparison(1, ("up", "down"))])
    store.add([make.assignment(1, "bob", "c0"), make.assignment(2, "bob", "c1", source="import:f")])

    def at(minutes: int) -> list[str]:
        now = make.monday + timedelta(minutes=minutes)
        return open_to(store, "ada", overlap=1, lease_minutes=10, now=now)

    assert at(10) == ["c1"]
    assert at(11) == ["c0", "c1"]


@pytest.mark.parametrize("answers", [("same", "same"), ("", "x"), ("x", " \n\t\u3000\u00a0 ")])
def test_blank_and_equal_answers_are_not_offered(
    store: Store, make: SimpleNamespace, answers: tuple[str, str]
) -> None:
    store.add([*make.comparison(0, answers), *make.comparison(1, ("up", "down"))])
    assert open_to(store, "ada") == ["c1"]


def test_the_last_decision_on_a_duplicate_counts(store: Store, make: SimpleNamespace) -> None:
    rows = [make.comparison(0, ("yes", "no")), make.comparison(1, ("yes", "yes!"), "Other")]
    store.add([row for comparison in rows for row in comparison])
    prompt = store.rows(Response, id="r0a")[0].prompt

    def decide(kinds: Sequence[tuple[str, str, str]], minute: int) -> list[str]:
        at = make.monday + timedelta(minutes=minute)
        for kind, item, decision in kinds:
            id = f"{kind}{item}{minute}"
            store.add([Duplicate(id, kind, item, "earlier", decision, "ada", at)])
        return open_to(store, "ada")

    assert decide([("response", "c1", "skip")], 1) == ["c0"]
    assert decide([("response", "c1", "keep"), ("prompt", prompt, "skip")], 2) == ["c1"]
    assert decide([("prompt", prompt, "link")], 3) == ["c0", "c1"]


def test_open_responses_leave_out_what_was_rated_blank_or_corrected(
    store: Store, make: SimpleNamespace
) -> None:
    store.add([*make.comparison(0, ("yes", " ")), *make.comparison(1, ("edited", "no"))])
    response = store.rows(Response, id="r1a")[0]
    edit = Response("h", response.prompt, response.text, "human", "", {}, None, None, "edit")
    store.add([edit, make.assignment(1, "ada", "", response="r0a")])
    store.append(Rating("1", "s1", 0, "r0a", "ada", "up"))

    def offered(labeler: str, **params: object) -> list[str]:
        return list(store.frame("open_responses", labeler=labeler, limit=9, **params)["response"])

    assert offered("ada") == ["r1a", "r1b"]
    assert offered("bob") == ["r1a", "r1b"]
    assert offered("bob", overlap=2) == ["r0a", "r1a", "r1b"]


def test_progress_counts_this_labeler_today_and_everybody(
    judged: Store, make: SimpleNamespace
) -> None:
    """Live: v10 and v2 by ada, v1 by bob; a rating by ada the day before. c1, c2 are open."""
    before = make.monday - timedelta(hours=9, minutes=1)
    judged.append(Rating("1", "t1", 0, "r0a", "ada", "up", created_at=before))
    progress = judged.frame("progress", labeler="ada", now=make.monday + timedelta(hours=2))
    assert progress.to_dict("records") == [{
        "mine_total": 3, "mine_today": 2, "votes_total": 3, "ratings_total": 1,
        "comparisons_total": 3, "comparisons_open": 2,
    }]  # fmt: skip


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_query_runs_on_an_empty_store(store: Store, name: str) -> None:
    params = {"labeler": "ada"} if name.startswith(("open", "own")) or name == "progress" else {}
    params |= {"today": datetime.now(UTC)} if name == "tally" else {}
    params |= {"coded": [1, 2**64 - 1]} if name == "vote_ids" else {}
    frame = store.frame(name, **params)
    counts = ("progress", "meters", "majorities", "sizes", "tally", "reach")
    assert len(frame) == (name in counts)
    assert len(frame.columns) >= 2


def test_a_lone_vote_without_assignment_row_is_still_a_vote(
    store: Store, make: SimpleNamespace
) -> None:
    store.add(make.comparison(0, ("yes", "no")))
    store.append(Vote("v1", "nobody-made-it", 0, "c0", "ada", "a"))
    assert listed(store.frame("votes"), "vote", "left") == [("v1", "")]


def test_what_is_asked_again_is_offered_until_it_has_the_votes(
    judged: Store, make: SimpleNamespace
) -> None:
    """c0 has two votes: with overlap 1 nobody gets it; wanted with 3, eve does, and then nobody."""
    assert open_to(judged, "eve", tie_breaks=0) == ["c1", "c2"]
    judged.add([Wanted(f"w{votes}", "c0", votes, "lead") for votes in (3, 2)])
    assert open_to(judged, "eve", tie_breaks=0) == ["c0", "c1", "c2"]
    assert open_to(judged, "ada", tie_breaks=0) == ["c2"]
    assert listed(judged.frame("wanted"), "comparison", "votes") == [("c0", 3)]
    judged.add([make.assignment(9, "eve", "c0")])
    judged.append(make.vote(9, comparison="c0", labeler="eve"))
    assert open_to(judged, "fay", tie_breaks=0) == ["c1", "c2"]


@pytest.mark.parametrize(("kind", "item"), [("comparison", "c2"), ("response", "r2b")])
def test_what_is_excluded_is_not_offered_until_it_is_included_again(
    judged: Store, make: SimpleNamespace, kind: str, item: str
) -> None:
    for minute, decision in enumerate(["exclude", "include"]):
        at = make.monday + timedelta(minutes=minute)
        judged.add([Exclusion(f"x{minute}", kind, item, decision, "why", "lead", at)])
        offered = ["c1"] if decision == "exclude" else ["c1", "c2"]
        assert open_to(judged, "eve", tie_breaks=0) == offered
