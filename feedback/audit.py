"""What leads did: who, what, when, newest first.

Most changes are rows of their own that say who decided and are never altered: exclusions,
promotions, gold verdicts, decisions about duplicates, what is asked again. They are read as they
are. What leaves no such row (accounts, keys, exports, settings) adds one to `audit`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from feedback.campaigns import RESERVED, default_campaign
from storage.records import (
    Adjudication,
    Admission,
    Audit,
    Duplicate,
    Exclusion,
    Gold,
    Promotion,
    Wanted,
)

if TYPE_CHECKING:
    from storage.store import Store

AT_ONCE = timedelta(milliseconds=100)  # Choice: between the rows of one decision, far less
MOST = 500  # Choice: entries that a list shows, some months of a small team


@dataclass(frozen=True)
class Entry:
    """One change."""

    at: datetime
    by: str
    did: str
    what: str

    def as_json(self) -> dict[str, Any]:
        """Return it as `audit --json` prints it."""
        return asdict(self) | {"at": self.at.isoformat()}


def note(store: Store, by: str, did: str, what: str) -> None:
    """Keep what somebody did and no other row says."""
    store.add([made(by, did, what)])


def note_settings(store: Store, by: str) -> None:
    """Keep that somebody changed what labelers are given, as it is now."""
    now = default_campaign(store)
    shares = f"shared {now.shared:g}, repeats {now.repeats:g}, gold {now.gold:g}"
    note(store, by, "campaign", f"overlap {now.overlap}, {shares}")


def made(by: str, did: str, what: str) -> Audit:
    """Return the row of a change, to be added with what it changes."""
    return Audit(str(uuid.uuid4()), by, did, what)


def entries(store: Store, most: int = MOST) -> list[Entry]:
    """Return the newest changes, newest first; many alike at once as one."""
    found = []
    for kind, told in TOLD.items():
        rows: list[Any] = store.rows(kind, order="-created_at", limit=most)
        decided = [row for row in rows if not row.labeler.startswith(RESERVED)]  # by a person
        found += [Entry(row.created_at, row.labeler, *told(row)) for row in decided]
    return _folded(sorted(found, key=lambda entry: entry.at, reverse=True)[:most])


def _folded(found: Sequence[Entry]) -> list[Entry]:
    """Return what one press of a button did to many things as one change."""
    groups: list[list[Entry]] = []
    for entry in found:
        last = groups[-1][-1] if groups else None
        alike = last is not None and (last.by, last.did) == (entry.by, entry.did)
        if last is not None and alike and last.at - entry.at < AT_ONCE:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [
        one[0] if len(one) == 1 else replace(one[0], what=f"{one[0].what} and {len(one) - 1} more")
        for one in groups
    ]


def _exclusion(row: Any) -> tuple[str, str]:
    why = f": {row.reason}" if row.reason else ""
    return row.decision, f"{row.kind} {row.item}{why}"


def _promotion(row: Any) -> tuple[str, str]:
    why = f": {row.reason}" if row.reason else ""
    return "promote", f"{row.run or 'the base'}{why}"


def _gold(row: Any) -> tuple[str, str]:
    return "gold", f"{row.comparison}: {row.verdict or 'none any more'}"


def _duplicate(row: Any) -> tuple[str, str]:
    return "duplicate", f"{row.kind} {row.item}: {row.decision}"


def _wanted(row: Any) -> tuple[str, str]:
    return "ask again", f"{row.comparison}: {row.votes} votes"


def _adjudication(row: Any) -> tuple[str, str]:
    why = f": {row.reason}" if row.reason else ""
    return "adjudicate", f"{row.comparison}: {row.verdict or 'left to the votes again'}{why}"


def _admission(row: Any) -> tuple[str, str]:
    how = "let in" if row.decision else "left to the trial again"
    return "admission", f"{row.person} to {row.campaign}: {how}"


def _audit(row: Any) -> tuple[str, str]:
    return row.did, row.what


TOLD: dict[type, Callable[[Any], tuple[str, str]]] = {
    Exclusion: _exclusion,
    Promotion: _promotion,
    Gold: _gold,
    Duplicate: _duplicate,
    Wanted: _wanted,
    Adjudication: _adjudication,
    Admission: _admission,
    Audit: _audit,
}
