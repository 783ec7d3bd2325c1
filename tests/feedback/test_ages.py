"""Rounds: who answers after which decisions, and of which round an answer is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback import ages
from feedback.assignments import serve_items
from feedback.frozen import split_of
from feedback.selection import SnapshotSettings, select
from feedback.snapshots import freeze, load
from storage.records import Edit, Promotion, Prompt, Response, Text
from storage.store import Store
from tests.feedback.stock import say, stock

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


@pytest.mark.parametrize(
    ("decided", "line"),
    [
        ("", [""]),
        ("a", ["", "a"]),
        ("ab", ["", "a", "b"]),
        ("aba", ["", "a"]),  # back to a: the next step back is the base
        ("abab", ["", "a", "b"]),
        ("ab-", [""]),
        ("abcb", ["", "a", "b"]),
    ],
)
def test_going_back_takes_out_what_came_after(decided: str, line: list[str]) -> None:
    made = [Promotion(str(n), run.strip("-"), {}, "", "Ada") for n, run in enumerate(decided)]
    assert ages.line_of_succession(made) == line


def test_a_moment_belongs_to_the_round_that_has_begun() -> None:
    began = [START, START + timedelta(hours=1)]
    moments = [START - timedelta(seconds=1), START, began[1] - timedelta(seconds=1), began[1]]
    assert [ages.round_of(began, one) for one in moments] == [0, 1, 1, 2]


def test_before_any_promotion_the_base_answers_and_nothing_has_an_age(store: Store) -> None:
    stock(store, 2)
    assert ages.sampler(store) == ""
    assert ages.rounds_of_responses(store) == {}


def test_a_snapshot_says_of_which_round_its_rows_are(store: Store) -> None:
    first = stock(store, 20)
    for one in first:
        say(store, one.id, "a")
    before = freeze(store)
    promoted = Promotion("p1", "r-1", {}, "", "Ada")
    store.add([promoted])
    assert freeze(store).id == before.id  # no row of round 0 says anything new
    second = stock(store, 30)[20:]
    for one in second:
        say(store, one.id, "a")
    frozen = load(store.data / "snapshots" / freeze(store).id)
    old, new = (sum(split_of(one.prompt) == "train" for one in part) for part in (first, second))
    assert frozen.manifest["counts"]["rounds"] == {
        "pairs": {"0": old, "1": new},
        "labels": {"0": 2 * old, "1": 2 * new},
    }
    made = {row.id: row.created_at for row in store.rows(Response)}
    for row in frozen.pairs():
        assert row.get("round", 0) == int(made[row["chosen_id"]] >= promoted.created_at)
    assert sorted(row.get("round", 0) for row in frozen.labels()) == [0] * 40 + [1] * 20


def test_the_pair_of_a_correction_is_of_the_round_of_what_was_corrected(store: Store) -> None:
    one = next(one for one in stock(store, 5) if split_of(one.prompt) == "train")
    assignment = say(store, one.id, "tie")
    store.add([Promotion("p1", "r-1", {}, "", "Ada")])
    text = Text.of("What it should have been.")
    better = Response("r_better", one.prompt, text.id, "human", "", {}, None, True, "edit")
    store.add([text, better])
    store.append(Edit("e1", assignment, 0, one.a, better.id, "Ada"))
    counts = select(store, SnapshotSettings()).counts()
    assert counts["rounds"] == {"pairs": {"0": 1}, "labels": {"0": 1, "1": 1}}


def test_this_round_s_comparisons_are_asked_before_older_ones(store: Store) -> None:
    stock(store, 3)
    store.add([Promotion("p1", "r-1", {}, "", "Ada")])
    fresh = {one.prompt for one in stock(store, 5)[3:]}
    served = serve_items(store, "Ada", "pairs", 5, random.Random(1))
    assert len(served) == 5
    assert {Prompt.id_of(one.prompt) for one in served[:2]} == fresh
