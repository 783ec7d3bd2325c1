"""An answer coloured token by token, and the legend that says what the colours mean.

For the compare screen: what alignment made likelier and what less.
"""

from __future__ import annotations

import gradio as gr

from align.implicit import Reward

WHY = "Colour what changed"
PLAIN = "Show plain text"
# Our own words only, so that it may go through gr.HTML.
SCALE = (
    "<div class='hone-scale-of-colours' role='img' aria-label='Red: less likely since the "
    "training; no colour: as before; purple: likelier'><span>7 times less likely</span><i></i>"
    "<span>7 times likelier</span></div>"
)
LEGEND = (
    "**Purple** is what the training made likelier at that place, **red** what it made less "
    "likely; the stronger, the more, and no colour means no change. ■ is the end of the answer. "
    "Added up and times β this is the **implicit reward**, log(π / π_ref): what the aligned model "
    "would give the answer if it were the judge. Above 0: it likes the answer more than before."
)


def coloured_text() -> gr.HighlightedText:
    """Lay out a text that is coloured token by token, hidden at first."""
    return gr.HighlightedText(
        visible=False,
        show_label=False,
        show_legend=False,
        container=False,
        combine_adjacent=False,
        elem_classes="hone-coloured",
        show_whitespaces=True,
    )


def painted(found: Reward) -> list[tuple[str, float]]:
    """Return an answer's pieces as `gr.HighlightedText` paints them.

    It paints what is below 0 purple and what is above 0 red, so the sign is turned round: red is
    what became less likely.
    """
    return [(piece, -strength) for piece, strength in found.coloured()]


def build_legend(elem_id: str) -> gr.Column:
    """Lay out what the colours mean, hidden at first."""
    with gr.Column(visible=False, elem_id=elem_id, elem_classes="hone-legend") as legend:
        gr.HTML(SCALE, js_on_load=None, padding=False)
        gr.Markdown(LEGEND, elem_classes="hone-small")
    return legend


def toggled(on: bool) -> str:
    """Return what the button that colours says now."""
    return PLAIN if on else WHY
