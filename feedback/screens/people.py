"""The people screen: who may come in and by what, and the list of what leads changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr
import pandas as pd

from feedback import audit, judging
from feedback.accounts import ALONE, INVITED, LABELER, LEAD, People, people_of
from feedback.keys import OPENS
from feedback.roles import INVITE
from feedback.screens.overview import file_link
from feedback.screens.parts import heading, on_show, sheet, wire
from feedback.values import brief
from storage.errors import BadInput
from storage.records import Account

NOBODY = (
    "**No accounts yet: everyone on this computer is the lead**, and nobody else can reach the app."
    "\n\nFor a team, make the first account at the command line. It is a lead's, and from then on "
    "everybody logs in:\n\n```\npython app.py user add NAME --role lead\n```"
)
ACCOUNTS = ["Name", "Role", "Last seen", "Judged", "Since", "State"]
KEYS = ["Name", "Opens", "Made by", "Since", "State"]
CHANGES = ["When (UTC)", "Who", "Did", "What"]
MOST = 100  # Choice: changes on the screen; the file has 500, the command line too
SCOPES = [(f"{name}: {what}", name) for name, what in OPENS.items()]


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this screen touches."""

    empty: gr.Markdown
    desk: gr.Column
    accounts: gr.Dataframe
    person: gr.Dropdown
    name: gr.Textbox
    role: gr.Radio
    link: gr.Textbox
    keys: gr.Dataframe
    going: gr.Dropdown
    take: gr.Button
    key_name: gr.Textbox
    scopes: gr.CheckboxGroup
    key: gr.Textbox
    filter: gr.Textbox
    changes: gr.Dataframe

    def drawn(self) -> list[Any]:
        """Return what every event may change."""
        return [
            self.empty, self.desk, self.accounts, self.person, self.link, self.keys, self.going,
            self.take, self.key, self.changes,
        ]  # fmt: skip


def refresh(workspace: Any, view: View, words: str) -> dict[Any, Any]:
    """Draw the screen anew; what was shown once is gone."""
    once = {view.link: gr.Textbox("", visible=False), view.key: gr.Textbox("", visible=False)}
    return draw(workspace, view, words) | once


def draw(workspace: Any, view: View, words: str) -> dict[Any, Any]:
    """Draw accounts, keys and changes as they are now."""
    people = people_of(workspace.store)
    accounts = people.accounts()
    active = [one.id for one, _ in accounts if not one.ended_at]
    going = [one.name for one in people.all_keys() if not one.ended_at]
    rows = account_rows(workspace, people, accounts)
    keys = key_rows(people)
    return {
        view.empty: gr.Markdown(visible=not people.in_force),
        view.desk: gr.Column(visible=people.in_force),
        view.accounts: pd.DataFrame(rows, columns=ACCOUNTS),
        view.person: gr.Dropdown(choices=active, value=None),
        view.keys: gr.Dataframe(pd.DataFrame(keys, columns=KEYS), visible=bool(keys)),
        view.going: gr.Dropdown(choices=going, value=None, visible=bool(going)),
        view.take: gr.Button(visible=bool(going)),
        view.changes: changes(workspace, words),
    }


def account_rows(
    workspace: Any, people: People, accounts: Sequence[tuple[Account, datetime | None]]
) -> list[list[str]]:
    """Return the accounts, then the invitations that wait, as rows of the table."""
    now = datetime.now(UTC)
    rows = []
    for one, seen in accounts:
        judged = judging.progress(workspace.store, one.id, now).mine_total
        state = f"ended {day(one.ended_at)}" if one.ended_at else "active"
        rows.append(
            [brief(one.id, 40), one.role, ago(seen, now), f"{judged:,}", day(one.created_at), state]
        )
    for waiting in people.invitations():
        told = f"invited until {day(waiting.ends_at)}"
        rows.append([brief(waiting.account, 40), waiting.role, "–", "–", "–", told])
    return rows


def key_rows(people: People) -> list[list[str]]:
    """Return the keys as rows of the table, those that still open something first."""
    known = sorted(people.all_keys(), key=lambda one: one.ended_at is not None)
    return [
        [brief(one.name, 40), ", ".join(one.scopes), brief(one.labeler, 40), day(one.created_at),
         f"revoked {day(one.ended_at)}" if one.ended_at else "active"]
        for one in known
    ]  # fmt: skip


