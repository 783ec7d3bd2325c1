"""A lead decides contradictions: what waits, what stands, and what is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import adjudication, audit, curation, snapshot_diff, snapshots
from feedback.preferences import TIED
from feedback.selection import SnapshotSettings, select
from storage.errors import BadInput, NotFound
from storage.store import Store
from tests.feedback.stock import MODELS, answered, fill, say, stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def contradict(store: Store, comparison: str, verdicts: str = "ab") -> list[str]:
    """Let one person after the other vote a or b; return the votes' ids."""
    return [say(store, comparison, verdict, f"p{n}") for n, verdict in enumerate(verdicts)]


def test_contradictions_wait_the_most_balanced_first_and_duels_are_not_among_them(store):
    one, two, agreed = stock(store, 3)
    duel = answered(store, "Who wins?", "duel:r-1:base")
    contradict(store, one.id, "aab")
    contradict(store, two.id, "ab")
    contradict(store, agreed.id, "aa")
    contradict(store, duel.id, "ab")
    assert adjudication.waiting(store) == [two.id, one.id]


def test_a_case_hides_models_and_votes_and_its_sides_are_drawn_for_each_lead(store):
    """Of 20 comparisons some stand one way round and some the other, always the same for one."""
    texts = [(f"I am ChatGPT, number {n}.", f"Answer {n}.") for n in range(20)]
    cases = [adjudication.open_case(store, one.id, "Lea") for one in fill(store, texts)]
    assert {case.swapped for case in cases} == {True, False}
    for number, case in enumerate(cases):
        assert case == adjudication.open_case(store, case.comparison, "Lea")
        sides = {"left": case.left, "right": case.right}
        own = {case.own(side): text for side, text in sides.items()}
        assert own["b"] == f"Answer {number}."
        assert "ChatGPT" not in own["a"]
        assert {side: case.seen(case.own(side)) for side in sides} == {
            "left": "left",
            "right": "right",
        }
        assert not set(MODELS) & {str(field) for field in (case.messages, case.left, case.right)}
    assert cases[0].own("tie") == cases[0].seen("tie") == "tie"


@pytest.mark.parametrize("weigh", [False, True])
def test_a_decision_stands_against_the_majority(store, weigh):
    """Two say a, one says b: by heads a is chosen; the lead says b, and takes it back."""
    (one,) = stock(store, 1)
    votes = contradict(store, one.id, "aab")
    settings = SnapshotSettings(weigh_labelers=weigh)
    assert [pair.chosen for pair in select(store, settings).preferences.pairs] == [one.a]
    adjudication.decide(store, one.id, "b", by="Lea", reason="a is wrong")
    (pair,) = select(store, settings).preferences.pairs
    (decision,) = adjudication.decided(store)
    assert (pair.chosen, pair.rejected, pair.p_chosen) == (one.b, one.a, 1.0)
    assert set(pair.votes_for) == {votes[2], decision["decision"]}
    assert set(pair.votes_against) == {votes[0], votes[1]}
    labels = {label.response: label.good for label in select(store, settings).preferences.labels}
    assert labels == {one.a: False, one.b: True}
    adjudication.take_back(store, one.id, by="Lea")
    assert [pair.chosen for pair in select(store, settings).preferences.pairs] == [one.a]


def test_a_decided_tie_and_both_bad_give_no_pair(store):
    tie, bad = stock(store, 2)
    for comparison, verdict in ((tie, "tie"), (bad, "both_bad")):
        contradict(store, comparison.id)
        adjudication.decide(store, comparison.id, verdict, by="Lea")
    pairs, labels, dropped = select(store, SnapshotSettings()).preferences
    assert pairs == []
    assert {(label.response, label.good) for label in labels} == {(bad.a, False), (bad.b, False)}
    assert dropped[TIED] == 1


def test_what_is_excluded_stays_out_also_when_it_was_decided(store):
    (one,) = stock(store, 1)
    contradict(store, one.id)
    adjudication.decide(store, one.id, "a", by="p0")
    curation.exclude(store, "labeler", "p0", reason="guesses", by="Lea")
    assert len(select(store, SnapshotSettings()).preferences.pairs) == 1  # a decision is no vote
    curation.exclude(store, "comparison", one.id, reason="broken", by="Lea")
    assert select(store, SnapshotSettings()).preferences.pairs == []


def test_what_is_decided_is_asked_no_more_and_waits_no_more(store):
    (one,) = stock(store, 1)
    contradict(store, one.id)
    assert len(store.frame("open_comparisons", labeler="eve", overlap=1)) == 1
    adjudication.decide(store, one.id, "tie", by="Lea")
    assert len(store.frame("open_comparisons", labeler="eve", overlap=9)) == 0
    assert adjudication.waiting(store) == curation.contradicting(store) == []
    adjudication.take_back(store, one.id, by="Lea")
    assert adjudication.waiting(store) == [one.id]


def test_a_snapshot_and_the_list_of_changes_tell_who_decided(store, tmp_path):
    (one,) = stock(store, 1)
    contradict(store, one.id, "aab")
    before = snapshots.freeze(store, checks=())
    adjudication.decide(store, one.id, "b", by="Lea", reason="a is wrong")
    after = snapshots.freeze(store, checks=())
    folders = [snapshots.load(store.data / "snapshots" / row.id) for row in (before, after)]
    (told,) = folders[1].manifest["adjudications"]
    assert (told["comparison"], told["verdict"], told["labeler"]) == (one.id, "b", "Lea")
    assert told["decision"] in folders[1].manifest["votes"]
    (change,) = (
        one for one in snapshot_diff.compare(store, *folders)["changes"] if one["kind"] == "pair"
    )
    assert change["why"] == ["decided the other way now", "decided by Lea"]
    (entry,) = audit.entries(store)
    assert (entry.by, entry.did, entry.what) == ("Lea", "adjudicate", f"{one.id}: b: a is wrong")


def test_what_cannot_be_decided_is_refused_in_words(store):
    (one,) = stock(store, 1)
    for verdict in ("left", "skip", ""):
        with pytest.raises(BadInput, match="use one of a, b, tie, both_bad"):
            adjudication.decide(store, one.id, verdict, by="Lea")
    with pytest.raises(NotFound, match="no comparison 'c_none'"):
        adjudication.decide(store, "c_none", "a", by="Lea")
    with pytest.raises(BadInput, match="nobody decides"):
        adjudication.decide(store, one.id, "a", by=" ")
    with pytest.raises(BadInput, match="nothing to take back"):
        adjudication.take_back(store, one.id, by="Lea")
    assert adjudication.decided(store) == []
