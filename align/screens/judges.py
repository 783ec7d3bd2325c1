"""The part of a duel where a rule or another model votes too, beside the people and marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from align import duel_judges
from align.duelling import Duel
from align.judges import JUDGES, ON_SCREEN
from feedback import audit
from feedback.accounts import ALONE
from feedback.screens.parts import fold, follow, plain, wire

LEAD = (
    "A rule or another model can judge the same answers, each pair in both orders. Its votes are "
    "marked, never mix with people's, and train nothing. Trust it as far as it agrees with people."
)
LABELS = {"contains": "Text", "regex": "Pattern", "model": "Address and name of the model"}
EXAMPLES = {
    "contains": "thank you", "regex": r"^\s*[-*] ", "model": "http://127.0.0.1:8000/v1#name",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this part touches."""

    lines: gr.Markdown
    kind: gr.Dropdown
    what: gr.Textbox
    go: gr.Button
    stop: gr.Button
    told: gr.Markdown


def lines_of(found: dict[str, duel_judges.Judged]) -> str:
    """Return a line of Markdown for each judge; a judge's name may hold words of others."""
    return "\n".join(f"- {plain(duel_judges.words(name, one))}" for name, one in found.items())


def show(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Draw what each judge says of the run's duel."""
    text = lines_of(duel_judges.judged_by(workspace.store, Duel(run))) if run else ""
    return {view.lines: gr.Markdown(text, visible=bool(text))}


def choose(view: View, kind: str) -> dict[Any, Any]:
    """Show the field for what a judge takes, where it takes something."""
    takes = bool(JUDGES[kind].takes)
    example = EXAMPLES.get(kind, "")
    return {view.what: gr.Textbox(label=LABELS.get(kind, ""), placeholder=example, visible=takes)}


def start(
    workspace: Any, view: View, run: str | None, kind: str, what: str, *, by: str = ALONE
) -> Iterator[dict[Any, Any]]:
    """Let the judge vote on what it has not judged of the duel; show each step."""
    if not run:
        return
    name = f"{kind}:{what}" if JUDGES[kind].takes else kind
    yield {
        view.told: "Judging …", view.go: gr.Button(visible=False),
        view.stop: gr.Button(visible=True),
    }  # fmt: skip
    call = partial(duel_judges.let_judge, workspace.store, name, Duel(run), among=ON_SCREEN)
    for line, result in follow(call):
        if result is None:
            yield {view.told: plain(line)}
        else:
            audit.note(workspace.store, by, "judge", f"{name}: {result[1].judged:,} judged")
            yield show(workspace, view, run) | buttons(view) | {view.told: _told(*result)}


def _told(labeler: str, done: duel_judges.Done) -> str:
    told = f"{labeler} judged {done.judged} more." if done.judged else "Nothing new to judge."
    if done.unreadable:
        told += f" {done.unreadable} of its answers were no verdict, and are no vote."
    return plain(told)


def buttons(view: View) -> dict[Any, Any]:
    """Give the buttons back."""
    return {view.go: gr.Button(visible=True), view.stop: gr.Button(visible=False), view.told: ""}


def place() -> gr.Markdown:
    """Return where the judges' lines stand."""
    return gr.Markdown(visible=False, elem_classes="hone-small", elem_id="judges")


def build(workspace: Any, run: gr.State, lines: gr.Markdown) -> View:
    """Lay out the part and connect it.

    Args:
        run: whose duel it is.
        lines: of `place`.
    """
    with fold("Let a judge vote too", "judges-fold"):
        gr.Markdown(LEAD, elem_classes="hone-small")
        with gr.Row(elem_classes="hone-buttons"):
            kind = gr.Dropdown(
                [(JUDGES[name].title, name) for name in ON_SCREEN], value=ON_SCREEN[0],
                label="Prefers", elem_id="judges-kind", min_width=220,
            )  # fmt: skip
            what = gr.Textbox(visible=False, elem_id="judges-what", min_width=220)
        with gr.Row(elem_classes="hone-buttons"):
            go = gr.Button("Let it vote", elem_id="judges-go", scale=0, min_width=160)
            stop = gr.Button(
                "Stop", variant="stop", visible=False, elem_id="judges-stop", scale=0, min_width=160
            )
        told = gr.Markdown("", elem_classes="hone-note", elem_id="judges-told")
    view = View(lines, kind, what, go, stop, told)
    going = wire(
        go.click, start, workspace, view, inputs=[run, kind, what],
        outputs=[lines, go, stop, told], limit=1,
    )  # fmt: skip
    wire(going.failure, buttons, view, outputs=[go, stop, told])
    wire(stop.click, buttons, view, outputs=[go, stop, told], cancels=[going], queue=False)
    wire(kind.change, choose, view, inputs=[kind], outputs=[what])
    return view
