"""Two snapshots compared: every way in which a row can come, go and change, and the word for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feedback.curation import exclude, include
from feedback.snapshot_diff import compare
from feedback.snapshots import SnapshotSettings, freeze, load
from storage.records import Assignment, Comparison, Vote
from storage.store import Store
from tests.feedback.stock import comparison_records, stock

AS_IT_IS = SnapshotSettings()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two comparisons; ada says a of each, which is the long answer of c_00000."""
    with Store.open(tmp_path / "data") as opened:
        for comparison in stock(opened, 2):
            vote(opened, comparison, "ada", "a")
        yield opened


def vote(store: Store, comparison: Comparison | str, labeler: str, verdict: str) -> Vote:
    id = str(uuid.uuid4())
    item = comparison if isinstance(comparison, str) else comparison.id
    store.add([Assignment(id, "default", labeler, item, "", "a", "plain", "api")])
    made = Vote(id, id, 0, item, labeler, verdict, source="api")
    store.append(made)
    return made


def more(store: Store, texts: list[tuple[str, str]]) -> list[Comparison]:
    """Add comparisons beside those of the fixture."""
    made = [comparison_records(100 + number, a, b) for number, (a, b) in enumerate(texts)]
    store.add([record for _, records in made for record in records])
    return [comparison for comparison, _ in made]


def revise(store: Store, vote: Vote, verdict: str) -> None:
    again = replace(vote, id=str(uuid.uuid4()), revision=vote.revision + 1, verdict=verdict)
    store.append(Vote(again.id, again.assignment, again.revision, again.comparison, again.labeler,
                      verdict, source="api"))  # fmt: skip


def diff(
    store: Store,
    change: Callable[[], object],
    before: SnapshotSettings = AS_IT_IS,
    after: SnapshotSettings = AS_IT_IS,
) -> dict:
    first = freeze(store, before).id
    change()
    second = freeze(store, after).id
    folder = store.data / "snapshots"
    return compare(store, load(folder / first), load(folder / second))


def pairs(found: dict) -> list[tuple[str, list[str]]]:
    return [(one["what"], one["why"]) for one in found["changes"] if one["kind"] == "pair"]


def labels(found: dict) -> list[tuple[str, list[str]]]:
    return [(one["what"], one["why"]) for one in found["changes"] if one["kind"] == "label"]


def test_a_snapshot_differs_in_nothing_from_itself(store: Store):
    found = diff(store, lambda: None)
    assert found["before"] == found["after"]
    assert (found["changes"], found["why"], found["settings"]) == ([], [], {})
    assert found["pairs"] == {"before": 2, "after": 2, "came": 0, "went": 0, "changed": 0}
    assert {one["moved"] for one in found["checks"]} == {False}


def test_a_new_vote_brings_a_pair_and_two_labels(store: Store):
    (comparison,) = more(store, [("One.", "Another.")])
    found = diff(store, lambda: vote(store, comparison, "bob", "b"))
    assert pairs(found) == [("came", ["new vote by bob"])]
    assert labels(found) == [("came", ["new vote by bob"])] * 2
    assert found["pairs"] == {"before": 2, "after": 3, "came": 1, "went": 0, "changed": 0}
    assert found["why"] == [
        {"kind": "label", "what": "came", "why": "new vote by bob", "rows": 2},
        {"kind": "pair", "what": "came", "why": "new vote by bob", "rows": 1},
    ]


def test_a_vote_taken_back_takes_its_pair_along(store: Store):
    first = store.rows(Vote)[0]
    found = diff(store, lambda: revise(store, first, "undone"))
    assert pairs(found) == [("went", ["vote undone by ada"])]


def test_a_vote_that_was_changed_turns_its_pair(store: Store):
    first = store.rows(Vote)[0]
    found = diff(store, lambda: revise(store, first, "b"))
    why = ["decided the other way now", "vote changed by ada"]
    ((what, told),) = pairs(found)
    assert (what, told[:2]) == ("changed", why)
    assert [what for what, _ in labels(found)] == ["changed", "changed"]


