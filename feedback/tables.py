"""The quality screen's tables, which are also files to download: TABLES, from the store to rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields

import pandas as pd

from feedback import audit
from feedback.checks import CheckResult, Columns, Finding
from feedback.labelers import labeler_table
from feedback.plots import agreement_by_prompt, votes_over_time, win_rate_by_length
from feedback.quality import gather_numbers, run_checks
from feedback.survey import standings
from storage.store import Store

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell starts that a spreadsheet would compute

WORST_FIRST = ("stop", "warn", "unknown", "ok")
MOST_IDS = 200  # Choice: of a finding; they fit into a spreadsheet's cell (32,767 characters)


def models(store: Store) -> pd.DataFrame:
    """Return the leaderboard, best first."""
    from feedback.ranking import Standing  # its evalica takes two seconds to import

    found = standings(store)
    names = [field.name for field in fields(Standing)]
    return pd.DataFrame([asdict(one) for one in found.models], columns=names)


def ranked(results: Sequence[CheckResult]) -> list[tuple[str, Finding]]:
    """Return every finding with its check's name, worst first."""
    found = [(result.name, finding) for result in results for finding in result.findings]
    return sorted(found, key=lambda one: WORST_FIRST.index(one[1].severity))


def findings(results: Sequence[CheckResult]) -> pd.DataFrame:
    """Return what the checks found, worst first: `items` says how many, `ids` names the first."""
    names = ["check", "where", "value", "low", "high", "n", "state", "message", "remedy", "items"]
    rows = [
        (check, one.subject, one.value, one.low, one.high, one.n, one.severity, one.message,
         one.remedy, len(one.items), one.items[:MOST_IDS])
        for check, one in ranked(results)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*names, "ids"])


def times(columns: Columns) -> pd.DataFrame:
    """Return how many votes and thumbs came when."""
    return votes_over_time(columns.votes, columns.ratings)


TABLES: dict[str, Callable[[Store], pd.DataFrame]] = {
    "findings": lambda store: findings(run_checks(store)),
    "labelers": lambda store: labeler_table(gather_numbers(store)),
    "models": models,
    "lengths": lambda store: win_rate_by_length(gather_numbers(store).votes),
    "times": lambda store: times(gather_numbers(store)),
    "changes": lambda store: pd.DataFrame(
        [one.as_json() for one in audit.entries(store)], columns=["at", "by", "did", "what"]
    ),
    "agreement": lambda store: agreement_by_prompt(gather_numbers(store).votes),
}


def table_of(store: Store, name: str) -> pd.DataFrame:
    """Return one of `TABLES`; see `Store.aside`."""
    return store.aside(_made, name)


def _made(store: Store, name: str) -> pd.DataFrame:
    return TABLES[name](store)


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
