"""The part of the quality screen where a lead decides contradictions, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from feedback import adjudication
from feedback.accounts import ALONE
from feedback.screens.parts import on_show, plain, shown, two_sides, wire
from storage.errors import NotFound

TITLE = "## Contradictions"
NONE = (
    f"{TITLE}\nNo comparison waits for a decision. Where some people chose one answer and some the "
    "other, it shows up here."
)
LEAD = "Decide before you see who voted what: your verdict then stands, whatever the votes say."
VERDICTS = {
    "left": "A is better",
    "right": "B is better",
    "tie": "Tie",
    "both_bad": "Both are bad",
}
SAID = {**VERDICTS, "skip": "skipped"}


@dataclass(frozen=True, slots=True)
class View:
    title: gr.Markdown
    card: gr.Column
    prompt: gr.Markdown
    sides: tuple[gr.Markdown, gr.Markdown]
    reason: gr.Textbox
    voting: gr.Column
    after: gr.Column
    told: gr.Markdown
    waiting: gr.State  # ids of comparisons; the first is on the screen

    def parts(self) -> list[Any]:
        return [
            self.title, self.card, self.prompt, *self.sides, self.reason, self.voting, self.after,
            self.told, self.waiting,
        ]  # fmt: skip


def refill(workspace: Any, view: View, *, by: str = ALONE) -> dict[Any, Any]:
    """Look for undecided contradictions and show the first."""
    return show(workspace, view, adjudication.waiting(workspace.store), by)


def show(workspace: Any, view: View, waiting: list[str], by: str) -> dict[Any, Any]:
    """Show the first comparison with its votes hidden, or that there is none."""
    hidden = {view.after: gr.Column(visible=False), view.told: "", view.reason: ""}
    while waiting:
        try:
            case = adjudication.open_case(workspace.store, waiting[0], by)
            break
        except NotFound:  # its texts were erased meanwhile
            waiting = waiting[1:]
    else:
        return hidden | {view.title: NONE, view.card: gr.Column(visible=False), view.waiting: []}
    turns = (f"**{m['role']}**\n\n{shown(m['content'])}" for m in case.messages)
    return hidden | {
        view.title: f"{TITLE}\n{len(waiting):,} to decide. {LEAD}",
        view.card: gr.Column(visible=True),
        view.prompt: "\n\n".join(turns),
        view.sides[0]: answer("A", case.left),
        view.sides[1]: answer("B", case.right),
        view.voting: gr.Column(visible=True),
        view.waiting: waiting,
    }


def answer(name: str, text: str) -> str:
    """Return an answer under its letter."""
    return f"### {name}\n\n{shown(text) if text.strip() else '*(an empty answer)*'}"


def decide(
    workspace: Any, view: View, verdict: str, waiting: list[str], reason: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Record the verdict on the first comparison, and show who had voted what."""
    if not waiting:
        return {view.told: ""}
    store = workspace.store
    case = adjudication.open_case(store, waiting[0], by)
    adjudication.decide(store, case.comparison, case.own(verdict), by=by, reason=reason)
    votes = adjudication.votes_on(store, case.comparison)
    lines = [f"- {plain(who)}: **{SAID[case.seen(said)]}**" for who, said in votes]
    return {
        view.voting: gr.Column(visible=False),
        view.after: gr.Column(visible=True),
        view.told: f"**You decided: {VERDICTS[verdict]}.** The votes were:\n\n" + "\n".join(lines),
    }


def take_back(workspace: Any, view: View, waiting: list[str], *, by: str = ALONE) -> dict[Any, Any]:
    """Take the decision on the screen back, and ask again."""
    if waiting:
        adjudication.take_back(workspace.store, waiting[0], by=by)
    return show(workspace, view, waiting, by)


def show_next(workspace: Any, view: View, waiting: list[str], *, by: str = ALONE) -> dict[Any, Any]:
    """Show the next one."""
    return show(workspace, view, waiting[1:], by)


def build_adjudication(workspace: Any) -> None:
    """Lay out the section and connect it."""
    title = gr.Markdown(NONE, elem_id="adjudication-title")
    with gr.Column(visible=False, elem_classes="hone-card", elem_id="adjudication") as card:
        prompt = gr.Markdown(latex_delimiters=[], line_breaks=True)
        sides = two_sides()
        with gr.Column() as voting:
            reason = gr.Textbox(
                label="Why? (optional) It is kept with the decision.", max_lines=3,
                elem_id="adjudication-reason",
            )  # fmt: skip
            with gr.Row(elem_classes="hone-buttons"):
                buttons = {
                    key: gr.Button(
                        words, size="md", scale=0, min_width=150, elem_id=f"adjudicate-{key}"
                    )
                    for key, words in VERDICTS.items()
                }
        with gr.Column(visible=False) as after:
            told = gr.Markdown(elem_id="adjudication-told")
            with gr.Row(elem_classes="hone-buttons"):
                on = gr.Button(
                    "Next", size="md", scale=0, min_width=150, elem_id="adjudication-next",
                    variant="primary",
                )  # fmt: skip
                back = gr.Button(
                    "Take it back", size="md", scale=0, min_width=150, elem_id="adjudication-back"
                )
    view = View(title, card, prompt, sides, reason, voting, after, told, gr.State([]))
    parts = view.parts()
    for key, button in buttons.items():
        wire(
            button.click, decide, workspace, view, key, inputs=[view.waiting, reason],
            outputs=[voting, after, told],
        )  # fmt: skip
    wire(on.click, show_next, workspace, view, inputs=[view.waiting], outputs=parts)
    wire(back.click, take_back, workspace, view, inputs=[view.waiting], outputs=parts)
    on_show(refill, workspace, view, outputs=parts)
