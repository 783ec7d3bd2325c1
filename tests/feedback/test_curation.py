"""What is excluded stays in the store, out of snapshots; what is asked again is offered again."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feedback.assignments import serve_items
from feedback.campaigns import default_campaign
from feedback.curation import (
    AGAIN,
    ask_again,
    exclude,
    exclude_all,
    excluded,
    include,
    include_all,
)
from feedback.exports import export_file
from feedback.live import live_feedback
from feedback.quality import gather, live_length_bias, run_checks
from feedback.simulate import simulate_votes
from feedback.snapshots import freeze, preview
from feedback.votes import cast_rating, cast_vote, save_edit
from storage.errors import BadInput, NotFound
from storage.records import Assignment, Exclusion, Vote, Wanted
from storage.store import Store
from tests.feedback.stock import stock

WHY = {"reason": "always left", "by": "lead"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Six comparisons: ada judged four of them, bob (for whom two were left) two."""
    with Store.open(tmp_path / "data") as opened:
        stock(opened, 6)
        judge(opened, "ada", 4)
        judge(opened, "bob", 2)
        yield opened


def judge(store: Store, labeler: str, n: int, verdict: str = "left") -> list[str]:
    items = serve_items(store, labeler, "pairs", n, random.Random(1))
    ids = [str(uuid.uuid4()) for _ in items]
    for id, item in zip(ids, items, strict=True):
        cast_vote(store, labeler, id=id, assignment=item.assignment, verdict=verdict, revision=0)
    return ids


def vote(store: Store, comparison: str, labeler: str, verdict: str, kind: str = "plain") -> str:
    id = str(uuid.uuid4())
    store.add([Assignment(id, "default", labeler, comparison, "", "a", kind, "api")])
    store.append(Vote(id, id, 0, comparison, labeler, verdict, source="api"))
    return id


def test_an_excluded_labeler_is_in_the_export_and_out_of_snapshots(store: Store, tmp_path: Path):
    """Bob's two of six votes: six rows in the export, four pairs in the snapshot."""
    exclude(store, "labeler", "bob", **WHY)
    file = tmp_path / "votes.jsonl"
    assert export_file(store, file, "votes", names=True)["written"] == 6
    labelers = [json.loads(line)["labeler"] for line in file.read_text("utf-8").splitlines()]
    assert sorted(labelers) == ["ada"] * 4 + ["bob"] * 2
    snapshot = freeze(store)
    assert snapshot.pairs == 4
    dropped = preview(store)["dropped"]
    assert dropped == {"votes, thumbs and edits that were excluded": 2}
    assert len(store.rows(Vote)) == 6


def test_undoing_an_exclusion_gives_the_identical_snapshot(store: Store):
    before = freeze(store)
    exclude(store, "labeler", "bob", **WHY)
    assert freeze(store).id != before.id
    include(store, "labeler", "bob", by="lead")
    assert freeze(store) == before
    assert excluded(store) == []
    assert [row.decision for row in store.rows(Exclusion, order="created_at")] == [
        "exclude",
        "include",
    ]


def test_every_kind_keeps_out_what_it_names(store: Store):
    """Each comparison has one vote, so a prompt, a comparison, a response and a vote are one each;
    the screen is the source of all six."""
    one = store.frame("votes").iloc[0]
    sides = store.frame("comparisons").set_index("comparison").loc[one["comparison"]]
    named = {
        "labeler": ("ada", 4), "source": ("screen", 6), "prompt": (one["prompt"], 1),
        "comparison": (one["comparison"], 1), "response": (sides["b"], 1), "vote": (one["vote"], 1),
    }  # fmt: skip
    for kind, (item, n) in named.items():
        exclude(store, kind, item, **WHY)
        assert len(live_feedback(store).votes) == 6 - n
        assert len(gather(store).votes) == 6 - n
        assert live_length_bias(store).n == 6 - n
        (found,) = excluded(store)
        assert (found.kind, found.item, found.feedback) == (kind, item, n)
        assert (found.reason, found.by) == ("always left", "lead")
        include(store, kind, item, by="lead")
    assert len(live_feedback(store).votes) == 6


