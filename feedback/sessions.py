"""Browsers that logged in: a session survives a restart, ends by itself, and can be ended.

The token is random, 256 bits, and in the browser's cookie alone; its SHA-256 is kept. Who calls
what changes something keeps others from doing so meanwhile (`accounts.People` does).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from storage.records import Session, digest
from storage.store import Store

IDLE = timedelta(days=14)  # Choice: a session that nobody used for two weeks is over,
LONGEST = timedelta(days=60)  # and after two months everybody logs in again.
SEEN_EVERY = timedelta(hours=1)  # Choice: how exactly it is kept when a session was used


class Sessions:
    """The open sessions of one data folder, in memory beside the store: every request asks."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Read those that are still open. `clock` tells the time in UTC."""
        self._store, self._clock = store, clock
        at = clock()
        self._open = {one.id: one for one in store.rows(Session) if one.ends_at > at}

    def account(self, token: str) -> str | None:
        """Return whose session this is; None where it is over or never was."""
        session = self._open.get(digest(token))
        return session.account if session and session.ends_at > self._clock() else None

    def is_due(self, token: str) -> bool:
        """Say whether `seen` has something to write, which takes as long as a vote."""
        session = self._open.get(digest(token))
        return session is not None and self._clock() - session.seen_at > SEEN_EVERY

    def seen(self, token: str) -> None:
        """Let a session that is used go on."""
        session, at = self._open.get(digest(token)), self._clock()
        if session is not None and session.ends_at > at:
            ends = min(at + IDLE, session.created_at + LONGEST)
            changed = replace(session, seen_at=at, ends_at=ends)
            self._store.update(changed)
            self._open[changed.id] = changed

    def begin(self, account: str) -> str:
        """Return the token of a new session."""
        token, at = secrets.token_urlsafe(32), self._clock()
        session = Session(digest(token), account, at + IDLE, at, at)
        self._store.add([session])
        self._open = {id: one for id, one in self._open.items() if one.ends_at > at}
        self._open[session.id] = session
        return token

    def end(self, token: str) -> None:
        """End one session."""
        if session := self._open.get(digest(token)):
            self._end([session])

    def end_all(self, account: str) -> int:
        """End every session of an account; return how many there were."""
        sessions = [one for one in self._open.values() if one.account == account]
        self._end(sessions)
        return len(sessions)

    def last_seen(self) -> dict[str, datetime]:
        """Return when each account was last seen, to within an hour; also of ended sessions."""
        return {one.account: one.seen_at for one in self._store.rows(Session, order="seen_at")}

    def _end(self, sessions: Sequence[Session]) -> None:
        for one in sessions:
            self._store.update(replace(one, ends_at=self._clock()))
            self._open.pop(one.id, None)
