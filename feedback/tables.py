"""The quality screen's tables, which are also files to download: TABLES, from columns to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from feedback.checks import Columns
from feedback.labelers import labeler_table
from feedback.plots import agreement_by_prompt, votes_over_time, win_rate_by_length

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell starts that a spreadsheet would compute


def models(columns: Columns) -> pd.DataFrame:
    """Return the leaderboard, best first."""
    from feedback.ranking import Standing, leaderboard  # its evalica takes two seconds to import

    found = leaderboard(columns.votes, columns.comparisons, np.random.default_rng(0))
    names = [field.name for field in fields(Standing)]
    return pd.DataFrame([asdict(one) for one in found.models], columns=names)


TABLES: dict[str, Callable[[Columns], pd.DataFrame]] = {
    "labelers": labeler_table,
    "models": models,
    "lengths": lambda columns: win_rate_by_length(columns.votes),
    "times": lambda columns: votes_over_time(columns.votes, columns.ratings),
    "agreement": lambda columns: agreement_by_prompt(columns.votes),
}


def csv_of(table: pd.DataFrame) -> str:
    """Return a table as CSV that no spreadsheet computes: names of others stay text.

    Source: OWASP, "CSV Injection": a cell that starts like a formula gets an apostrophe in front.
    """
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_text)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _text(value: object) -> str:
    if value is None or value is pd.NaT or value != value:  # nothing known: an empty cell
        return ""
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
