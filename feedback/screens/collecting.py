"""The part of the data screen that says what measures labelers: gold items, repeats, overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from feedback import audit, gold
from feedback.accounts import ALONE
from feedback.campaigns import default_campaign, set_collecting
from feedback.screens.parts import fold, on_show, wire

NOT_GOLD = "no"
RIGHT = [
    ("Not a gold item", NOT_GOLD),
    ("A is better", "a"),
    ("B is better", "b"),
    ("Tie", "tie"),
    ("Both are bad", "both_bad"),
]


@dataclass(frozen=True, slots=True)
class GoldView:
    verdict: gr.Radio
    chosen: gr.State  # the id of the comparison that is open


def show_gold(workspace: Any, view: GoldView, comparison: str) -> dict[Any, Any]:
    """Show whether the comparison that was opened is a gold item."""
    known = gold.gold_verdict(workspace.store, comparison) or NOT_GOLD
    return {view.verdict: known, view.chosen: comparison}


def set_gold(workspace: Any, comparison: str, verdict: str, *, by: str = ALONE) -> str:
    """Set or take back the right verdict on the open comparison; return it as it is now."""
    if verdict != NOT_GOLD:
        gold.set_gold(workspace.store, comparison, verdict, by)
    elif gold.gold_verdict(workspace.store, comparison):
        gold.take_back(workspace.store, comparison, by)
    return gold.gold_verdict(workspace.store, comparison) or NOT_GOLD


def read(workspace: Any) -> tuple[float, float, float, float, str]:
    """Return the four settings, shares in percent, and no message."""
    now = default_campaign(workspace.store)
    return now.overlap, 100 * now.shared, 100 * now.repeats, 100 * now.gold, ""


def save(
    workspace: Any,
    overlap: float,
    shared: float,
    repeats: float,
    golden: float,
    *,
    by: str = ALONE,
) -> tuple[float, float, float, float, str]:
    """Change the settings, shares in percent; return them as they are now, and a word."""
    set_collecting(
        workspace.store,
        overlap=int(overlap or 0),
        shared=(shared or 0) / 100,
        repeats=(repeats or 0) / 100,
        gold=(golden or 0) / 100,
    )
    audit.note_settings(workspace.store, by)
    return (*read(workspace)[:4], "Saved. It holds for what is shown from now on.")


def build_gold(workspace: Any) -> GoldView:
    """Lay out the choice under an open comparison."""
    verdict = gr.Radio(
        RIGHT, value=NOT_GOLD, elem_id="gold-verdict", label="Gold item: which verdict is right?",
        info="Labelers get it among their other items and are not told.",
    )  # fmt: skip
    view = GoldView(verdict, gr.State(""))
    wire(verdict.input, set_gold, workspace, inputs=[view.chosen, verdict], outputs=[verdict])
    return view


def build_collecting(workspace: Any) -> None:
    """Lay out the settings of the campaign."""
    with fold("Collecting: who judges what", "collecting"):
        with gr.Row():
            fields = [
                gr.Number(1, label="People per comparison", precision=0, minimum=1),
                gr.Number(10, label="% judged by one or two more"),
                gr.Number(5, label="% silent repeats"),
                gr.Number(5, label="% gold items"),
            ]
        go = gr.Button("Save", elem_id="collecting-save")
        told = gr.Markdown(elem_classes="hone-note")
    on_show(read, workspace, outputs=[*fields, told])
    wire(go.click, save, workspace, inputs=fields, outputs=[*fields, told])
