"""The commands about people: accounts, keys, and the list of what leads did.

As in `align/commands.py`: plain JSON values in, one JSON object out. A password or a token is never
in a progress line or an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feedback import audit
from feedback.accounts import LABELER, People, people_of
from feedback.roles import INVITE
from feedback.values import one_of
from storage.errors import BadInput
from storage.lock import read_lock

if TYPE_CHECKING:
    from align.workspace import Workspace

Progress = Callable[[str], None]
USER_ACTIONS = ("list", "add", "password", "role", "log-out", "end")
KEY_ACTIONS = ("list", "add", "revoke")


def user(
    workspace: Workspace,
    *,
    progress: Progress,
    by: str,
    action: str = "list",
    name: str = "",
    role: str = LABELER,
    invite: bool = False,
    password: str | None = None,
) -> dict[str, Any]:
    """Change who may come in; return {"accounts", "invitations", "link"} as they are then.

    Args:
        action: one of USER_ACTIONS.
        role: of a new account.
        invite: give a link by which its person chooses the password, which is `link` then.
        password: of a new account, or the new one.
    """
    people = people_of(workspace.store)
    one_of(action, USER_ACTIONS, "ACTION")
    if action != "list" and not name:
        raise BadInput(f"user {action}: of whom? Give the name: user {action} NAME")
    link = None
    if action == "add" and invite:
        link = link_of(workspace, people.invite(name, role, by=by))
    elif action == "add":
        people.add(name, role, _given(password, action), by=by)
    elif action == "password":
        people.set_password(name, _given(password, action), by=by)
    elif action == "role":
        people.swap_role(name, by=by)
    elif action == "log-out":
        people.end_sessions(name, by=by)
    elif action == "end":
        people.end(name, by=by)
    return {**listed(people), "link": link}


def listed(people: People) -> dict[str, Any]:
    """Return accounts and open invitations, the oldest first."""
    accounts = [
        {"name": one.id, "role": one.role, "created_at": one.created_at.isoformat(),
         "last_seen": _time(seen), "ended_at": _time(one.ended_at)}
        for one, seen in people.accounts()
    ]  # fmt: skip
    invitations = [
        {"name": one.account, "role": one.role, "by": one.labeler,
         "ends_at": one.ends_at.isoformat()}
        for one in people.invitations()
    ]  # fmt: skip
    return {"accounts": accounts, "invitations": invitations}


def link_of(workspace: Workspace, token: str) -> str:
    """Return an invitation as a link, of this machine's address where the app runs."""
    holder = read_lock(workspace.data)
    address = (holder or {}).get("address") or ""
    return f"{address}{INVITE}{token}"


def key(
    workspace: Workspace,
    *,
    progress: Progress,
    by: str,
    action: str = "list",
    name: str = "",
    scopes: Sequence[str] = (),
) -> dict[str, Any]:
    """Make or revoke a key; return {"keys", "key"}: the key itself once, when it is made.

    Args:
        action: one of KEY_ACTIONS.
    """
    people = people_of(workspace.store)
    one_of(action, KEY_ACTIONS, "ACTION")
    if action != "list" and not name:
        raise BadInput(f"key {action}: which one? Give its name with --name")
    made = None
    if action == "add":
        made = people.add_key(name, scopes, by=by)
    elif action == "revoke":
        people.revoke(name, by=by)
    keys = [
        {"name": one.name, "scopes": list(one.scopes), "by": one.labeler,
         "created_at": one.created_at.isoformat(), "ended_at": _time(one.ended_at)}
        for one in people.all_keys()
    ]  # fmt: skip
    return {"keys": keys, "key": made}


def audit_(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """List what leads changed, newest first; return {"changes": [...]}."""
    return {"changes": [one.as_json() for one in audit.entries(workspace.store)]}


def _given(password: str | None, action: str) -> str:
    if password is None:
        raise BadInput(f"user {action} needs a password: type it, or pipe it in: --password-stdin")
    return password


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