def test_thumbs_and_edits_are_kept_out_as_well(store: Store):
    item = serve_items(store, "cem", "thumbs", 1, random.Random(1))[0]
    rated, edited = str(uuid.uuid4()), str(uuid.uuid4())
    where = {"assignment": item.assignment, "revision": 0}
    cast_rating(store, "cem", id=rated, verdict="up", **where)
    save_edit(store, "cem", id=edited, side="left", text="Mine.", **where)
    live = live_feedback(store)
    assert (len(live.ratings), len(live.edits)) == (1, 1)
    exclude_all(store, "vote", [rated, edited], **WHY)
    live = live_feedback(store)
    assert (len(live.ratings), len(live.edits), len(live.votes)) == (0, 0, 6)
    assert len(gather(store).ratings) == 0
    include_all(store, "vote", [edited, rated], by="lead")
    exclude(store, "labeler", "cem", **WHY)
    assert live_feedback(store).left_out == {"votes, thumbs and edits that were excluded": 2}


def test_a_single_vote_that_is_changed_counts_again(store: Store):
    """The exclusion names the vote, and the change is another vote."""
    first = store.rows(Vote, labeler="ada")[0]
    exclude(store, "vote", first.id, **WHY)
    assert len(live_feedback(store).votes) == 5
    store.append(replace(first, id=str(uuid.uuid4()), revision=1, verdict="b"))
    assert len(live_feedback(store).votes) == 6


def test_a_silent_repeat_is_measured_and_never_counted(store: Store):
    """Ada says b where she said a before: the checks see seven votes, a pair still has one."""
    comparison = store.rows(Vote, labeler="ada")[0].comparison
    before = freeze(store)
    repeat = vote(store, comparison, "ada", "b", kind="repeat")
    assert len(gather(store).votes) == 7
    live = live_feedback(store)
    assert len(live.votes) == 6
    assert repeat not in set(live.votes["vote"])
    assert live.left_out == {"votes that silently asked the same person again": 1}
    assert freeze(store) == before


def test_checks_run_on_what_is_left_when_all_is_excluded(store: Store):
    exclude_all(store, "labeler", ["ada", "bob"], **WHY)
    assert run_checks(store)[0].severity == "unknown"
    with pytest.raises(BadInput, match="no feedback counts; 6 votes, thumbs and edits that were"):
        freeze(store)


@pytest.mark.parametrize(
    ("kind", "items", "reason", "by", "told"),
    [
        ("person", ["ada"], "x", "lead", "'person': use one of labeler, source, prompt"),
        ("labeler", [], "x", "lead", "no labeler is named"),
        ("labeler", ["ada"], " ", "lead", "needs a reason"),
        ("labeler", ["ada"], "x", " ", "nobody decides"),
        ("labeler", "ada", "x", "lead", "'ada': give a list"),
        ("labeler", ["ada", "adaa"], "x", "lead", "no labeler 'adaa' here; .*: ada, bob"),
        ("source", ["mars"], "x", "lead", "no source 'mars' here; .*: screen"),
        ("comparison", ["c_9", "c_8"], "x", "lead", r"no comparison 'c_8' here \(and 1 more\)"),
        ("vote", ["v"], "x", "lead", "no vote 'v' here: look its id up"),
    ],
)
def test_what_cannot_be_excluded_is_refused_whole(
    store: Store, kind: str, items: list[str], reason: str, by: str, told: str
):
    with pytest.raises((BadInput, NotFound), match=told):
        exclude_all(store, kind, items, reason=reason, by=by)
    assert store.rows(Exclusion) == []


def test_only_what_is_excluded_can_be_taken_back(store: Store):
    exclude(store, "labeler", "bob", **WHY)
    with pytest.raises(NotFound, match="labeler 'ada' is not excluded; .*: bob"):
        include(store, "labeler", "ada", by="lead")
    exclude(store, "labeler", "bob", reason="another reason", by="lead")
    assert [one.reason for one in excluded(store)] == ["another reason"]


