"""Duels from the first answer to the count: which prompts, which sides, which votes."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align import duelling
from align.duelling import Duel
from align.manifest import write_manifest
from align.wire import Row
from feedback.campaigns import default_campaign
from feedback.curation import exclude
from feedback.frozen import split_of
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.snapshots import SnapshotSettings, preview
from storage.errors import BadInput, NotFound
from storage.records import Assignment, Comparison, Labeler, Response, Vote
from storage.store import Store

DUEL = Duel("r-1")


class Worker:
    """Answers at once: the base at length, the adapter briefly, unless `say` says otherwise."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.say = lambda request: "Brief." if request.adapter else "A longer answer, by far."

    def generate(self, requests: Sequence[Any], *, model: Any, cancelled: Any) -> list[Row]:
        self.asked += requests
        return [Row(i, self.say(request), 5, True) for i, request in enumerate(requests)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as store:
        words = [" ".join(p) for p in itertools.permutations(("ash", "oak", "elm", "fir", "yew"))]
        add_prompts(store, [[{"role": "user", "content": f"{w} {w[::-1]}?"}] for w in words], "x")
        yield store


@pytest.fixture
def workspace(store: Store, tiny: Path) -> Any:
    for name in ("r-1", "r-2"):
        folder = store.data / "runs" / name
        (folder / "adapter").mkdir(parents=True)
        config = {"method": "dpo", "model": str(tiny), "model_name": "tiny", "run": name}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "status.json").write_text(json.dumps({"status": "done"}))
        write_manifest(folder / "adapter")
    return SimpleNamespace(data=store.data, store=store, client=Worker())


def begun(workspace: Any, prompts: int = 6, duel: Duel = DUEL) -> list[Comparison]:
    duelling.begin(workspace, duel, lambda line: None, prompts=prompts)
    return workspace.store.rows(Comparison, source=duel.source)


def vote(store: Store, comparison: Comparison, verdict: str, labeler: str = "Ada") -> str:
    id = str(uuid.uuid4())
    store.add([Labeler(labeler, "person")])
    campaign = default_campaign(store).id
    store.add([Assignment(id, campaign, labeler, comparison.id, "", "b", "plain", "screen")])
    store.append(Vote(id, id, 0, comparison.id, labeler, verdict))
    return id


def test_only_duel_prompts_are_answered_by_both_with_one_seed(workspace: Any) -> None:
    made = begun(workspace)
    assert len(made) == 6
    clusters = workspace.store.frame("prompts").set_index("prompt")["cluster"]
    assert {split_of(clusters[one.prompt]) for one in made} == {"duel"}
    asked = workspace.client.asked
    assert [one.adapter is None for one in asked] == [True, False] * 6
    assert all(one.seed == other.seed for one, other in zip(asked[::2], asked[1::2], strict=True))
    answers = {one.id: one for one in workspace.store.rows(Response)}
    assert {answers[one.a].adapter for one in made} == {""}
    assert {answers[one.b].adapter for one in made} == {"r-1"}


def test_begun_again_it_answers_only_what_is_missing(workspace: Any) -> None:
    begun(workspace, 3)
    workspace.client.asked.clear()
    assert len(begun(workspace, 5)) == 5
    assert len(workspace.client.asked) == 4
    assert len(begun(workspace, 5)) == 5
    assert len(workspace.client.asked) == 4


def test_a_stopped_job_keeps_whole_parts_alone(workspace: Any) -> None:
    answered = workspace.client.generate
    workspace.client.generate = lambda requests, **more: answered(requests, **more)[:-1]
    assert begun(workspace) == []


def test_the_votes_count_from_the_side_of_the_model_after(workspace: Any) -> None:
    """Of six: two for it, one against, one tie, one judged by two who disagree, one waiting."""
    made, store = begun(workspace), workspace.store
    for comparison, verdict in zip(made, ("b", "b", "a", "both_bad"), strict=False):
        vote(store, comparison, verdict)
    vote(store, made[4], "b")
    vote(store, made[4], "a", "Eve")
    vote(store, made[5], "skip")
    stands = duelling.standing(store, DUEL)
    found = stands.outcome
    assert (found.wins, found.losses, found.ties, found.rate) == (2, 1, 2, 0.6)
    assert (stands.prompts, stands.judged, stands.waiting, stands.identical) == (6, 5, 1, 0)


def test_what_is_left_out_does_not_count(workspace: Any) -> None:
    made, store = begun(workspace), workspace.store
    vote(store, made[0], "b", "Eve")
    exclude(store, "labeler", "Eve", reason="bought", by="lead")
    assert duelling.standing(store, DUEL).judged == 0


def test_the_same_answer_is_a_tie_and_an_empty_one_loses(workspace: Any) -> None:
    """Nobody is asked about either."""
    said = iter(["same", "same", "", "something", "something", "", "one", "other"])
    workspace.client.say = lambda request: next(said)
    begun(workspace, 4)
    stands = duelling.standing(workspace.store, DUEL)
    found = stands.outcome
    assert (found.wins, found.losses, found.ties) == (1, 1, 1)
    assert (stands.identical, stands.waiting) == (1, 1)


def test_duels_come_before_everything_else_on_the_label_screen(workspace: Any) -> None:
    store = workspace.store
    prompt = store.frame("prompts")["prompt"][0]
    rows = [NewResponse(prompt, text, "m") for text in ("older", "another")]
    add_comparisons(store, [tuple(add_responses(store, rows))], "import:x")  # type: ignore[list-item]
    made = {one.id for one in begun(workspace, 3)}
    params = {"overlap": 1, "lease_minutes": 30, "shared": 0.0}
    frame = store.frame("open_comparisons", labeler="Ada", limit=10, **params)
    assert set(frame["comparison"][:3]) == made
    assert len(frame) == 4


def test_their_votes_never_train(workspace: Any) -> None:
    for one in begun(workspace):
        vote(workspace.store, one, "b")
    counts = preview(workspace.store, SnapshotSettings())
    assert counts["pairs"] == {"all": 6, "train": 0, "held_out": 0, "duel": 6}


def test_a_run_is_compared_with_another_one(workspace: Any) -> None:
    duel = Duel("r-1", "r-2")
    made = begun(workspace, 2, duel)
    answers = {one.id: one for one in workspace.store.rows(Response)}
    assert {(answers[one.a].adapter, answers[one.b].adapter) for one in made} == {("r-2", "r-1")}
    assert len(begun(workspace, 2)) == 2  # the one against the base is another duel
    assert duelling.standing(workspace.store, duel).prompts == 2


@pytest.mark.parametrize(
    ("duel", "error", "words"),
    [
        (Duel("r-1", "r-1"), BadInput, "against itself says nothing"),
        (Duel("r-9"), NotFound, "r-9"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    workspace: Any, duel: Duel, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        begun(workspace, 2, duel)


def test_without_a_duel_prompt_it_says_what_to_do(workspace: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path / "bare") as bare:
        alone = SimpleNamespace(data=workspace.data, store=bare, client=workspace.client)
        with pytest.raises(BadInput, match="no duel prompts yet"):
            duelling.begin(alone, DUEL, lambda line: None)
