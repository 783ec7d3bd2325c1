"""A pair from the data under the eyes of a run: which, what people said, whether the run agrees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from align import opened
from align.implicit import Reward
from align.opened import Said, Seen
from feedback.snapshots import split_of
from storage.errors import BadInput, NotFound
from storage.records import Comparison, Prompt, Response
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    from feedback.simulate import simulate_votes

    with Store.open(tmp_path_factory.mktemp("opened")) as opened_store:
        stock(opened_store, 60)
        simulate_votes(opened_store, 50, prefer="shorter", noise=0.0)
        yield opened_store


def seen(chosen: Reward, rejected: Reward) -> Seen:
    said = Said("c", ({"role": "user", "content": "?"},), ("a", "b"), (True, True), (1, 0), 0)
    return Seen(said, "r-1", (chosen, rejected))


def test_pairs_that_no_run_was_trained_on_come_first(store: Store) -> None:
    keys = [key for _, key in opened.offered(store)]
    rows = store.found(Comparison, keys)
    clusters = {one.id: one.cluster for one in store.rows(Prompt)}
    trained = [split_of(clusters[rows[key].prompt]) == "train" for key in keys]
    assert trained == sorted(trained)
    assert {True, False} == set(trained)
    assert [words.startswith("trained on · ") for words, _ in opened.offered(store)] == trained


def test_the_answer_with_more_votes_is_the_chosen_one(store: Store) -> None:
    """The simulated people prefer the shorter one, without an error."""
    for _, key in opened.offered(store)[:10]:
        said = opened.said_of(store, key)
        assert len(said.texts[0]) <= len(said.texts[1])
        assert said.votes[0] > said.votes[1]
        row = store.get(Comparison, key)
        assert row is not None
        texts = store.texts(one.text for one in store.found(Response, (row.a, row.b)).values())
        assert set(said.texts) == set(texts.values())


def test_a_comparison_without_a_preference_or_none_at_all_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match="c_gone"):
        opened.said_of(store, "c_gone")
    known = {key for _, key in opened.offered(store)}
    left = next(row.id for row in store.rows(Comparison) if row.id not in known)
    with pytest.raises(BadInput, match="0 votes for each"):
        opened.said_of(store, left)


def test_the_margin_is_the_difference_of_both_rewards() -> None:
    """0.1 · (3 + 1) − 0.1 · (−6) = 1.0; sigmoid(1) = 73 %."""
    found = seen(Reward(("a", "b"), (3.0, 1.0), 0.1), Reward(("c",), (-6.0,), 0.1))
    assert math.isclose(found.margin, 1.0)
    assert found.words() == (
        "r-1 agrees with people: it puts the chosen answer ahead by a reward of 1.00, which makes "
        "it 73 % sure."
    )


def test_a_method_without_a_reward_is_told_in_nats() -> None:
    found = seen(Reward(("a",), (1.0,), None), Reward(("b",), (2.5,), None))
    assert found.words().endswith(
        "disagrees with people: it puts the rejected answer ahead by 1.5 nats."
    )
    equal = seen(Reward(("a",), (1.0,), 0.1), Reward(("b",), (1.0,), 0.1))
    assert "equally good" in equal.words()


def test_both_answers_are_scored_as_they_ended(store: Store, monkeypatch: Any) -> None:
    asked = []

    def reward(workspace: Any, run: str, messages: Any, text: str, *, finished: bool) -> Reward:
        asked.append((run, messages[-1]["content"], text, finished))
        return Reward((text,), (1.0,), 0.1)

    monkeypatch.setattr(opened.implicit, "reward", reward)
    key = opened.offered(store)[0][1]
    said = opened.said_of(store, key)
    workspace = SimpleNamespace(store=store)
    opened.seen_by(workspace, "r-1", key)
    question = said.messages[-1]["content"]
    assert asked == [("r-1", question, said.texts[n], said.finished[n]) for n in (0, 1)]
    with pytest.raises(BadInput, match="No run was chosen"):
        opened.seen_by(workspace, None, key)
