"""The part of the compare screen that lets people decide: a blind duel, and how it stands.

The answers go to the label screen, which asks them before everything else; here is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from align import duelling
from align.duelling import Duel, Standing
from align.screens import judges
from feedback import audit, duels
from feedback.accounts import ALONE
from feedback.screens.parts import follow, on_news, percent, plain, track, wire

LEAD = (
    "## Let people decide\nBoth models answer prompts that no run ever trains on. The answers come "
    "first on *Label*, where nobody can tell which is which. The interval holds whenever you look."
)
NONE_YET = "No duel yet for this run."
STATES = {"better": ("ok", "Better"), "worse": ("stop", "Worse"), "": ("unknown", "Open")}


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this part touches."""

    go: gr.Button
    stop: gr.Button
    prompts: gr.Number
    told: gr.Markdown
    stands: gr.HTML
    judged: judges.View

    def drawn(self) -> list[Any]:
        return [self.go, self.stop, self.told, *self.shown()]

    def shown(self) -> list[Any]:
        """Return what `show` draws, `go` apart."""
        return [self.stands, self.judged.lines]


def standing_html(stands: Standing) -> str:
    """Return a duel's rate on a 0–100 % track with its interval, and what it means.

    Holds our own words and numbers only, so it may go through `gr.HTML`.
    """
    found = stands.outcome
    if found.rate is None:
        return f"<div class='hone-small'>{waiting_words(stands)}</div>"
    tone, state = STATES[found.decided]
    low, high, at = (100 * end for end in (found.low, found.high, found.rate))
    label = f"{at:.0f} per cent, between {low:.0f} and {high:.0f}"
    equal = ""
    if found.at_equal_lengths is not None:
        equal = f" · at equal lengths about {percent(found.at_equal_lengths)}"
    return (
        f"<div class='hone-meter hone-{tone}'><div class='hone-meter-top'>"
        f"<h3>The model after is preferred</h3><span class='hone-state'>{state}</span></div>"
        f"<div class='hone-value'>{percent(found.rate)}</div>"
        f"<div class='hone-measure'>{found.wins} won, {found.losses} lost, {found.ties} tied"
        f"{equal}</div>"
        f"{track(low, at, high, label)}"
        f"<div class='hone-small'>95 % interval {low:.0f}–{high:.0f} %, valid whenever you look. "
        f"{duels.next_words(found)} {waiting_words(stands)}</div></div>"
    )


def waiting_words(stands: Standing) -> str:
    """Return what still has to be judged."""
    same = f" Answered alike, so tied: {stands.identical}." if stands.identical else ""
    if stands.waiting:
        return f"Still to judge on Label: {stands.waiting} of {stands.prompts}.{same}"
    return f"Everything is judged.{same}"


def show(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Draw how the run's duel stands, with its judges; a sentence where there is none."""
    drawn = judges.show(workspace, view.judged, run)
    if not run:
        return drawn | {view.stands: "", view.go: gr.Button("Start a duel")}
    stands = duelling.standing(workspace.store, Duel(run))
    if not stands.prompts:
        words = f"<div class='hone-small'>{NONE_YET}</div>"
        return drawn | {view.stands: words, view.go: gr.Button("Start a duel")}
    return drawn | {view.stands: standing_html(stands), view.go: gr.Button("Add prompts")}


def start(
    workspace: Any, view: View, run: str | None, prompts: float | None, *, by: str = ALONE
) -> Iterator[dict[Any, Any]]:
    """Let both models answer more duel prompts; show each step."""
    if not run:
        return
    wanted = duelling.standing(workspace.store, Duel(run)).prompts + int(prompts or 0)
    yield {
        view.told: "Both models are answering …",
        view.go: gr.Button(visible=False),
        view.stop: gr.Button(visible=True),
    }
    call = partial(duelling.begin, workspace, Duel(run), prompts=wanted)
    for line, there in follow(call):
        if there is None:
            yield {view.told: plain(line)}
    audit.note(workspace.store, by, "duel", f"{run} against {duelling.BASE}")
    told = "No more prompts are kept for duels." if there is not None and there < wanted else ""
    yield show(workspace, view, run) | {
        view.go: gr.Button("Add prompts", visible=True),
        view.stop: gr.Button(visible=False),
        view.told: told,
    }


def buttons(view: View) -> dict[Any, Any]:
    """Give the buttons back."""
    return {view.go: gr.Button(visible=True), view.stop: gr.Button(visible=False), view.told: ""}


def build(workspace: Any, run: gr.State) -> View:
    """Lay out the part and connect it; `run` is whose duel it is.

    Who sets `run` lets `follow_run` listen.
    """
    with gr.Column(elem_classes="hone-card", elem_id="duel"):
        gr.Markdown(LEAD)
        stands = gr.HTML("", js_on_load=None, elem_id="duel-stands", padding=False)
        lines = judges.place()
        with gr.Row(elem_classes="hone-buttons"):
            go = gr.Button("Start a duel", elem_id="duel-go", scale=0, min_width=160)
            stop = gr.Button(
                "Stop", variant="stop", visible=False, elem_id="duel-stop", scale=0, min_width=160
            )
            prompts = gr.Number(
                duelling.PROMPTS, precision=0, minimum=1, maximum=1000, label="Prompts",
                elem_id="duel-prompts", scale=0, min_width=120,
            )  # fmt: skip
        told = gr.Markdown("", elem_classes="hone-note", elem_id="duel-told")
        judged = judges.build(workspace, run, lines)
    view = View(go, stop, prompts, told, stands, judged)
    going = wire(
        go.click, start, workspace, view, inputs=[run, prompts], outputs=view.drawn(), limit=1
    )
    wire(going.failure, buttons, view, outputs=[go, stop, told])
    wire(stop.click, buttons, view, outputs=[go, stop, told], cancels=[going], queue=False)
    on_news("votes", show, workspace, view, inputs=[run], outputs=[*view.shown(), go])
    return view


def follow_run(event: Any, workspace: Any, view: View, run: gr.State) -> None:
    """Draw the duel anew after the event."""
    wire(event, show, workspace, view, inputs=[run], outputs=[*view.shown(), view.go])
