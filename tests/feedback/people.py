"""Frames of votes for the checks about people: only what a test cares about is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from feedback.checks.columns import Columns

START = datetime(2026, 11, 23, 18, tzinfo=UTC)


def vote(labeler: str, comparison: str, verdict: str, **other: Any) -> dict[str, Any]:
    """Return one vote: sides unknown, no time measured, answers of the same length."""
    return {"labeler": labeler, "comparison": comparison, "verdict": verdict, **other}


def columns(votes: list[dict[str, Any]], gold: dict[str, str] | None = None) -> Columns:
    """Return columns of these votes, a minute apart unless they say `second`."""
    usual = {"left": "", "kind": "plain", "chars_a": 100, "chars_b": 100, "seconds_spent": None}
    rows = [
        {**usual, "vote": f"v{n}", "prompt": f"p-{one['comparison']}", "source": "screen"}
        | {"second": 60 * n}
        | one
        for n, one in enumerate(votes)
    ]
    frame = pd.DataFrame(rows)
    frame["created_at"] = [START + timedelta(seconds=s) for s in frame.pop("second")]
    known = pd.DataFrame(list((gold or {}).items()), columns=["comparison", "verdict"])
    return replace(Columns.empty(), votes=frame, gold=known)
