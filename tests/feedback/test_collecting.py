"""Several campaigns: whose they are, what they give, how far they are; their trial."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from feedback import trial
from feedback.assignments import serve_items
from feedback.campaigns import DEFAULT, set_collecting
from feedback.collecting import (
    Reach,
    campaign_of,
    change,
    given,
    make,
    of_labeler,
    reach,
    set_state,
)
from feedback.exports import export_file
from feedback.gold import set_gold
from feedback.remarks import add_remark
from feedback.seen import Item
from feedback.votes import cast_vote
from storage.errors import BadInput, Conflict, NotFound
from storage.records import Assignment, Campaign, Remark, Vote
from storage.store import Store
from tests.feedback.stock import MODELS, answered, say, stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        set_collecting(opened, shared=0.0, repeats=0.0, gold=0.0)
        yield opened


def serve(
    store: Store, labeler: str, n: int = 50, wanted: str = "", mode: str = "pairs"
) -> list[Item]:
    fits = given(store, labeler, mode, wanted)
    if fits.campaign is None:
        return []
    return serve_items(
        store,
        labeler,
        mode,
        n,
        random.Random(1),
        campaign=fits.campaign,
        trial_left=fits.trial_left,
    )


def shown_of(store: Store, items: list[Item]) -> set[str]:
    return {
        one.comparison for one in store.rows(Assignment, id=[item.assignment for item in items])
    }


def vote(store: Store, labeler: str, item: Item, verdict: str) -> str:
    id = str(uuid.uuid4())
    cast_vote(store, labeler, id=id, assignment=item.assignment, verdict=verdict, revision=0)
    return id


def ids_of(campaigns: list[Campaign]) -> list[str]:
    return [one.id for one in campaigns]


def test_with_the_default_campaign_alone_everything_is_as_it_was(store):
    comparisons = stock(store, 3)
    assert ids_of(of_labeler(store, "ann", "pairs")) == [DEFAULT]
    assert shown_of(store, serve(store, "ann")) == {one.id for one in comparisons}


def test_a_campaign_is_its_labelers_in_its_mode_while_it_is_open(store):
    make(store, "Poems", mode="thumbs", labelers=["ann"])
    assert ids_of(of_labeler(store, "ann", "thumbs")) == [DEFAULT, "Poems"]
    assert ids_of(of_labeler(store, "ann", "pairs")) == ids_of(of_labeler(store, "bob", "thumbs"))
    set_state(store, "Poems", "paused")
    assert ids_of(of_labeler(store, "ann", "thumbs")) == [DEFAULT]
    set_state(store, "Poems", "open")
    set_state(store, DEFAULT, "paused")
    assert ids_of(of_labeler(store, "ann", "thumbs")) == ["Poems"]
    assert given(store, "bob", "thumbs").why == "paused"


def test_a_campaign_gives_its_own_items_alone_and_none_twice(store):
    """Two comparisons came from a file, one was generated: by source, by model, by time."""
    (made,) = stock(store, 1)
    files = [answered(store, f"Question {n}?", "import:poems.jsonl") for n in range(2)]
    make(store, "File", sources=["import:"])
    make(store, "Model", models=[MODELS[0]])
    make(store, "New", new=True)
    assert shown_of(store, serve(store, "ann", wanted="File")) == {one.id for one in files}
    assert shown_of(store, serve(store, "ann", wanted="Model")) == {made.id}
    assert serve(store, "ann", wanted="New") == []
    assert serve(store, "ann") == []  # they are on her screen in the others
    later = answered(store, "Later?", "import:later.jsonl")
    assert shown_of(store, serve(store, "ann", wanted="New")) == {later.id}
    assert reach(store, campaign_of(store, "File")) == Reach(0, 3)


def test_thumbs_of_a_campaign_are_on_its_answers_alone(store):
    stock(store, 2)
    make(store, "One", models=[MODELS[1]])
    items = serve(store, "ann", wanted="One", mode="thumbs")
    places = store.rows(Assignment, id=[item.assignment for item in items])
    assert len(places) == 2
    assert {place.campaign for place in places} == {"One"}
    assert reach(store, campaign_of(store, "One"), "thumbs") == Reach(0, 2)


def test_progress_counts_what_people_judged_and_no_skips(store):
    one, two, _ = stock(store, 3)
    say(store, one.id, "a")
    say(store, two.id, "skip")
    assert reach(store, campaign_of(store, DEFAULT)) == Reach(1, 3)


def test_what_is_on_the_screen_of_a_paused_campaign_is_given_no_more_but_taken(store):
    stock(store, 2)
    make(store, "Now")
    (item,) = serve(store, "ann", 1, "Now")
    set_state(store, "Now", "paused")
    assert item.assignment not in {other.assignment for other in serve(store, "ann")}
    vote(store, "ann", item, "left")


def test_a_finished_campaign_stays_finished_and_the_default_one_is_only_paused(store):
    make(store, "Old")
    set_state(store, "Old", "finished")
    with pytest.raises(Conflict, match="Old is finished"):
        set_state(store, "Old", "open")
    with pytest.raises(Conflict, match="pause it"):
        set_state(store, DEFAULT, "finished")


def test_a_campaign_that_cannot_be_is_refused_with_every_reason(store):
    make(store, "Poems")
    with pytest.raises(Conflict, match="'Poems' already"):
        make(store, " Poems ")
    with pytest.raises(BadInput, match="overlap is 0.*mode is 'both_ways'.*trial_share is 2"):
        make(store, "x", overlap=0, mode="both_ways", trial_share=2)
    with pytest.raises(BadInput, match="repeats and gold together are 0.90"):
        change(store, "Poems", repeats=0.5, gold=0.4)
    with pytest.raises(BadInput, match="trial needs comparisons"):
        change(store, "Poems", mode="thumbs", trial=3)
    with pytest.raises(BadInput, match="labelers is 'ann': use a list"):
        change(store, "Poems", labelers="ann")
    with pytest.raises(BadInput, match="reasons has 13 entries"):
        change(store, "Poems", reasons=[f"r{n}" for n in range(13)])
    with pytest.raises(NotFound, match="no campaign 'Prose'; there are: default, Poems"):
        change(store, "Prose", overlap=2)
    assert campaign_of(store, "Poems").overlap == 1


def begin_trial(store: Store, n: int = 3, share: float = 0.6) -> list[str]:
    """Make a campaign with a trial of n gold items, on all of which a is right."""
    comparisons = stock(store, n + 2)
    for one in comparisons[:n]:
        set_gold(store, one.id, "a", "Lea")
    make(store, "Hard", trial=n, trial_share=share)
    return [one.id for one in comparisons[:n]]


def judge_trial(store: Store, labeler: str, right: int) -> None:
    """Judge what is given one after the other, so many right."""
    for number in range(3):
        (item,) = serve(store, labeler, 1, "Hard")
        (place,) = store.rows(Assignment, id=item.assignment)
        assert place.kind == "gold"
        vote(store, labeler, item, "a" if number < right else "b")


def test_who_gets_enough_gold_items_right_goes_on(store):
    """Two of three are right: 0.67 is more than the 0.6 that is asked."""
    gold = begin_trial(store)
    assert shown_of(store, serve(store, "ann", 50, "Hard")) == set(gold)
    judge_trial(store, "bob", 2)
    assert trial.state_of(store, campaign_of(store, "Hard"), "bob") == trial.Trial(3, 2, 0, True)
    given_now = store.rows(
        Assignment, id=[one.assignment for one in serve(store, "bob", 50, "Hard")]
    )
    assert {place.kind for place in given_now} == {"plain"}


def test_who_does_not_is_told_a_friendly_word_until_a_lead_lets_them_in(store):
    begin_trial(store)
    hard = campaign_of(store, "Hard")
    judge_trial(store, "bob", 1)
    assert given(store, "bob", "pairs", "Hard").why == "trial"
    assert trial.everybody(store, hard) == [("bob", trial.Trial(3, 1, 0, False))]
    trial.let_in(store, hard, "bob", by="Lea")
    assert len(serve(store, "bob", 50, "Hard")) == 2
    trial.let_in(store, hard, "bob", by="Lea", undo=True)
    assert given(store, "bob", "pairs", "Hard").campaign is None
    with pytest.raises(BadInput, match="nothing to take back"):
        trial.let_in(store, hard, "bob", by="Lea", undo=True)


@pytest.mark.parametrize(
    ("said", "left", "expected"),
    [
        ([], 5, trial.Trial(0, 0, 3, None)),
        (["a", None], 5, trial.Trial(1, 1, 1, None)),
        (["skip", "a"], 0, trial.Trial(1, 1, 0, True)),  # used up: what there is decides
        (["skip", "skip"], 0, trial.Trial(0, 0, 0, False)),
        ([], 0, trial.Trial(0, 0, 0, True)),  # nothing to try anybody with
        (["b", "a", "a", "b"], 5, trial.Trial(3, 2, 0, False)),  # the first three decide: 0.67
    ],
)
def test_a_trial_is_judged_by_its_first_gold_items(said, left, expected):
    campaign = Campaign("x", "x", "", 1, trial=3, trial_share=0.7)
    frame = pd.DataFrame({"said": pd.Series(said, dtype=object), "known": "a", "campaign": "x"})
    assert trial.judged(campaign, frame, left) == expected


def test_a_remark_is_kept_beside_the_vote_that_it_is_on(store):
    stock(store, 2)
    make(store, "Fine", strengths=["slightly", "clearly"], aspects=["facts", "tone"])
    item, other = serve(store, "ann", 2, "Fine")
    cast = vote(store, "ann", item, "left")
    remark = {
        "id": str(uuid.uuid4()),
        "vote": cast,
        "strength": "clearly",
        "aspects": {"tone": "right"},
    }
    add_remark(store, "ann", **remark)
    add_remark(store, "ann", **remark)  # sent again
    (kept,) = store.rows(Remark)
    assert (kept.vote, kept.strength, kept.aspects) == (cast, "clearly", {"tone": "right"})
    for wrong, told in (
        ({"strength": "very"}, "use one of slightly, clearly"),
        ({"aspects": {"length": "left"}}, "use one of facts, tone"),
        ({"aspects": {"tone": "a"}}, "use one of left, right, same"),
        ({"strength": "", "aspects": {}}, "empty"),
    ):
        with pytest.raises(BadInput, match=told):
            add_remark(store, "ann", **remark | {"id": str(uuid.uuid4())} | wrong)
    with pytest.raises(NotFound, match="of yours"):
        add_remark(store, "bob", **remark | {"id": str(uuid.uuid4())})


def test_a_remark_is_exported_with_its_vote_in_the_comparisons_own_terms(store, tmp_path):
    stock(store, 1)
    make(store, "Fine", strengths=["slightly", "clearly"], aspects=["facts", "tone"])
    (item,) = serve(store, "ann", 1, "Fine")
    (place,) = store.rows(Assignment, id=item.assignment)
    cast = vote(store, "ann", item, "left")
    for strength in ("slightly", "clearly"):  # the newer one counts
        add_remark(
            store, "ann", id=str(uuid.uuid4()), vote=cast, strength=strength,
            aspects={"tone": "left", "facts": "same"},
        )  # fmt: skip
    export_file(store, tmp_path / "votes.jsonl", "votes")
    (row,) = map(json.loads, (tmp_path / "votes.jsonl").read_text("utf-8").splitlines())
    assert (row["strength"], row["aspects"]) == ("clearly", {"tone": place.left, "facts": "same"})


def test_a_campaigns_own_reasons_are_taken_in_it_and_nowhere_else(store):
    stock(store, 2)
    make(store, "Poems", reasons=["metre", "rhyme"])
    (item,) = serve(store, "ann", 1, "Poems")
    cast = {"id": str(uuid.uuid4()), "verdict": "left", "revision": 0, "reasons": ["rhyme"]}
    cast_vote(store, "ann", assignment=item.assignment, **cast)
    assert [one.reasons for one in store.rows(Vote)] == [("rhyme",)]
    (other,) = serve(store, "bob", 1)
    with pytest.raises(BadInput, match="'rhyme'"):
        cast_vote(store, "bob", assignment=other.assignment, **cast | {"id": str(uuid.uuid4())})
