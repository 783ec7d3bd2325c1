"""The part of the compare screen that opens a pair which people judged: what the model thinks now.

The model after training is a judge in secret; here it is asked about pairs whose answer is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import links, opened
from align.implicit import Reward
from align.opened import Seen
from align.screens.colours import build_legend, coloured_text, painted
from feedback.screens.parts import on_show, plain, shown, wire
from storage.errors import UserError

LEAD = (
    "## What it thinks of a pair from the data\nThe run above as a judge: two answers that people "
    "compared, coloured by what the training made likelier. Held-out pairs come first: no run "
    "was trained on those."
)
PICK = "Open a pair that people voted on"
NONE_YET = "No comparison has more votes for one of its answers yet."
ASKING = "Asking the model …"
TITLES = ("### Chosen by people", "### Rejected by people")


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this part touches."""

    pick: gr.Dropdown
    told: gr.Markdown
    found: gr.Column
    prompt: gr.Markdown
    texts: tuple[gr.HighlightedText, gr.HighlightedText]
    facts: tuple[gr.Markdown, gr.Markdown]
    legend: gr.Column

    def drawn(self) -> list[Any]:
        return [
            self.pick, self.told, self.found, self.prompt, self.legend, *self.texts, *self.facts,
        ]  # fmt: skip


def offer(workspace: Any, view: View, picked: str | None) -> dict[Any, Any]:
    """Fill the list of pairs."""
    pairs = opened.offered(workspace.store)
    known = picked if picked in {key for _, key in pairs} else None
    return {
        view.pick: gr.Dropdown(choices=pairs, value=known),
        view.told: gr.skip() if pairs else NONE_YET,
    }


def ask(
    workspace: Any, view: View, run: str | None, comparison: str | None
) -> Iterator[dict[Any, Any]]:
    """Show both answers of a pair as the run sees them."""
    if not comparison:
        return
    yield {view.told: ASKING}
    yield draw(view, opened.seen_by(workspace, run, comparison))


def draw(view: View, seen: Seen) -> dict[Any, Any]:
    """Draw both texts with their rewards, and who is of which opinion."""
    said = seen.said
    asked = shown(said.messages[-1]["content"])
    drawn: dict[Any, Any] = {
        view.told: f"**{plain(seen.words())}**",
        view.found: gr.Column(visible=True),
        view.prompt: asked,
        view.legend: gr.Column(visible=True),
    }
    for side, found in enumerate(seen.rewards):
        drawn[view.texts[side]] = gr.HighlightedText(painted(found), visible=True)
        drawn[view.facts[side]] = facts(found, said.texts[side])
    drawn[view.facts[0]] += f"\n\n{said.words()}"
    return drawn


def facts(found: Reward, text: str) -> str:
    """Return an answer's length and reward in words."""
    return f"{len(found.gains):,} tokens · {len(text):,} characters\n\n{found.words()}"


def open_link(workspace: Any, view: View, tabs: Any, request: gr.Request) -> dict[Any, Any]:
    """Put the pair that the page's address names into the list; the model is asked by a click."""
    try:
        found = links.read(dict(request.query_params))
        if found is None or not found.pair:
            return {tabs: gr.skip()}
        opened.said_of(workspace.store, found.pair)
    except UserError as error:
        return {tabs: gr.Tabs(selected="compare"), view.told: plain(str(error))}
    return offer(workspace, view, found.pair) | {tabs: gr.Tabs(selected="compare")}


def failed(view: View) -> dict[Any, Any]:
    """Take back that the model is being asked."""
    return {view.told: ""}


def build(workspace: Any, run: gr.State) -> View:
    """Lay out the part and connect it; `run` is whose opinion is asked."""
    with gr.Column(elem_classes="hone-card", elem_id="pair"):
        gr.Markdown(LEAD)
        with gr.Row(elem_classes="hone-buttons hone-ask"):
            pick = gr.Dropdown(label=PICK, elem_id="pair-pick", value=None, scale=4)
            go = gr.Button("Ask the model", elem_id="pair-go", scale=0, min_width=160)
        told = gr.Markdown("", elem_classes="hone-note", elem_id="pair-told")
        with gr.Column(visible=False, elem_id="pair-found") as found:
            prompt = gr.Markdown("", elem_classes="hone-turns", latex_delimiters=[])
            texts, said = [], []
            with gr.Row(equal_height=True, elem_classes="hone-sides"):
                for title in TITLES:
                    with gr.Column(elem_classes="hone-side", min_width=300):
                        gr.Markdown(title)
                        texts.append(coloured_text())
                        said.append(gr.Markdown(" ", elem_classes="hone-small"))
            legend = build_legend("pair-legend")
    view = View(pick, told, found, prompt, (texts[0], texts[1]), (said[0], said[1]), legend)
    on_show(offer, workspace, view, inputs=[pick], outputs=[pick, told])
    asking = wire(go.click, ask, workspace, view, inputs=[run, pick], outputs=view.drawn(), limit=2)
    wire(asking.failure, failed, view, outputs=[told])
    return view
