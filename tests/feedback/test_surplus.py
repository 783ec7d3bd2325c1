"""A person's further votes on one comparison: which they are, and that they count in no pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback.curation import contradicting, judged_once
from feedback.imports import import_file
from feedback.live import live_feedback, preferences_of
from feedback.selection import SnapshotSettings, select
from feedback.surplus import among_several, surplus
from storage.store import Store
from tests.feedback.people import columns, vote

AGAIN = "further votes of a person on one comparison (the first counts)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def bring_in(store: Store, folder: Path, *said: tuple[str, str, str]) -> None:
    """Import votes of (labeler, verdict, time of day) on one comparison of Yes. with No."""
    common = {"prompt": "Is it?", "response_a": "Yes.", "response_b": "No.", "left": ""}
    names = {"model_a": "m", "model_b": "n", "comparison": "c1"}
    rows: list[dict[str, Any]] = [
        {**common, **names, "labeler": who, "verdict": verdict, "created_at": f"2026-11-23T{at}Z"}
        for who, verdict, at in said
    ]
    file = folder / "votes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert import_file(store, file)["stored"] == len(rows)


def repeated(*votes: dict[str, Any]) -> tuple[list[str], list[str]]:
    frame = columns(list(votes)).votes
    return frame["vote"][among_several(frame)].tolist(), frame["vote"][surplus(frame)].tolist()


def test_the_first_of_a_persons_votes_in_time_is_none_whatever_the_order_of_the_rows():
    """v0 is given at second 200, v1 at 100: v1 is the first. Bob has one vote, Ann one on c2."""
    votes = [vote("ann", "c1", "a", second=200), vote("ann", "c1", "b", second=100)]
    votes += [vote("bob", "c1", "a"), vote("ann", "c2", "a")]
    assert repeated(*votes) == (["v0", "v1"], ["v0"])


def test_of_votes_of_one_moment_the_smallest_id_is_the_first():
    votes = [vote("ann", "c1", verdict, second=0) for verdict in ("a", "b", "tie")]
    assert repeated(*votes) == (["v0", "v1", "v2"], ["v1", "v2"])


def test_skips_and_silent_repeats_are_no_further_votes():
    """The skip said nothing, so v1 is the first verdict; the repeat was asked for."""
    votes = [vote("ann", "c1", "skip"), vote("ann", "c1", "a")]
    votes += [vote("ann", "c1", "b", kind="repeat")]
    assert repeated(*votes) == ([], [])


@pytest.mark.parametrize("name", ["imported", "Anonymous", "crowd"])
def test_a_name_that_stands_for_many_repeats_nobody(name: str):
    assert repeated(vote(name, "c1", "a"), vote(name, "c1", "a")) == ([], [])


def test_names_as_codes_give_the_same():
    frame = columns([vote("ann", "c1", "a"), vote("ann", "c1", "b"), vote("bob", "c1", "a")]).votes
    for name in ("labeler", "comparison", "verdict", "kind"):
        frame[name] = frame[name].astype("category")
    assert surplus(frame).tolist() == [False, True, False]


def test_who_votes_twice_counts_once_in_a_pair(store: Store, tmp_path: Path):
    """Ann says a, then b twice; Bob a; Cy b. By person: a, a, b: a wins with 2 of 3. By votes it
    would have been 2 to 3."""
    bring_in(store, tmp_path, ("ann", "a", "10:00"), ("ann", "b", "11:00"), ("ann", "b", "12:00"),
             ("bob", "a", "10:05"), ("cy", "b", "10:06"))  # fmt: skip
    found = preferences_of(store, live_feedback(store))
    (pair,) = found.pairs
    assert (pair.p_chosen, len(pair.votes_for), len(pair.votes_against)) == (2 / 3, 2, 1)
    assert found.dropped == {AGAIN: 2}
    weighed = select(store, SnapshotSettings(weigh_labelers=True, cap_labeler=1.0))
    assert sum(weighed.sources.values()) == 3


def test_many_people_under_one_name_are_all_counted(store: Store, tmp_path: Path):
    votes = (("imported", "a", "10:00"), ("imported", "b", "10:01"), ("imported", "b", "10:02"))
    bring_in(store, tmp_path, *votes)
    found = preferences_of(store, live_feedback(store))
    (pair,) = found.pairs
    assert (pair.p_chosen, len(pair.votes_for), len(pair.votes_against)) == (2 / 3, 2, 1)
    assert found.dropped == {}


def test_a_person_alone_neither_contradicts_nor_makes_a_second_judge(store: Store, tmp_path: Path):
    bring_in(store, tmp_path, ("ann", "a", "10:00"), ("ann", "b", "11:00"))
    assert contradicting(store) == []
    assert judged_once(store) == ["c1"]
