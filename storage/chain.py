"""The hash chain over events: who alters, drops or reorders one row later is found out (pure).

Each command's hash covers its own row, its event's digest, and the hash before it. A digest
covers the event's stored values; texts are in it by their hash, so a text can be erased and the
chain holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.rows import compact

START = ""  # the hash before the first


@dataclass(frozen=True, slots=True)
class Position:
    """How far the journal and the chain have come."""

    n: int  # the last number given out
    hash: str  # the last command's hash


def event_digest(kind: str, row: Sequence[Any]) -> str:
    """Return the SHA-256 over an event's table and stored values."""
    return _sha256([kind, *row])


def link(before: str, n: int, id: str, accepted: bool, reason: str, digest: str) -> str:
    """Return a command's hash from the hash before it and what it says itself."""
    return _sha256([before, n, id, accepted, reason, digest])


def _sha256(parts: list[Any]) -> str:
    return hashlib.sha256(compact(parts)).hexdigest()
