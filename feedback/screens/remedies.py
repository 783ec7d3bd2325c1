"""The remedies as buttons: what a finding can be answered with, and the list of what is left out.

Every remedy is a recorded decision with who and why; nothing is deleted, and the list takes each
one back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd

from feedback.accounts import ALONE
from feedback.curation import Excluded, ask_again, exclude_all, excluded, include_all
from feedback.items import look_up
from feedback.screens.parts import plain, wire
from feedback.values import brief
from storage.errors import BadInput
from storage.records import Comparison, Prompt, Response, Vote
from storage.store import Store

WHOSE = ("labeler", "source")  # findings about these start with the word
ITEMS: dict[str, type] = {
    "comparison": Comparison, "response": Response, "prompt": Prompt, "vote": Vote,
}  # fmt: skip
LEFT_OUT = ["Kind", "What", "Keeps out", "Why", "Who", "When"]
# Choice: what one click leaves out is stored a microsecond apart; nobody clicks twice within this.
TOGETHER = timedelta(milliseconds=1)


class Offer(NamedTuple):
    """What can be done about a finding."""

    subject: tuple[str, str] | None  # ("labeler", "ada"), ("source", "screen")
    items: tuple[str, ...]
    why: str  # the finding's own words, as the reason to start from


@dataclass(frozen=True, slots=True)
class Remedies:
    offer: gr.State
    box: gr.Column
    reason: gr.Textbox
    subject: gr.Button
    items: gr.Button
    again: gr.Button
    told: gr.Markdown

    def parts(self) -> list[Any]:
        return [self.offer, self.box, self.reason, self.subject, self.items, self.again, self.told]


@dataclass(frozen=True, slots=True)
class LeftOut:
    title: gr.Markdown
    table: gr.Dataframe
    rows: gr.State  # (kind, items), in the table's order
    chosen: gr.State
    back: gr.Button

    def parts(self) -> list[Any]:
        return [self.title, self.table, self.rows, self.chosen, self.back]


def offer_of(subject: str, items: Sequence[str], message: str) -> Offer:
    """Return what can be done about a finding.

    Example:
        >>> offer_of("labeler ada b", ["c1"], "Too fast.").subject
        ('labeler', 'ada b')
        >>> offer_of("bold", [], "Form wins.").subject is None
        True
    """
    kind, _, name = subject.partition(" ")
    return Offer((kind, name) if kind in WHOSE and name else None, tuple(items), message)


def show_offer(view: Remedies, offer: Offer) -> dict[Any, Any]:
    """Show the buttons that answer a finding; none where there is nothing to leave out."""
    count = len(offer.items)
    name = f"Leave out {' '.join(offer.subject)}" if offer.subject else ""
    return {
        view.offer: offer,
        view.box: gr.Column(visible=bool(offer.subject or offer.items)),
        view.reason: brief(offer.why, 200),
        view.subject: gr.Button(brief(name, 60), visible=bool(offer.subject)),
        view.items: gr.Button(
            f"Leave out {'this item' if count == 1 else f'these {count:,} items'}",
            visible=bool(count),
        ),
        view.again: gr.Button(visible=bool(count)),
        view.told: "",
    }


def leave_out_subject(
    workspace: Any, view: Remedies, offer: Offer, reason: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Keep a labeler's or a source's feedback out of snapshots and checks."""
    kind, name = offer.subject or ("", "")
    exclude_all(workspace.store, kind, [name], reason=reason, by=by)
    return {view.told: f"**Left out:** {plain(kind)} {plain(name)}. It can be taken back below."}


