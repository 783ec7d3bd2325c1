"""What stands around the two streams: prompts, order, pieces put together."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align import comparing, runs, sides
from align.manifest import write_manifest
from align.openai_client import Reply
from align.wire import Piece
from feedback.items import add_prompts
from feedback.snapshots import split_of
from storage.errors import BadInput, NotFound
from storage.records import Prompt
from storage.store import Store

TURNS = [
    {"role": "user", "content": "Name a river."},
    {"role": "assistant", "content": "The Rhine."},
    {"role": "user", "content": "And a mountain?"},
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as store:
        words = [" ".join(p) for p in itertools.permutations(("ash", "oak", "elm", "fir"))]
        add_prompts(store, [[{"role": "user", "content": f"{w} {w[::-1]}?"}] for w in words], "x")
        yield store


class Worker:
    """Answers as the worker does: pieces of both rows by turns, the second one shorter."""

    def stream_each(self, requests: Any, *, model: Any = None) -> Iterator[Piece]:
        self.asked = requests
        assert requests[0].adapter is None
        yield Piece(0, "One", 1, False, False)
        yield Piece(1, "Two", 1, True, True)
        yield Piece(0, "One, and", 2, True, False)


@pytest.fixture
def workspace(store: Store) -> Any:
    folder = store.data / "runs" / "r-1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"method": "dpo", "model_name": "tiny"}))
    (folder / "status.json").write_text(json.dumps({"status": "done"}))
    write_manifest(folder / "adapter")
    return SimpleNamespace(data=store.data, store=store, client=Worker())


def test_only_prompts_that_no_run_trains_on_are_offered(store: Store) -> None:
    offered = [key for _, key in comparing.held_out_prompts(store)]
    held_out = {row.id for row in store.rows(Prompt) if split_of(row.cluster) == "held_out"}
    assert set(offered) == held_out


def test_a_held_out_conversation_counts_until_its_text_is_changed(store: Store) -> None:
    key = add_prompts(store, [TURNS], "x")[0].id
    assert comparing.messages_of(store, key, "And a mountain? ") == TURNS
    assert comparing.messages_of(store, key, "") == TURNS
    assert comparing.messages_of(store, key, "Other") == [{"role": "user", "content": "Other"}]
    assert comparing.messages_of(store, None, "  ") == []
    with pytest.raises(NotFound, match="p_gone"):
        comparing.messages_of(store, "p_gone", "x")


def test_blind_shuffles_and_open_does_not() -> None:
    rng = random.Random(0)
    assert {comparing.order(True, rng) for _ in range(50)} == {(0, 1), (1, 0)}
    assert {comparing.order(False, rng) for _ in range(50)} == {(0, 1)}


def test_pieces_grow_into_two_answers_with_a_time_each(workspace: Any) -> None:
    """The clock says 0 at the start, 1 when the second ends, 2 when the first does."""
    ticks = iter([0.0, 1.0, 2.0])
    settings = {"seed": 0, "temperature": 0.0, "max_tokens": 2, "clock": lambda: next(ticks)}
    chosen = sides.choose(workspace.data, "base", "r-1")
    pairs = list(comparing.stream(workspace, chosen, (TURNS, TURNS), **settings))
    before, after = pairs[-1].answers
    assert [len(pairs), before.text, after.text] == [3, "One, and", "Two"]
    assert [before.seconds, after.seconds] == [2.0, 1.0]
    assert comparing.facts(before, 9.0) == "2 tokens · 8 characters · 2.0 s · cut at the limit"


def test_what_is_missing_is_named(workspace: Any) -> None:
    settings = {"seed": 0, "temperature": 0.0, "max_tokens": 2}
    with pytest.raises(BadInput, match="No run"):
        sides.choose(workspace.data, "base", None)
    with pytest.raises(BadInput, match="prompt is empty"):
        comparing.stream(
            workspace, sides.choose(workspace.data, "base", "r-1"), ([], []), **settings
        )
    with pytest.raises(NotFound, match="r-none"):
        sides.choose(workspace.data, "base", "r-none")


def test_each_side_goes_on_from_its_own_answer(workspace: Any) -> None:
    chosen = sides.choose(workspace.data, "base", "r-1")
    turns = [comparing.conversation(TURNS, said, "Higher?") for said in ("The Rigi.", "Zugspitze!")]
    list(comparing.stream(workspace, chosen, turns, seed=3, temperature=0.5, max_tokens=9))
    said = [[message["content"] for message in one.messages] for one in workspace.client.asked]
    assert said[0][2:] == ["And a mountain?", "The Rigi.", "Higher?"]
    assert said[1][2:] == ["And a mountain?", "Zugspitze!", "Higher?"]
    assert [one.seed for one in workspace.client.asked] == [3, 3]
    with pytest.raises(BadInput, match="follow-up is empty"):
        comparing.conversation(TURNS, "x", "  ")


def test_an_endpoint_stands_beside_a_local_one(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are read at once; the sampling is what the client of endpoints sends: no top_p."""
    asked = []

    def far(endpoint: Any, messages: Any, **settings: Any) -> Iterator[Reply]:
        asked.append((endpoint.name, messages, settings["max_tokens"], settings["seed"]))
        yield Reply("Thr", False, None)
        yield Reply("Three", False, None)

    monkeypatch.setattr(comparing.openai_client, "stream", far)
    monkeypatch.setattr(sides, "usual_base", lambda data: None)
    chosen = sides.choose(workspace.data, "base", "http://127.0.0.1:8000/v1#big")
    assert chosen.titles == ("The base", "big @ 127.0.0.1:8000")
    settings = {"seed": 0, "temperature": 0.0, "max_tokens": 2}
    worker = [Piece(0, "One", 1, True, True)]
    workspace.client = SimpleNamespace(
        stream_each=lambda requests, model: iter_of(requests, worker)
    )
    pair = list(comparing.stream(workspace, chosen, (TURNS, TURNS), **settings))[-1]
    assert [one.text for one in pair.answers] == ["One", "Three"]
    assert pair.answers[1].finished is False
    assert comparing.told_tokens(pair.answers[1]) is None
    assert asked == [("big @ 127.0.0.1:8000", TURNS, 2, 0)]