def test_a_vote_that_agrees_or_contradicts_is_named(store: Store):
    """With cem's vote for it ada's pair has two votes; bob's against it makes one of two a tie."""
    first, second = store.rows(Vote, order="comparison")

    def change() -> None:
        vote(store, first.comparison, "cem", "a")
        vote(store, second.comparison, "bob", "b")

    found = diff(store, change)
    assert sorted(pairs(found)) == [
        ("changed", ["new vote by cem"]),
        ("went", ["new vote by bob"]),
    ]


def test_what_was_excluded_is_told_with_who_and_why(store: Store):
    prompt = store.frame("votes")["prompt"][0]
    found = diff(store, lambda: exclude(store, "prompt", prompt, reason="off topic", by="lead"))
    told = f"excluded by lead (prompt {prompt}: off topic)"
    assert pairs(found) == [("went", [told])]
    back = diff(store, lambda: include(store, "prompt", prompt, by="lead"))
    assert pairs(back) == [("came", [f"no longer {told}"])]


def test_excluding_who_contradicted_brings_the_pair_back(store: Store):
    """Bob's vote against ada's is a tie; without bob hers stands."""
    first = store.rows(Vote, order="comparison")[0]
    vote(store, first.comparison, "bob", "b")
    found = diff(store, lambda: exclude(store, "labeler", "bob", reason="bot", by="lead"))
    assert pairs(found) == [("came", ["excluded by lead (labeler bob: bot)"])]


def test_what_a_remedy_left_out_is_told_for_pairs_and_their_labels(store: Store):
    """Ada chose a longer and a shorter answer. A third pair with the longer one makes one of two
    go when lengths are balanced, with its two labels."""
    texts = [("A rather longer answer, number 9.", "Short 9.")]
    (comparison,) = more(store, texts)
    vote(store, comparison, "ada", "a")
    balanced = SnapshotSettings(balance_length=True)
    found = diff(store, lambda: None, after=balanced)
    assert pairs(found) == [("went", ["left out to balance lengths"])]
    assert labels(found) == [("went", ["left out with its pair (balanced)"])] * 2
    assert found["settings"] == {"balance_length": [False, True]}
    longer = {one["name"]: one for one in found["checks"]}["chosen_longer"]
    assert longer["before"]["value"] == pytest.approx(2 / 3)
    assert longer["after"]["value"] == 0.5
    assert longer["moved"] is False
    back = diff(store, lambda: None, before=balanced)
    assert pairs(back) == [("came", ["no longer left out to balance lengths"])]


def test_a_check_has_moved_when_its_intervals_part(store: Store):
    """Wilson of 0 of 20 ends at 0.16; of 40 of 60 it begins at 0.54."""
    texts = [(f"Short {i}.", f"A rather longer answer, number {i}.") for i in range(60)]
    comparisons = more(store, texts)
    for comparison in comparisons[:20]:
        vote(store, comparison, "bob", "a")
    exclude(store, "labeler", "ada", reason="practice", by="lead")
    found = diff(store, lambda: [vote(store, one, "bob", "b") for one in comparisons[20:]])
    moved = {one["name"]: one for one in found["checks"]}["length_bias"]
    assert (moved["before"]["value"], moved["before"]["n"]) == (0.0, 20)
    assert moved["after"]["value"] == pytest.approx(40 / 60)
    assert moved["moved"] is True


def test_a_snapshot_of_an_older_hone_can_be_compared(store: Store):
    """Its manifest has no checks, no exclusions, nothing left out, and fewer settings."""
    new = load(store.data / "snapshots" / freeze(store).id)
    names = ("checks", "exclusions", "left_out")
    manifest = {key: value for key, value in new.manifest.items() if key not in names}
    old = new._replace(manifest={**manifest, "settings": {"simulated": True}})
    found = compare(store, old, new)
    assert found["changes"] == []
    assert {one["before"] for one in found["checks"]} == {None}
    assert "balance_length" in found["settings"]
