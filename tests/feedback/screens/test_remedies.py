"""The buttons below a finding, without a browser: what is left out, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feedback import browse
from feedback.checks import CheckResult
from feedback.curation import excluded
from feedback.live import live_feedback
from feedback.quality import run_checks
from feedback.screens import quality, remedies
from storage.records import Assignment, Vote
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def view() -> Any:
    names = ("offer", "box", "reason", "subject", "items", "again", "told")
    return SimpleNamespace(**{name: name for name in names})


def left() -> Any:
    return SimpleNamespace(**{name: name for name in ("title", "table", "rows", "chosen", "back")})


def cast(store: Store, id: str, comparison: str, labeler: str, verdict: str) -> None:
    store.add([Assignment(f"s-{id}", "default", labeler, comparison, "", "a", "plain", "api")])
    store.append(Vote(id, f"s-{id}", 0, comparison, labeler, verdict, source="api"))


def said_of(store: Store, check: str) -> CheckResult:
    return next(result for result in run_checks(store) if result.name == check)


def test_leaving_out_repeated_votes_keeps_the_first_and_everybody_elses(store: Store) -> None:
    """Ann votes three times on a comparison, Bob once: two votes go, the comparison stays."""
    one, other = (row.id for row in stock(store, 2))
    for n, verdict in enumerate(("a", "b", "b")):
        cast(store, f"ann-{n}", one, "ann", verdict)
    cast(store, "bob-0", one, "bob", "a")
    cast(store, "ann-3", other, "ann", "a")
    found = said_of(store, "duplicate_votes")
    assert found.items == ("ann-1", "ann-2")
    finding = found.findings[0]
    assert (finding.subject, finding.items) == ("labeler ann", ("ann-1", "ann-2"))
    told = browse.describe(store, finding.items)
    assert told["ann-1"] == "ann: b · Question 0, please?"

    workspace: Any = SimpleNamespace(store=store)
    offer = remedies.offer_of(finding.subject, finding.items, finding.message)
    said = remedies.leave_out_items(workspace, view(), offer, "voted again")
    assert said["told"].startswith("**Left out:** 2 items")
    assert {(row.kind, row.item) for row in excluded(store)} == {
        ("vote", "ann-1"),
        ("vote", "ann-2"),
    }
    votes = live_feedback(store).votes
    assert sorted(votes["vote"]) == ["ann-0", "ann-3", "bob-0"]
    again = said_of(store, "duplicate_votes")
    assert (again.severity, again.items) == ("ok", ())


def test_all_the_items_of_a_finding_are_left_out_and_come_back_together(store: Store) -> None:
    """250 comparisons with a click, one more with another: two rows, and one click takes back."""
    ids = [row.id for row in stock(store, 251)]
    workspace: Any = SimpleNamespace(store=store)
    offer = remedies.offer_of("bold", ids[:250], "Form wins.")
    shown = remedies.show_offer(view(), offer)
    assert shown["items"].value == "Leave out these 250 items"
    found = SimpleNamespace(words="said", items="listed", detail="detail", remedies=view())
    finding = {"words": "Form wins.", "offer": offer}
    opened = quality.show_finding(workspace, found, [finding], SimpleNamespace(index=[0, 0]))
    assert opened["said"] == "Form wins.\n\nThe first 50 of 250 items:"
    assert len(opened["listed"].value["data"]) == 50
    remedies.leave_out_items(workspace, view(), offer, "form wins")
    remedies.leave_out_items(workspace, view(), offer._replace(items=(ids[250],)), "form wins")
    assert len(excluded(store)) == 251

    listed = remedies.list_left_out(workspace, left())
    (kind, one), (_, many) = listed["rows"]
    assert (kind, one, sorted(many)) == ("comparison", [ids[250]], ids[:250])
    assert listed["table"].value["data"][1][1] == f"250: {ids[0]}, …"
    chosen = remedies.choose_left_out(left(), listed["rows"], SimpleNamespace(index=[1, 0]))
    assert chosen["back"].value == "Take these 250 comparisons back in"
    remedies.take_back(workspace, left(), chosen["chosen"])
    assert [row.item for row in excluded(store)] == [ids[250]]