def iter_of(requests: Any, pieces: list[Piece]) -> Iterator[Piece]:
    assert [one.top_p for one in requests] == [1.0]
    yield from pieces


def test_only_finished_runs_are_offered_and_no_training_is_no_wait(workspace: Any) -> None:
    (workspace.data / "runs" / "r-2").mkdir()
    (workspace.data / "runs" / "r-2" / "config.json").write_text("{}")
    assert len(runs.list_runs(workspace.data)) == 2
    assert comparing.finished_runs(workspace.data) == [("r-1 · DPO · tiny", "r-1")]
    assert comparing.waiting(workspace.data) is None


@pytest.mark.parametrize(
    ("current", "by", "expected"),
    [
        ("", 1, ("What is tea?", 1, 2)),
        ("", -1, ("What is rain?", 2, 2)),
        ("What is tea? ", 1, ("What is rain?", 2, 2)),
        ("What is rain?", 1, ("What is tea?", 1, 2)),
        ("What is tea?", -1, ("What is rain?", 2, 2)),
    ],
)
def test_a_list_is_gone_through_and_begins_anew(
    current: str, by: int, expected: tuple[str, int, int]
) -> None:
    listed = "What is tea?\r\n\n  What is rain?\n"
    assert comparing.step_through(listed, current, by) == expected


def test_a_prompt_that_is_listed_twice_does_not_hold_up_the_rest() -> None:
    seen, current = [], ""
    for _ in range(3):
        current, _, count = comparing.step_through("A?\nB?\nA?\nC?", current, 1)
        seen.append(current)
    assert (seen, count) == (["A?", "B?", "C?"], 3)


def test_an_empty_list_says_what_to_put_there() -> None:
    with pytest.raises(BadInput, match="one a line"):
        comparing.step_through(" \n", "What?", 1)
