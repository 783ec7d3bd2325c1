"""Scoring what was judged: which answers, kept once, going on where it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from align import scoring
from align.client import ScoreRequest, WorkerClient
from align.scoring import score_judged, unscored
from align.wire import Score as Scored
from feedback.quality import gather
from storage.errors import NotFound
from storage.records import Assignment, Comparison, Vote
from storage.store import Store
from tests.feedback.stock import comparison_records, stock

MADE = "00000000-0000-4000-8000-{:012}"


class FakeClient:
    """Finds every answer as likely as its length in characters says; fails after `most` jobs."""

    def __init__(self, most: int = 1_000) -> None:
        self.asked: list[ScoreRequest] = []
        self.left = most

    def score(self, requests, *, model=None):
        if not self.left:
            raise ConnectionError("the worker was killed")
        self.left -= 1
        self.asked += requests
        return [Scored(i, -float(len(r.response)), 3) for i, r in enumerate(requests)]


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


def test_the_answers_of_judged_comparisons_are_scored_once(store: Store, tiny: Path):
    """Four judged comparisons have eight answers; the other two comparisons' four are not asked."""
    client = FakeClient()
    told: list[str] = []
    first = score_judged(store, client, model=str(tiny), progress=told.append)
    assert first == {"model": str(tiny), "adapter": "", "scored": 8, "left": 0}
    assert told == ["8 of 8 answers scored"]
    again = score_judged(store, client, model=str(tiny))
    assert (again["scored"], len(client.asked)) == (0, 8)
    frame = store.frame("scores")
    assert len(frame) == 8
    assert set(frame["tokens"]) == {3}
    texts = {request.response for request in client.asked}
    assert sorted(-frame["logprob"]) == sorted(len(text) for text in texts for _ in [0])
    assert all(request.messages[0]["content"].startswith("Question") for request in client.asked)


def test_a_limit_leaves_the_rest_for_later(store: Store, tiny: Path):
    client = FakeClient()
    assert score_judged(store, client, model=str(tiny), limit=3)["left"] == 5
    assert score_judged(store, client, model=str(tiny), limit=3)["left"] == 2
    assert score_judged(store, client, model=str(tiny), limit=3)["scored"] == 2


def test_a_scoring_that_was_cut_off_goes_on_where_it_was(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    """With two to a batch, the worker dies at the third: four are kept, four are left."""
    monkeypatch.setattr(scoring, "BATCH", 2)
    with pytest.raises(ConnectionError):
        score_judged(store, FakeClient(most=2), model=str(tiny))
    assert len(unscored(store, str(tiny), "")) == 4
    assert score_judged(store, FakeClient(), model=str(tiny))["scored"] == 4


def test_only_of_an_answer_known_to_be_cut_off_is_no_end_asked(tmp_path: Path, tiny: Path):
    """Cut off, of unknown end, ended: the first alone is scored without its end of turn."""
    client = FakeClient()
    with Store.open(tmp_path / "cut") as store:
        for number, ended in enumerate([(False, None), (True, True)]):
            pair, records = comparison_records(number, f"A {number}", f"B {number}", ended)
            store.add(records)
            judge(store, number, pair)
        score_judged(store, client, model=str(tiny))
    asked = {request.response: request.finished for request in client.asked}
    assert asked == {"A 0": False, "B 0": True, "A 1": True, "B 1": True}


def test_another_models_scores_are_its_own(store: Store, tiny: Path):
    score_judged(store, FakeClient(), model=str(tiny))
    assert unscored(store, str(tiny), "") == []
    assert len(unscored(store, str(tiny), "r-1")) == 8


def test_a_run_that_is_not_there_is_refused(store: Store):
    with pytest.raises(NotFound, match="r-none"):
        score_judged(store, FakeClient(), adapter="r-none")


def test_the_worker_scores_and_the_checks_read_it(store: Store, tiny: Path):
    """A log-probability is negative, and a byte is a token: an answer's, and the end of turn."""
    client = WorkerClient(store.data, precision="fp32")
    try:
        done = score_judged(store, client, model=str(tiny), limit=2)
    finally:
        client.leave()
    assert done["scored"] == 2
    scores = gather(store).scores
    assert (scores["logprob"] < 0).all()
    assert (scores["tokens"] > 5).all()
