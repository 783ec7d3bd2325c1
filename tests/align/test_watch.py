"""The lower half of the train screen: which run it shows by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from align.screens.watch import shown

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


def run(name: str, seconds_ago: float, running: bool) -> Any:
    created = (AT - timedelta(seconds=seconds_ago)).isoformat()
    return SimpleNamespace(run=name, created_at=created, running=running)


def test_a_run_that_began_a_moment_ago_is_shown_and_later_the_one_that_was_chosen() -> None:
    """The page that asked still names the run before it."""
    before = run("before", 600, running=False)
    assert shown([run("new", 5, running=True), before], "before", AT) == "new"
    assert shown([run("new", 45, running=True), before], "before", AT) == "before"
    assert shown([run("new", 5, running=False), before], "before", AT) == "before"
    assert shown([], None, AT) is None
