"""Scoring what is compared: which answers, kept once, going on where it was cut off."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from align import scoring, workspace
from align.client import ScoreRequest, WorkerClient
from align.models import EMBEDDED
from align.scoring import score_compared, unscored, usual_model
from align.wire import Score as Scored
from align.workspace import Workspace
from feedback.assignments import serve_items
from feedback.curation import exclude
from feedback.quality import gather
from storage.errors import NotFound
from storage.records import Assignment, Comparison, Vote
from storage.store import Store
from tests.feedback.stock import (
    comparison_records,
    fill,
    prompt_records,
    response_records,
    stock,
)

MADE = "00000000-0000-4000-8000-{:012}"


class FakeClient:
    """Finds every answer as likely as it is told, else by its length; fails after `most` jobs."""

    def __init__(
        self,
        most: int = 1_000,
        likely: Callable[[ScoreRequest], float] = lambda r: -float(len(r.response)),
    ) -> None:
        self.asked: list[ScoreRequest] = []
        self.left = most
        self.likely = likely

    def score(self, requests, *, model=None):
        if not self.left:
            raise ConnectionError("the worker was killed")
        self.left -= 1
        self.asked += requests
        return [Scored(i, self.likely(r), 3) for i, r in enumerate(requests)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Six comparisons; the first four were judged."""
    with Store.open(tmp_path / "data") as opened:
        pairs = stock(opened, 6)
        for number, pair in enumerate(pairs[:4]):
            judge(opened, number, pair)
        yield opened


def judge(store: Store, number: int, pair: Comparison) -> None:
    """Cast Ada's vote number so and so."""
    place = Assignment(MADE.format(number), "default", "ada", pair.id, "", "a", "plain", "api")
    store.add([place])
    store.append(Vote(MADE.format(100 + number), place.id, 0, pair.id, "ada", "a"))


def test_the_answers_of_comparisons_are_scored_once(store: Store, tiny: Path):
    """Six comparisons have twelve answers."""
    client = FakeClient()
    told: list[str] = []
    first = score_compared(store, client, model=str(tiny), progress=told.append)
    assert first == {"model": str(tiny), "adapter": "", "scored": 12, "left": 0}
    assert told == ["12 of 12 answers scored"]
    again = score_compared(store, client, model=str(tiny))
    assert (again["scored"], len(client.asked)) == (0, 12)
    frame = store.frame("scores")
    assert len(frame) == 12
    assert set(frame["tokens"]) == {3}
    texts = {request.response for request in client.asked}
    assert sorted(-frame["logprob"]) == sorted(len(text) for text in texts for _ in [0])
    assert all(request.messages[0]["content"].startswith("Question") for request in client.asked)


def test_judged_comparisons_are_scored_before_open_ones_and_of_these_the_newest_first(
    store: Store, tiny: Path
):
    """Of six the first four were judged; of the other two, number 5 is newer than number 4."""
    made = store.rows(Comparison, order="id")
    order = [made[number] for number in (0, 1, 2, 3, 5, 4)]
    assert unscored(store, str(tiny), "") == [id for pair in order for id in (pair.a, pair.b)]
    client = FakeClient()
    assert score_compared(store, client, model=str(tiny), limit=10)["left"] == 2
    assert "Question 4, please?" not in {one.messages[0]["content"] for one in client.asked}


def test_what_nobody_will_judge_is_not_scored(store: Store, tiny: Path):
    """Of the open comparisons number 4 is excluded: its two answers are left out of the twelve."""
    exclude(store, "comparison", "c_00004", reason="broken", by="lead")
    assert score_compared(store, FakeClient(), model=str(tiny))["scored"] == 10


def test_of_two_open_comparisons_the_one_with_the_smaller_margin_is_served_first(
    tmp_path: Path, tiny: Path
):
    """The base gives every answer -10 nats. The run's adapter adds 5 and -1 to the older pair's
    answers and 1 and 2 to the newer pair's: margins |5 - -1| = 6 and |1 - 2| = 1. Before they are
    scored the older one comes first; with the base alone there is no margin.
    """
    gains = {"A 0": 5.0, "B 0": -1.0, "A 1": 1.0, "B 1": 2.0}
    client = FakeClient(likely=lambda r: -10 + (gains[r.response] if r.adapter else 0))
    run = tmp_path / "data" / "runs" / "r-1"
    run.mkdir(parents=True)
    run.joinpath("config.json").write_text(json.dumps({"model": str(tiny)}))
    with Store.open(tmp_path / "data") as store:
        fill(store, [("A 0", "B 0"), ("A 1", "B 1")])

        def margins() -> list[tuple[str, float | None]]:
            frame = store.frame("open_comparisons", labeler="eve")
            return [*frame[["comparison", "margin"]].itertuples(index=False, name=None)]

        score_compared(store, client, model=str(tiny))
        assert [id for id, _ in margins()] == ["c_00000", "c_00001"]
        score_compared(store, client, adapter="r-1")
        assert margins() == [("c_00001", 1.0), ("c_00000", 6.0)]
        (item,) = serve_items(store, "ada", "pairs", 1, random.Random(0))
        assert {item.left, item.right} == {"A 1", "B 1"}


