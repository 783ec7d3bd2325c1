"""By what name a product's user is kept: never by the one that the product has.

A name is a keyed hash (HMAC-SHA256) of what the product sends. The key is made once and lies in the
data folder beside the database, not in it: an export, a copy of the database or a list of likely
names tells nothing without it. Whoever deletes the file makes all of them new people.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from feedback.pseudonyms import key_of
from storage.records import ANONYMOUS, USER


class Pseudonyms:
    """The names of one data folder's users."""

    def __init__(self, data: Path) -> None:
        """Read the folder's key, or make it."""
        self._key = key_of(data)

    def of(self, user: str) -> str:
        """Return the name that stands for a user, the same for ever; for "" that of nobody known.

        Choice: 64 bits, at which two of a million users share a name once in 30 million folders.
        """
        if not user:
            return ANONYMOUS
        return USER + hmac.digest(self._key, user.encode("utf-8"), "sha256").hex()[:16]
