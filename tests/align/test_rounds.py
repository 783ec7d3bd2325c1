"""Promotion, going back, the story of the rounds, and what is behind a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align import lineage, promotion, rounds
from align.manifest import write_manifest
from align.rounds import story
from align.sweep_files import write_sweep
from feedback.ages import promotions, sampler
from feedback.curation import exclude
from feedback.frozen import split_of
from feedback.snapshots import freeze
from storage.errors import BadInput, Conflict, Damaged, NotFound
from storage.records import Prompt
from storage.store import Store
from tests.align.finished import VOTES, WEIGHTS, collect, duel, train
from tests.feedback.stock import answered, stock, take_back


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Any]:
    with Store.open(tmp_path / "data") as store:
        yield SimpleNamespace(data=store.data, store=store)


def test_an_adapter_that_nobody_compared_needs_a_reason(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    with pytest.raises(BadInput, match=f"{run} is not promoted, since nobody has compared it"):
        promotion.promote(workspace, run, by="Ada")
    made = promotion.promote(workspace, run, because=" it is the only one ", by="Ada")
    assert (made.run, made.reason, made.labeler) == (run, "it is the only one", "Ada")
    assert sampler(workspace.store) == run
    assert made.evidence["held_out"]["pairs"] == 3
    assert promotions(workspace.store) == [made]


def test_a_lost_duel_needs_a_reason_and_any_other_none(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    snapshot = freeze(workspace.store)
    lost, won = (train(workspace, tiny, snapshot) for _ in range(2))
    duel(workspace, lost, 0, 20)
    duel(workspace, won, 20, 0)
    with pytest.raises(BadInput, match="it lost its duel against base"):
        promotion.promote(workspace, lost, by="Ada")
    assert promotions(workspace.store) == []
    made = promotion.promote(workspace, won, by="Ada")
    assert made.evidence["duel"]["decided"] == "better"
    assert made.evidence["duel"]["wins"] == 20
    assert promotion.promote(workspace, lost, because="worth a try", by="Ada").run == lost


def test_it_is_compared_with_who_answers_now(workspace: Any, tiny: Path) -> None:
    """Against the base it won, against the promoted one it lost: that one counts."""
    collect(workspace)
    snapshot = freeze(workspace.store)
    first, second = (train(workspace, tiny, snapshot) for _ in range(2))
    promotion.promote(workspace, first, because="the first", by="Ada")
    duel(workspace, second, 20, 0)
    assert promotion.evidence(workspace, second)["duel"]["against"] == "base"
    duel(workspace, second, 0, 20, against=first)
    assert promotion.evidence(workspace, second)["duel"]["against"] == first
    with pytest.raises(BadInput, match=f"lost its duel against {first}"):
        promotion.promote(workspace, second, by="Ada")


def test_going_back_leads_to_who_answered_before_and_then_to_the_base(
    workspace: Any, tiny: Path
) -> None:
    collect(workspace)
    snapshot = freeze(workspace.store)
    first, second = (train(workspace, tiny, snapshot) for _ in range(2))
    with pytest.raises(Conflict, match="nothing was promoted"):
        promotion.roll_back(workspace, by="Ada")
    for run in (first, second):
        promotion.promote(workspace, run, because="to see", by="Ada")
    back = [promotion.roll_back(workspace, by="Ada") for _ in range(2)]
    assert [one.run for one in back] == [first, ""]
    assert back[0].reason == f"back from {second}"
    assert len(promotions(workspace.store)) == 4
    with pytest.raises(Conflict, match="the base answers already"):
        promotion.promote(workspace, "", because="again", by="Ada")


@pytest.mark.parametrize("because", ["", "x" * (promotion.MAX_REASON + 1)])
def test_what_cannot_be_promoted_changes_nothing(workspace: Any, tiny: Path, because: str) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    with pytest.raises(BadInput):
        promotion.promote(workspace, run, because=because, by="Ada")
    with pytest.raises(NotFound):
        promotion.promote(workspace, "r-nowhere", because="why not", by="Ada")
    weights = workspace.data / "runs" / run / "adapter" / WEIGHTS
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    with pytest.raises(BadInput, match=WEIGHTS):
        promotion.promote(workspace, run, because="a flipped bit", by="Ada")
    assert promotions(workspace.store) == []


def test_the_votes_behind_a_run_are_those_it_trained_on(workspace: Any, tiny: Path) -> None:
    """Each of `VOTES` prompts has one vote; those of held-out and duel prompts taught nothing."""
    votes = collect(workspace)
    first = train(workspace, tiny, freeze(workspace.store))
    clusters = workspace.store.frame("votes").set_index("vote")["prompt"]
    taught = {vote for vote in votes if split_of(clusters[vote]) == "train"}
    assert 0 < len(taught) < VOTES
    assert lineage.behind(workspace.data, first) == {first: taught}
    more = collect(workspace, VOTES + 8, VOTES)
    second = train(workspace, tiny, freeze(workspace.store), after=first)
    assert lineage.chain(workspace.data, second) == [second, first]
    found = lineage.behind(workspace.data, second)
    assert found[first] == taught < found[second]
    lineage.verify(workspace.data, second)
    clusters = workspace.store.frame("votes").set_index("vote")["prompt"]
    for vote in (*votes, *more):
        runs_of = [run for run in (second, first) if vote in found[run]]
        assert lineage.learned_from(workspace.data, vote) == runs_of
        assert bool(runs_of) == (split_of(clusters[vote]) == "train")


def test_a_run_on_a_part_of_the_rows_learned_from_that_part(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store), max_rows=5)
    (votes,) = lineage.behind(workspace.data, run).values()
    assert len(votes) == 5


def test_a_vote_taken_back_marks_every_run_that_learned_from_it(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    first = train(workspace, tiny, freeze(workspace.store))
    votes = sorted(lineage.behind(workspace.data, first)[first])
    take_back(workspace.store, votes[0])
    other = train(workspace, tiny, freeze(workspace.store))
    second = train(workspace, tiny, freeze(workspace.store), after=first)
    exclude(workspace.store, "vote", votes[1], reason="a slip", by="Ada")
    found = lineage.stale(workspace.store, workspace.data, [first, other, second])
    both = lineage.Gone((votes[0],), (votes[1],))
    assert found == {first: both, other: lineage.Gone((), (votes[1],)), second: both}
    assert lineage.learned_from(workspace.data, votes[0]) == [second, first]


def test_what_was_changed_behind_a_run_is_named(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    snapshot = freeze(workspace.store)
    first = train(workspace, tiny, snapshot)
    second = train(workspace, tiny, snapshot, after=first)
    lineage.verify(workspace.data, second)
    weights = workspace.data / "runs" / first / "adapter" / WEIGHTS
    weights.write_bytes(b"another adapter")
    write_manifest(weights.parent)  # whole in itself, and yet not what `second` went on from
    with pytest.raises(BadInput, match=f"{second} went on from {first}"):
        lineage.verify(workspace.data, second)
    pairs = workspace.data / "snapshots" / snapshot.id / "pairs.jsonl"
    pairs.write_text(pairs.read_text("utf-8").replace("Short", "Shorn", 1), "utf-8")
    with pytest.raises(Damaged, match="pairs.jsonl"):
        lineage.verify(workspace.data, first)


def test_the_story_of_two_rounds(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    first = train(workspace, tiny, freeze(workspace.store))
    duel(workspace, first, 20, 0)
    promotion.promote(workspace, first, by="Ada")
    collect(workspace, VOTES + 8, VOTES)
    second = train(workspace, tiny, freeze(workspace.store), after=first)
    short, won = (train(workspace, tiny, freeze(workspace.store), max_rows=5) for _ in range(2))
    write_sweep(workspace.data, {0.1: short, 0.5: won})
    told = story(workspace)
    assert {one.run.run for part in told for one in part.ran} == {first, second}
    duel(workspace, won, 0, 1)
    assert [one.run.run for one in story(workspace)[-1].ran] == [second, won]
    assert [(one.number, one.sampler, one.comparisons) for one in told] == [
        (0, "", VOTES),
        (1, first, 8),
    ]
    assert [one.feedback["votes"] for one in told] == [VOTES + 20, 8]
    ((one,), (two,)) = (part.ran for part in told)
    assert (one.run.run, one.started_from, two.run.run, two.started_from) == (
        first, "", second, first,
    )  # fmt: skip
    assert one.duels["base"].outcome.wins == 20
    assert one.promoted == told[1].began
    assert two.promoted is None
    assert one.ages == {"0": one.votes}  # each row rests on one vote
    assert two.ages == {"0": one.votes, "1": two.votes - one.votes}
    assert 0 < one.votes < two.votes
    assert json.loads(json.dumps([part.as_json() for part in told]))[1]["sampler"] == first
    take_back(workspace.store, sorted(lineage.behind(workspace.data, first)[first])[0])
    told = story(workspace)
    assert [len(part.ran[0].gone) for part in told] == [1, 1]


def test_a_run_whose_snapshot_is_gone_stays_in_the_story(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    snapshot = freeze(workspace.store)
    run = train(workspace, tiny, snapshot)
    folder = workspace.data / "snapshots" / snapshot.id
    folder.rename(folder.with_name("elsewhere"))
    ((one,),) = (part.ran for part in story(workspace))
    assert one.run.run == run
    assert "There is no snapshot" in one.trouble
    with pytest.raises(NotFound):
        lineage.verify(workspace.data, run)


def test_stored_prompts_are_answered_by_who_has_not_yet(workspace: Any) -> None:
    """Not those of duels, not those left out, and in another order in the next round."""
    made = stock(workspace.store, 40)
    with pytest.raises(BadInput, match="the base has answered every stored prompt"):
        rounds.unanswered(workspace.store, "", 5)
    mine = answered(workspace.store, "Mine", "generated:1", adapter="r-1")
    exclude(workspace.store, "prompt", made[0].prompt, reason="private", by="Ada")
    found = rounds.unanswered(workspace.store, "r-1", 100)
    ids = {Prompt.id_of(messages) for messages in found}
    clusters = {row.id: row.cluster for row in workspace.store.rows(Prompt)}
    wanted = {id for id, cluster in clusters.items() if split_of(cluster) != "duel"}
    assert ids == wanted - {made[0].prompt, mine.prompt}
    assert len(rounds.unanswered(workspace.store, "r-1", 3)) == 3
    brought = answered(workspace.store, "Brought", "import:votes.csv")
    left = {Prompt.id_of(messages) for messages in rounds.unanswered(workspace.store, "", 5)}
    assert left == {one.prompt for one in (mine, brought) if split_of(one.prompt) != "duel"}
    assert brought.prompt in left
    with pytest.raises(BadInput, match="at least 1"):
        rounds.unanswered(workspace.store, "r-1", 0)