def test_a_limit_leaves_the_rest_for_later(store: Store, tiny: Path):
    client = FakeClient()
    assert score_compared(store, client, model=str(tiny), limit=5)["left"] == 7
    assert score_compared(store, client, model=str(tiny), limit=5)["left"] == 2
    assert score_compared(store, client, model=str(tiny), limit=5)["scored"] == 2


def test_a_scoring_that_was_cut_off_goes_on_where_it_was(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    """With two to a batch, the worker dies at the third: four are kept, eight are left."""
    monkeypatch.setattr(scoring, "BATCH", 2)
    with pytest.raises(ConnectionError):
        score_compared(store, FakeClient(most=2), model=str(tiny))
    assert len(unscored(store, str(tiny), "")) == 8
    assert score_compared(store, FakeClient(), model=str(tiny))["scored"] == 8


def test_only_of_an_answer_known_to_be_cut_off_is_no_end_asked(tmp_path: Path, tiny: Path):
    """Cut off, of unknown end, ended: the first alone is scored without its end of turn."""
    client = FakeClient()
    with Store.open(tmp_path / "cut") as store:
        for number, ended in enumerate([(False, None), (True, True)]):
            pair, records = comparison_records(number, f"A {number}", f"B {number}", ended)
            store.add(records)
            judge(store, number, pair)
        score_compared(store, client, model=str(tiny))
    asked = {request.response: request.finished for request in client.asked}
    assert asked == {"A 0": False, "B 0": True, "A 1": True, "B 1": True}


def test_another_models_scores_are_its_own(store: Store, tiny: Path):
    score_compared(store, FakeClient(), model=str(tiny))
    assert unscored(store, str(tiny), "") == []
    assert len(unscored(store, str(tiny), "r-1")) == 12


def test_a_screens_workspace_scores_a_part_with_the_model_that_answered_most(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two of three answers are of the tiny model: it scores, two at a press, and goes on."""
    monkeypatch.setattr(workspace, "SCORED_AT_ONCE", 2)
    prompt, records = prompt_records(0)
    models = {"One": str(tiny), "Two": str(tiny), "Three": "model-of-another-machine"}
    made = [response_records(prompt, text, model) for text, model in models.items()]
    a, b, c = (response.id for response, _ in made)
    pairs = [Comparison(f"c_{n}", prompt.id, a, other, "api") for n, other in enumerate((b, c))]
    with Workspace.open(tmp_path / "data") as opened:
        opened.store.add([*records, *(one for _, some in made for one in some), *pairs])
        stubbed = dataclasses.replace(opened, client=FakeClient())
        told: list[str] = []
        first, second = stubbed.score(told.append), stubbed.score(told.append)
    assert first == {"model": str(tiny), "adapter": "", "scored": 2, "left": 1}
    assert second == {"model": str(tiny), "adapter": "", "scored": 1, "left": 0}
    assert told == ["2 of 2 answers scored", "1 of 1 answers scored"]


def test_where_the_model_that_answered_is_not_here_the_embedded_one_scores(store: Store):
    assert usual_model(store) == EMBEDDED


def test_a_run_that_is_not_there_is_refused(store: Store):
    with pytest.raises(NotFound, match="r-none"):
        score_compared(store, FakeClient(), adapter="r-none")


def test_the_worker_scores_and_the_checks_read_it(store: Store, tiny: Path):
    """A log-probability is negative, and a byte is a token: an answer's, and the end of turn."""
    client = WorkerClient(store.data, precision="fp32")
    try:
        done = score_compared(store, client, model=str(tiny), limit=2)
    finally:
        client.leave()
    assert done["scored"] == 2
    scores = gather(store).scores
    assert (scores["logprob"] < 0).all()
    assert (scores["tokens"] > 5).all()