def changes(workspace: Any, words: str) -> gr.Dataframe:
    """Return the newest changes that hold all the words, as rows of the table."""
    wanted = (words or "").casefold().split()
    rows = [
        [f"{one.at:%Y-%m-%d %H:%M}", brief(one.by, 40), one.did, brief(one.what, 160)]
        for one in audit.entries(workspace.store)
    ]
    found = [row for row in rows if all(word in " ".join(row).casefold() for word in wanted)]
    table = pd.DataFrame(found[:MOST], columns=CHANGES)
    return gr.Dataframe(table, visible=bool(found))


def day(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%d %b %Y}"


def ago(at: datetime | None, now: datetime) -> str:
    """Return when somebody was last seen, which is known to an hour.

    Example:
        >>> at = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
        >>> ago(at, at.replace(minute=50)), ago(at, at.replace(hour=14)), ago(None, at)
        ('in the last hour', '5 h ago', 'never')
    """
    if at is None:
        return "never"
    hours = int((now - at).total_seconds() // 3600)
    if hours < 1:
        return "in the last hour"
    return f"{hours} h ago" if hours < 48 else day(at)


def invite(
    workspace: Any, view: View, name: str, role: str, words: str, request: gr.Request,
    *, by: str = ALONE,
) -> dict[Any, Any]:  # fmt: skip
    """Make a link by which one person chooses a password, and show it once."""
    token = people_of(workspace.store).invite(name, role, by=by)
    shown = gr.Textbox(f"{address_of(request)}{INVITE}{token}", visible=True)
    return draw(workspace, view, words) | {view.link: shown}


def address_of(request: gr.Request) -> str:
    """Return the address under which the lead's browser has the app; the gate checked its host."""
    page: Any = request.request
    asked = request.headers.get("origin") or f"{page.url.scheme}://{page.url.netloc}"
    return str(asked).rstrip("/")


def log_out(
    workspace: Any, view: View, person: str | None, words: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """End every session of a person."""
    people_of(workspace.store).end_sessions(named(person), by=by)
    return draw(workspace, view, words)


def swap_role(
    workspace: Any, view: View, person: str | None, words: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Make a lead of a labeler, or a labeler of a lead."""
    people_of(workspace.store).swap_role(named(person), by=by)
    return draw(workspace, view, words)


def end(
    workspace: Any, view: View, person: str | None, words: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """End an account with its sessions and keys; its votes stay."""
    people_of(workspace.store).end(named(person), by=by)
    return draw(workspace, view, words)


def add_key(
    workspace: Any, view: View, name: str, scopes: list[str], words: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Make a key and show it once."""
    made = people_of(workspace.store).add_key(name, scopes, by=by)
    return draw(workspace, view, words) | {view.key: gr.Textbox(made, visible=True)}


def revoke(
    workspace: Any, view: View, key: str | None, words: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Let a key open nothing from now on."""
    if not key:
        raise BadInput("No key was chosen: choose one above.")
    people_of(workspace.store).revoke(key, by=by)
    return draw(workspace, view, words)


def named(person: str | None) -> str:
    if not person:
        raise BadInput("Nobody was chosen: choose a person above.")
    return person


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        heading("People", "Who may come in and by what, and what leads changed.")
        there = people_of(workspace.store).in_force
        empty = gr.Markdown(NOBODY, visible=not there, elem_id="people-nobody")
        with gr.Column(visible=there) as desk:
            parts, does = build_accounts()
            with gr.Row(elem_classes="hone-split"):
                with gr.Column(min_width=300, elem_classes="hone-card"):
                    inviting, asks = build_invite()
                with gr.Column(min_width=300, elem_classes="hone-card"):
                    opening, makes = build_keys()
        view = View(empty=empty, desk=desk, **parts, **inviting, **opening, **build_changes())
        on_show(refresh, workspace, view, inputs=[view.filter], outputs=view.drawn())
        wire(
            view.filter.change, changes, workspace, inputs=[view.filter], outputs=[view.changes],
            trigger_mode="always_last",
        )  # fmt: skip
        drawn: dict[str, Any] = {"outputs": view.drawn(), "limit": 1}
        for button, handler in zip(does, (log_out, swap_role, end), strict=True):
            chosen = [view.person, view.filter]
            wire(button.click, handler, workspace, view, inputs=chosen, **drawn)
        typed = [view.name, view.role, view.filter]
        wire(asks.click, invite, workspace, view, inputs=typed, **drawn)
        asked = [view.key_name, view.scopes, view.filter]
        wire(makes.click, add_key, workspace, view, inputs=asked, **drawn)
        wire(view.take.click, revoke, workspace, view, inputs=[view.going, view.filter], **drawn)


def build_accounts() -> tuple[dict[str, Any], list[gr.Button]]:
    """Lay out the accounts, and what can be done about one."""
    accounts = gr.Dataframe(
        headers=ACCOUNTS, datatype="str", interactive=False, show_label=False, buttons=[],
        elem_id="people-accounts",
    )  # fmt: skip
    with gr.Row(elem_classes=["hone-buttons", "hone-ask"]):
        person = gr.Dropdown(
            label="Person", filterable=True, scale=0, min_width=260, elem_id="people-person"
        )
        buttons = [
            gr.Button(words, scale=0, min_width=220, elem_id=f"people-{name}")
            for name, words in (
                ("log-out", "Log out everywhere"),
                ("role", "Change role"),
                ("end", "End account"),
            )
        ]
    return {"accounts": accounts, "person": person}, buttons


def build_invite() -> tuple[dict[str, Any], gr.Button]:
    """Lay out how somebody is invited."""
    gr.Markdown(
        "## Invite\nThe person opens the link, chooses a password and is in. It works once, for "
        f"{INVITED.days} days."
    )
    name = gr.Textbox(label="Name", max_length=100, elem_id="people-name")
    role = gr.Radio(
        [("Labeler: judges", LABELER), ("Lead: sees and does everything", LEAD)],
        value=LABELER, label="Role", elem_id="people-role",
    )  # fmt: skip
    with gr.Row(elem_classes="hone-buttons"):
        go = gr.Button(
            "Make a link", variant="primary", scale=0, min_width=160, elem_id="people-invite"
        )
    link = once("Send them this link; it is shown only now", "people-link")
    return {"name": name, "role": role, "link": link}, go


def build_keys() -> tuple[dict[str, Any], gr.Button]:
    """Lay out the keys of programs."""
    gr.Markdown("## Keys\nBy which programs use the API. A key votes under its own name.")
    keys = gr.Dataframe(
        headers=KEYS, datatype="str", interactive=False, show_label=False, buttons=[],
        visible=False, elem_id="people-keys",
    )  # fmt: skip
    name = gr.Textbox(label="Name of the key", max_length=100, elem_id="people-key")
    scopes = gr.CheckboxGroup(
        SCOPES, label="What it opens", elem_id="people-scopes", elem_classes="hone-lines"
    )
    with gr.Row(elem_classes="hone-buttons"):
        make = gr.Button("Make a key", scale=0, min_width=160, elem_id="people-add-key")
    key = once("Keep this key now; it is shown only once", "people-made")
    going = gr.Dropdown(label="A key that is in use", visible=False, elem_id="people-going")
    with gr.Row(elem_classes="hone-buttons"):
        take = gr.Button(
            "Revoke it", visible=False, scale=0, min_width=160, elem_id="people-revoke"
        )
    told = {"keys": keys, "key_name": name, "scopes": scopes, "key": key}
    return {**told, "going": going, "take": take}, make


def once(label: str, elem_id: str) -> gr.Textbox:
    """Lay out where something is shown once, with a button that copies it."""
    return gr.Textbox(
        label=label, interactive=False, visible=False, max_lines=2, buttons=["copy"],
        elem_id=elem_id,
    )  # fmt: skip


def build_changes() -> dict[str, Any]:
    """Lay out the list of what leads changed."""
    gr.Markdown(f"## Changes\nWhat leads did, newest first; the last {MOST} are shown.")
    words = gr.Textbox(
        label="Only those with", placeholder="A name, a day, or what was done",
        max_length=200, elem_id="people-filter",
    )  # fmt: skip
    table = gr.Dataframe(
        headers=CHANGES, datatype="str", interactive=False, show_label=False, buttons=[],
        wrap=True, column_widths=["16%", "14%", "18%", "52%"], visible=False,
        elem_id="people-changes",
    )  # fmt: skip
    file_link("changes", "Download the changes")
    return {"filter": words, "changes": table}
