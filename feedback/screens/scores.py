"""The part of the quality screen that lets a model score the answers, for the checks that ask.

What scores is the workspace's `score`: nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from feedback.checks.result import CheckResult
from feedback.checks.scores import TO_SCORE
from feedback.screens.parts import follow, plain, wire

STARTING = "The model is starting; how far it is stands here within a minute …"


@dataclass(frozen=True, slots=True)
class Scores:
    offer: gr.Row
    go: gr.Button
    told: gr.Markdown


def wanted(results: Sequence[CheckResult]) -> bool:
    """Return whether a check could say more if the answers had scores."""
    return any(finding.remedy == TO_SCORE for result in results for finding in result.findings)


def show_offer(view: Scores, results: Sequence[CheckResult]) -> dict[Any, Any]:
    """Offer to score where a check asks for it."""
    return {view.offer: gr.Row(visible=wanted(results))}


def score(workspace: Any, view: Scores) -> Iterator[dict[Any, Any]]:
    """Score some answers, and say how far it is; pressed again it goes on."""
    yield {view.told: STARTING, view.go: gr.Button(interactive=False)}
    for line, done in follow(workspace.score):
        yield {view.told: plain(line)} if done is None else ready(view) | {view.told: summary(done)}


def ready(view: Scores) -> dict[Any, Any]:
    """Give the button back, and say nothing."""
    return {view.told: "", view.go: gr.Button(interactive=True)}


def summary(done: dict[str, Any]) -> str:
    """Return what was scored, and what to do next.

    Example:
        >>> summary({"model": "m", "scored": 200, "left": 40})
        '**Scored:** 200 answers, by m. 40 left: press again to go on.'
        >>> summary({"model": "m", "scored": 0, "left": 0})
        'Every answer has a score already. What is still unknown needs more votes.'
    """
    if not done["scored"] and not done["left"]:
        return "Every answer has a score already. What is still unknown needs more votes."
    rest = f"{done['left']:,} left: press again to go on." if done["left"] else "None left."
    return f"**Scored:** {done['scored']:,} answers, by {plain(done['model'])}. {rest}"


def build_scores() -> Scores:
    """Lay out the offer and the line that says how far it is."""
    with gr.Row(visible=False, elem_classes="hone-buttons") as offer:
        gr.Markdown(
            "Some checks need to know how likely the model finds the answers.",
            elem_classes="hone-note",
        )
        go = gr.Button("Score them now", size="sm", scale=0, min_width=160, elem_id="score-now")
    return Scores(offer, go, gr.Markdown("", elem_id="score-told", elem_classes="hone-note"))


def connect(workspace: Any, view: Scores) -> Any:
    """Connect the button; return the event after which the checks look different."""
    shown = [view.told, view.go]
    going = wire(view.go.click, score, workspace, view, outputs=shown, limit=1)
    wire(going.failure, ready, view, outputs=shown)
    return going
