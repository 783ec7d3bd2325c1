"""Who may come in: accounts and invitations, and through them sessions and keys.

What every request asks is kept in memory beside the store: a data folder has one process that
writes, so both always agree. Whoever has one account needs one from then on: accounts are ended,
never removed. Tokens are random, 256 bits; only their SHA-256 is kept.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from feedback import audit, tries
from feedback.campaigns import labeler_name
from feedback.keys import Keys
from feedback.passwords import Hasher, check_password
from feedback.sessions import Sessions
from feedback.throttle import Throttle, keys_of
from feedback.values import one_of, shown
from storage.errors import BadInput, Conflict, NotFound, TooMany, WrongPassword
from storage.records import ROLES, Account, ApiKey, Invitation, Labeler, digest, now
from storage.store import Store

LEAD, LABELER = "lead", "labeler"
ALONE = "lead"  # who changes something where there are no accounts
INVITED = timedelta(days=7)  # Choice: a link that lies in a mailbox is worth nothing after a week
FIRST = "python app.py user add NAME --role lead"
WRONG = "Name and password do not fit together: try again."


@dataclass(frozen=True)
class Person:
    """Who is asking: somebody logged in, or a program with a key."""

    name: str
    role: str
    scopes: tuple[str, ...] | None = None  # of a key; None for a person


def people_of(store: Store) -> People:
    """Return the people of an open data folder, read once."""
    found = store.companions.get(People)
    if found is None:
        found = store.companions.setdefault(People, People(store))
    assert isinstance(found, People)
    return found


class People:
    """The accounts of one data folder, and by what each comes in. Safe from any thread."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime] = now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read what the store has. Use `people_of`, but in tests.

        Args:
            clock: tells the time in UTC.
            ticks: seconds that only go on, for the pauses after wrong passwords.
        """
        self._store, self._clock = store, clock
        self._lock = threading.RLock()
        self._tries = store.data / tries.FILE
        self._throttle = Throttle(ticks, tries.read(self._tries, clock()))
        self._hasher: Hasher | None = None
        self.read()

    def read(self) -> None:
        """Read anew what the store has, where somebody changed it by another way than here."""
        with self._lock:
            store, clock = self._store, self._clock
            self._sessions, self._keys = Sessions(store, clock), Keys(store, clock)
            self._accounts = {one.id: one for one in store.rows(Account)}
            self._invitations = {one.id: one for one in store.rows(Invitation)}

    # Who is asking: asked with every request, so from memory alone

    @property
    def in_force(self) -> bool:
        """Whether there are accounts, so that nobody comes in without."""
        return bool(self._accounts)

    @property
    def has_lead(self) -> bool:
        """Whether a lead can log in."""
        return bool(self._leads())

    def by_session(self, token: str) -> Person | None:
        """Return whose browser this is, or None where the session is over or never was."""
        name = self._sessions.account(token)
        account = self._accounts.get(name) if name else None
        if account is None or account.ended_at:
            return None
        return Person(account.id, account.role)

    def by_key(self, key: str) -> Person | None:
        """Return the program that has this key, or None where it was revoked or never was."""
        known = self._keys.find(key)
        if known is None:
            return None
        return Person(known.name, LEAD if LEAD in known.scopes else LABELER, known.scopes)

    def is_due(self, token: str) -> bool:
        """Say whether `seen` has something to write, which takes as long as a vote."""
        return self._sessions.is_due(token)

    def seen(self, token: str) -> None:
        """Let a session that is used go on."""
        with self._lock:
            self._sessions.seen(token)

    # Coming in and going out

    def log_in(self, name: str, password: str, address: str) -> str:
        """Return the token of a new session.

        Raises:
            WrongPassword: the same for a name that there is not, after the same time.
            TooMany: too many wrong ones before, by this name or from this address; says how long
                to wait. The password is not looked at.
        """
        account = self._active(name)
        keys = keys_of(account.id if account else name.strip().casefold()[:100], address)
        with self._lock:
            if wait := self._throttle.wait(keys):
                said = f"Too many wrong passwords: try again in {_seconds(wait)}."
                why = TooMany(said, code="wait", seconds=f"{max(wait, 1):.0f}")
                why.retry_after = math.ceil(wait)
                raise why
            self._throttle.begin(keys)
            self._remember()
        if not self._hashing().fits(account.password if account else None, password):
            raise WrongPassword(WRONG, code="wrong")
        assert account is not None, "nobody's password never fits"
        with self._lock:
            self._throttle.right(keys)
            self._remember()
            if self._active(name) != account:  # ended, or another password, in this moment
                raise WrongPassword(WRONG, code="wrong")
            return self._sessions.begin(account.id)

    def _remember(self) -> None:
        tries.write(self._tries, self._throttle.wrong(), self._clock())

    def log_out(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.end(token)

    def invitation(self, token: str) -> Invitation | None:
        """Return an invitation that can still be accepted."""
        found = self._invitations.get(digest(token))
        if found is None or found.used_at or found.ends_at <= self._clock():
            return None
        return found

    def accept(self, token: str, password: str) -> str:
        """Make the account that an invitation is for; return the token of its first session.

        Raises:
            NotFound: the invitation was used, is too old, was taken back or never was.
            BadInput: the password cannot be one; the invitation can be used again.
        """
        gone = NotFound(
            "This invitation cannot be used (any more): each works once, for "
            f"{INVITED.days} days. Ask for a new one."
        )
        asked = self.invitation(token)
        if asked is None:
            raise gone
        hashed = self._hashed(password, asked.account)
        with self._lock:
            if self.invitation(token) is None or self._active(asked.account):
                raise gone
            self._put_invitation(replace(asked, used_at=self._clock()))
            self._keep_account(asked.account, asked.role, hashed)
            told = f"{shown(asked.account)} as {asked.role}, invited by {shown(asked.labeler)}"
            audit.note(self._store, asked.account, "accept invitation", told)
            return self._sessions.begin(asked.account)

    # Accounts

    def add(self, name: str, role: str, password: str, *, by: str) -> Account:
        """Make an account; one that was ended comes back, with its votes.

        Raises:
            BadInput: a name, a role or a password that cannot be one.
            Conflict: the name has an account, a key or other votes; or the first is no lead.
        """
        name = self._free_name(name, role)
        hashed = self._hashed(password, name)
        with self._lock:
            self._free_name(name, role)
            self._end_invitations(name)
            account = self._keep_account(name, role, hashed)
            self._note(by, "add account", f"{shown(name)} as {role}")
            return account

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """Give an account another password and end its sessions."""
        hashed = self._hashed(password, self._known(name).id)
        with self._lock:
            account = self._known(name)  # it may have been ended, or got another role, meanwhile
            self._put_account(replace(account, password=hashed))
            self._store.forget_passwords(account.id)
            self._sessions.end_all(account.id)
            self._note(by, "set password", shown(account.id))

    def end(self, name: str, *, by: str) -> None:
        """End an account with its sessions and the keys that it made; its votes stay.

        Raises:
            NotFound: nobody has an account of this name.
            Conflict: it is the last lead.
        """
        with self._lock:
            account = self._spared(name)
            self._put_account(replace(account, ended_at=self._clock()))
            self._sessions.end_all(account.id)
            self._keys.revoke_all(account.id, by=by)
            self._note(by, "end account", shown(account.id))

    def swap_role(self, name: str, *, by: str) -> None:
        """Make a lead of a labeler, or a labeler of a lead; it holds from the next request on.

        Raises:
            NotFound: nobody has an account of this name.
            Conflict: it is the last lead.
        """
        with self._lock:
            account = self._spared(name)
            role = LABELER if account.role == LEAD else LEAD
            self._put_account(replace(account, role=role))
            self._note(by, "change role", f"{shown(account.id)} is a {role} now")

    def _spared(self, name: str) -> Account:
        """Return an account without which there is still a lead."""
        account = self._known(name)
        if self._leads() == [account]:
            raise Conflict(f"{shown(account.id)} is the last lead: add another one first.")
        return account

    def forget(self, name: str, *, by: str) -> None:
        """End whatever lets somebody in: account, sessions, keys, invitations; nobody is no error.

        Args:
            name: as it is stored; a labeler whose letters are cased otherwise is another one.

        Raises:
            Conflict: it is the last lead.
        """
        with self._lock:
            for one in self.invitations():
                if one.account == name:
                    self._end_invitation(one)
            account = self._accounts.get(name)
            if account is not None and not account.ended_at:
                self.end(name, by=by)

    def end_sessions(self, name: str, *, by: str) -> int:
        """Log somebody out everywhere; return of how many browsers."""
        with self._lock:
            ended = self._sessions.end_all(self._known(name).id)
            self._note(by, "end sessions", shown(name))
            return ended

    def invite(self, name: str, role: str, *, by: str) -> str:
        """Return the token of a new invitation; an older one for the name is taken back.

        Raises:
            BadInput, Conflict: as `add`.
        """
        with self._lock:
            name = self._free_name(name, role)
            self._end_invitations(name)
            token = secrets.token_urlsafe(32)
            at = self._clock()
            made = Invitation(digest(token), name, role, by, at + INVITED, created_at=at)
            self._store.add([made, audit.made(by, "invite", f"{shown(name)} as {role}")])
            self._invitations[made.id] = made
            return token

    def accounts(self) -> list[tuple[Account, datetime | None]]:
        """Return every account and when it was last seen, the oldest first; ended ones, too."""
        with self._lock:
            seen = self._sessions.last_seen()
            known = sorted(self._accounts.values(), key=lambda one: one.created_at)
            return [(one, seen.get(one.id)) for one in known]

    def invitations(self) -> list[Invitation]:
        """Return the invitations that wait to be accepted, the oldest first."""
        at = self._clock()
        waiting = [x for x in list(self._invitations.values()) if not x.used_at and x.ends_at > at]
        return sorted(waiting, key=lambda one: one.created_at)

    # Keys

    def add_key(self, name: str, scopes: Sequence[str], *, by: str) -> str:
        """Return a new key, which is not kept: whoever loses it makes another.

        Raises:
            BadInput: a name or scopes that cannot be.
            Conflict: an account or a key has the name, or there are no accounts yet.
        """
        with self._lock:
            if not self.in_force:
                raise Conflict(f"Without accounts no key is asked for. Add a lead first: {FIRST}")
            name = labeler_name(name)
            self._check_taken(name)
            if name.casefold() in {one.casefold() for one in self._accounts}:
                raise Conflict(f"{shown(name)} is an account: a key needs a name of its own.")
            return self._keys.add(name, scopes, by=by)

    def revoke(self, name: str, *, by: str) -> None:
        """Let a key open nothing from now on.

        Raises:
            NotFound: no key has this name.
        """
        with self._lock:
            self._keys.revoke(name, by=by)

    def all_keys(self) -> list[ApiKey]:
        """Return every key, also the revoked ones, the oldest first."""
        return self._keys.all()

    # What the others share; the caller holds the lock

    def _leads(self) -> list[Account]:
        known = list(self._accounts.values())
        return [one for one in known if one.role == LEAD and not one.ended_at]

    def _active(self, name: str) -> Account | None:
        """Return the account of a name, however its letters are cased, unless it was ended."""
        try:
            wanted = labeler_name(name).casefold()
        except BadInput:
            return None
        for account in list(self._accounts.values()):
            if account.id.casefold() == wanted and not account.ended_at:
                return account
        return None

    def _known(self, name: str) -> Account:
        account = self._active(name)
        if account is None:
            names = ", ".join(x.id for x in self._accounts.values() if not x.ended_at) or "none"
            raise NotFound(f"nobody has an account {shown(name)}; there are: {names}")
        return account

    def _free_name(self, name: str, role: str) -> str:
        """Return the name that a new account would have; an ended one keeps its spelling."""
        name = labeler_name(name)
        one_of(role, ROLES, "role")
        if self._active(name):
            raise Conflict(
                f"{shown(name)} has an account: change its password with `user password`, or "
                "choose another name."
            )
        if role != LEAD and not self.has_lead:
            raise Conflict(f"The first account must be a lead's, or nobody could lead: {FIRST}")
        self._check_taken(name)
        ended = {one.casefold(): one for one in self._accounts}
        return ended.get(name.casefold(), name)

    def _check_taken(self, name: str) -> None:
        """Refuse a name that a key has, or labelers who are no people."""
        if self._keys.is_taken(name):
            raise Conflict(f"{shown(name)} is the name of a key: choose another one.")
        labeler = self._store.get(Labeler, name)
        if labeler is not None and labeler.kind != "person":
            raise Conflict(f"{shown(name)} has votes from an import or a simulation: use another.")

    def _hashing(self) -> Hasher:
        with self._lock:
            self._hasher = self._hasher or Hasher()
            return self._hasher

    def _hashed(self, password: str, name: str) -> str:
        return self._hashing().hash(check_password(password, name))

    def _keep_account(self, name: str, role: str, hashed: str) -> Account:
        account = Account(name, role, hashed, created_at=self._clock())
        if name in self._accounts:
            self._put_account(account)
            self._store.forget_passwords(name)
        else:
            self._store.add([account])
            self._accounts[name] = account
        return account

    def _put_account(self, account: Account) -> None:
        self._store.update(account)
        self._accounts[account.id] = account

    def _end_invitations(self, name: str) -> None:
        for one in self.invitations():
            if one.account.casefold() == name.casefold():
                self._end_invitation(one)

    def _end_invitation(self, invitation: Invitation) -> None:
        self._put_invitation(replace(invitation, ends_at=self._clock()))

    def _put_invitation(self, invitation: Invitation) -> None:
        self._store.update(invitation)
        self._invitations[invitation.id] = invitation

    def _note(self, by: str, did: str, what: str) -> None:
        audit.note(self._store, by, did, what)


def _seconds(wait: float) -> str:
    return f"{wait:.0f} s" if wait >= 1.5 else "a second"