def test_excluded_comparisons_are_not_given_out(store: Store):
    simulate_votes(store, 1)
    ids = [row.comparison for row in store.rows(Vote)]
    assert len(serve_items(store, "eve", "thumbs", 50, random.Random(1))) == 12
    exclude_all(store, "comparison", ids, **WHY)
    ask_again(store, ids, by="lead")
    assert serve_items(store, "eve", "pairs", 10, random.Random(1)) == []
    include_all(store, "comparison", ids, by="lead")
    assert len(serve_items(store, "eve", "pairs", 10, random.Random(1))) == 6


def test_contradicted_single_and_vain_judgements_can_be_asked_again(store: Store):
    """Of six comparisons with one vote each, one gets a contradicting vote: five stay single. Bob's
    two are judged in vain when he is excluded."""
    one = store.rows(Vote, labeler="ada")[0]
    bobs = sorted(row.comparison for row in store.rows(Vote, labeler="bob"))
    vote(store, one.comparison, "cem", "b" if one.verdict == "a" else "a")
    vote(store, one.comparison, "dot", "skip")
    found = {name: find(store) for name, find in AGAIN.items()}
    assert found["contradicting"] == [one.comparison]
    assert len(found["single"]) == 5
    assert found["excluded"] == []
    exclude(store, "labeler", "bob", **WHY)
    assert AGAIN["excluded"](store) == bobs
    assert len(AGAIN["single"](store)) == 3


def test_what_is_asked_again_goes_to_somebody_else_once(store: Store):
    """Every comparison has its one vote, so eve gets none; asked again, she gets that one. (No
    share of them wants a second vote anyway.)"""
    store.update(replace(default_campaign(store), shared=0.0))
    one = store.rows(Vote, labeler="ada")[0].comparison
    assert serve_items(store, "eve", "pairs", 10, random.Random(1)) == []
    (wanted,) = ask_again(store, [one, one], by="lead")
    assert (wanted.comparison, wanted.votes, wanted.labeler) == (one, 2, "lead")
    ask_again(store, [one], by="lead")
    assert len(store.rows(Wanted)) == 1
    assert serve_items(store, "ada", "pairs", 10, random.Random(1)) == []
    assert len(judge(store, "eve", 10, "tie")) == 1
    assert serve_items(store, "fay", "pairs", 10, random.Random(1)) == []
    assert ask_again(store, [one], by="lead")[0].votes == 3


def test_a_comparison_that_is_not_there_cannot_be_asked_again(store: Store):
    with pytest.raises(NotFound, match="no comparison 'c_9'"):
        ask_again(store, ["c_9"], by="lead")
    with pytest.raises(BadInput, match="nobody"):
        ask_again(store, [], by="")


def test_the_source_of_the_comparisons_is_not_who_judged_them(store: Store):
    """Six votes of people on comparisons of "generated:1": leaving out what else is called so,
    checks, meters and the snapshot still count the same six."""
    place = store.rows(Assignment, limit=1)[0]
    simulated = str(uuid.uuid4())
    store.add([replace(place, id="imported", labeler="x", source="generated:1")])
    store.append(Vote(simulated, "imported", 0, place.comparison, "x", "a", source="generated:1"))
    exclude(store, "source", "generated:1", **WHY)
    assert len(gather(store).comparisons) == 6
    assert len(gather(store).votes) == len(live_feedback(store).votes) == 6
    assert live_length_bias(store).n == 6
    assert freeze(store).pairs == 6


def test_a_silent_repeat_is_no_vote_when_one_more_is_asked_for(store: Store):
    """One judgement and the same person's second look: two votes in all are wanted, not three."""
    place = store.rows(Assignment, labeler="ada", limit=1)[0]
    vote(store, place.comparison, "ada", "a", kind="repeat")
    (wanted,) = ask_again(store, [place.comparison], by="lead")
    assert wanted.votes == 2
