"""Keys by which programs come in: shown once, kept as SHA-256, each for what it is needed for.

A key votes under its own name. Who calls what changes something keeps others from doing so
meanwhile (`accounts.People` does).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from feedback import audit
from feedback.values import several_of, shown
from storage.errors import BadInput, NotFound
from storage.records import SCOPES, ApiKey, digest
from storage.store import Store

BEGINNING = "hone_"  # so that a key that lies around is recognised
OPENS = {
    "read": "figures, tables, exports, and what the models answer at /v1",
    "feedback": "items to judge, verdicts on them, and what a product sends",
    "lead": "all of the API",
}


class Keys:
    """The keys of one data folder, in memory beside the store: every request asks."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._keys = {one.id: one for one in store.rows(ApiKey)}

    def find(self, key: str) -> ApiKey | None:
        """Return what is known of a key; None where it was revoked or never was."""
        known = self._keys.get(digest(key))
        return None if known is None or known.ended_at else known

    def is_taken(self, name: str) -> bool:
        """Say whether a key has or had this name: its votes do."""
        return name.casefold() in {key.name.casefold() for key in list(self._keys.values())}

    def add(self, name: str, scopes: Sequence[str], *, by: str) -> str:
        """Return a new key, which is not kept: whoever loses it makes another.

        Raises:
            BadInput: scopes that cannot be.
        """
        chosen = several_of(scopes, SCOPES, "scope")
        if not chosen:
            raise BadInput(f"A key without a scope opens nothing: use {', '.join(SCOPES)}.")
        key = BEGINNING + secrets.token_urlsafe(32)
        made = ApiKey(digest(key), name, chosen, by, created_at=self._clock())
        self._store.add([made, audit.made(by, "add key", f"{shown(name)} for {', '.join(chosen)}")])
        self._keys[made.id] = made
        return key

    def revoke(self, name: str, *, by: str) -> None:
        """Let a key open nothing from now on.

        Raises:
            NotFound: no key that opens something has this name.
        """
        going = [one for one in self.all() if not one.ended_at]
        found = [one for one in going if one.name == name]
        if not found:
            names = ", ".join(one.name for one in going) or "none"
            raise NotFound(f"there is no key {shown(name)}; there are: {names}")
        self._end(found, by)

    def revoke_all(self, maker: str, *, by: str) -> None:
        """Revoke every key that somebody made."""
        self._end([one for one in self.all() if one.labeler == maker and not one.ended_at], by)

    def all(self) -> list[ApiKey]:
        """Return every key, also the revoked ones, the oldest first."""
        return sorted(list(self._keys.values()), key=lambda one: one.created_at)

    def _end(self, keys: Sequence[ApiKey], by: str) -> None:
        for one in keys:
            ended = replace(one, ended_at=self._clock())
            self._store.update(ended)
            self._keys[one.id] = ended
            audit.note(self._store, by, "revoke key", shown(one.name))
