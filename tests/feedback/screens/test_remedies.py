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
from feedback.screens import remedies
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