def leave_out_items(
    workspace: Any, view: Remedies, offer: Offer, reason: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Keep the items behind a finding out of snapshots and checks."""
    found = by_kind(workspace.store, offer.items)
    for kind, ids in found.items():
        exclude_all(workspace.store, kind, ids, reason=reason, by=by)
    count = sum(map(len, found.values()))
    return {view.told: f"**Left out:** {count:,} items. They can be taken back below."}


def ask_items_again(
    workspace: Any, view: Remedies, offer: Offer, *, by: str = ALONE
) -> dict[Any, Any]:
    """Put the comparisons behind a finding back into the queue."""
    ids = by_kind(workspace.store, offer.items).get("comparison", [])
    if not ids:
        raise BadInput("none of these items is a comparison: only comparisons can be asked again")
    ask_again(workspace.store, ids, by=by)
    return {view.told: f"**Asked again:** {len(ids):,} comparisons wait for one vote more each."}


def by_kind(store: Store, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids by what they are; what is not stored is left out."""
    found: dict[str, list[str]] = {}
    rest = list(dict.fromkeys(ids))
    for kind, record in ITEMS.items():
        rows: list[Any] = look_up(store, record, rest)
        known = {one.id for one in rows}
        if known:
            found[kind] = [id for id in rest if id in known]
        rest = [id for id in rest if id not in known]
    return found


def list_left_out(workspace: Any, view: LeftOut) -> dict[Any, Any]:
    """Show what is left out now, the newest first; a row for what was left out together."""
    out = together(excluded(workspace.store))
    rows = [left_out_row(decision) for decision in out]
    count = sum(one.feedback for decision in out for one in decision)
    decided = f"{len(out):,} decisions keep" if len(out) > 1 else "One decision keeps"
    told = (
        f"{decided} {count:,} votes, thumbs and edits out of snapshots and checks. Choose a row to "
        "take it back in."
    )
    return {
        view.title: f"## Left out\n{told}" if out else "",
        view.table: gr.Dataframe(pd.DataFrame(rows, columns=LEFT_OUT), visible=bool(out)),
        view.rows: [(decision[0].kind, [one.item for one in decision]) for decision in out],
        view.chosen: None,
        view.back: gr.Button(visible=False),
    }


def together(out: Sequence[Excluded]) -> list[list[Excluded]]:
    """Return what is left out by decision, the newest first; one click left out all of one."""
    decisions: list[list[Excluded]] = []
    for one in sorted(out, key=lambda one: one.created_at, reverse=True):
        if decisions and _same_click(one, decisions[-1][-1]):
            decisions[-1].append(one)
        else:
            decisions.append([one])
    return decisions


def _same_click(one: Excluded, other: Excluded) -> bool:
    said = [(each.kind, each.reason, each.by) for each in (one, other)]
    times = [datetime.fromisoformat(each.created_at) for each in (one, other)]
    return said[0] == said[1] and abs(times[0] - times[1]) <= TOGETHER


def left_out_row(decision: Sequence[Excluded]) -> list[str]:
    """Return a decision as a row of the table."""
    one, count = decision[0], sum(each.feedback for each in decision)
    what = one.item if len(decision) == 1 else f"{len(decision):,}: {decision[-1].item}, …"
    when = one.created_at[:16].replace("T", " ")
    return [one.kind, brief(what, 60), f"{count:,}", brief(one.reason, 80), brief(one.by, 30),
            when]  # fmt: skip


def choose_left_out(
    view: LeftOut, rows: Sequence[tuple[str, Sequence[str]]], chosen: gr.SelectData
) -> dict[Any, Any]:
    """Offer to take the chosen ones back in."""
    kind, items = rows[chosen.index[0]]
    many = len(items) > 1
    what = f"these {len(items):,} {kind}s" if many else f"{kind} {brief(items[0], 40)}"
    return {
        view.chosen: (kind, items),
        view.back: gr.Button(f"Take {what} back in", visible=True),
    }


def take_back(
    workspace: Any, view: LeftOut, chosen: tuple[str, Sequence[str]] | None, *, by: str = ALONE
) -> dict[Any, Any]:
    """Let what was chosen count again."""
    if chosen is not None:
        kind, items = chosen
        include_all(workspace.store, kind, items, by=by)
    return list_left_out(workspace, view)


def build_remedies() -> Remedies:
    """Lay out the buttons below a finding."""
    with gr.Column(visible=False) as box:
        reason = gr.Textbox(
            label="Why? It is kept with the decision.", max_lines=3, elem_id="remedy-reason"
        )
        with gr.Row(elem_classes="hone-buttons"):
            subject = gr.Button(
                "", size="sm", visible=False, scale=0, min_width=200, elem_id="remedy-subject"
            )
            items = gr.Button(
                "", size="sm", visible=False, scale=0, min_width=200, elem_id="remedy-items"
            )
            again = gr.Button(
                "Ask again",
                size="sm",
                visible=False,
                scale=0,
                min_width=200,
                elem_id="remedy-again",
            )
        told = gr.Markdown("", elem_id="remedy-told", elem_classes="hone-note")
    return Remedies(gr.State(None), box, reason, subject, items, again, told)


def build_left_out() -> LeftOut:
    """Lay out the list of what is left out."""
    title = gr.Markdown("", elem_classes="hone-note")
    table = gr.Dataframe(
        headers=LEFT_OUT, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="left-out",
    )  # fmt: skip
    back = gr.Button("", size="sm", visible=False, elem_id="take-back")
    return LeftOut(title, table, gr.State([]), gr.State(None), back)


def connect(workspace: Any, view: Remedies, left: LeftOut) -> list[Any]:
    """Connect the buttons; return the events after which the checks look different."""
    shown = left.parts()
    done = []
    asked = [view.offer, view.reason]
    for button, handler in ((view.subject, leave_out_subject), (view.items, leave_out_items)):
        event = wire(button.click, handler, workspace, view, inputs=asked, outputs=[view.told])
        done.append(wire(event.success, list_left_out, workspace, left, outputs=shown))
    wire(
        view.again.click, ask_items_again, workspace, view,
        inputs=[view.offer], outputs=[view.told],
    )  # fmt: skip
    opened = [left.chosen, left.back]
    wire(left.table.select, choose_left_out, left, inputs=[left.rows], outputs=opened)
    done.append(
        wire(left.back.click, take_back, workspace, left, inputs=[left.chosen], outputs=shown)
    )
    return done
