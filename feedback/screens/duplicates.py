"""The part of the data screen where repeats are decided about, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from feedback import browse
from feedback.accounts import ALONE
from feedback.duplicates import Question, decide, open_questions
from feedback.quality import find_repeats
from feedback.screens.parts import on_show, plain, shown, two_sides, wire
from storage.errors import NotFound

ALL_DECIDED = (
    "## Duplicates\nNo repeat waits for a decision. Prompts asked before, and comparisons of "
    "two nearly equal answers, show up here."
)
WORDS = {"skip": "Skip", "link": "Link", "keep": "Keep"}
MEANING = (
    "**Skip**: no longer judged, never trained on. **Link**: stays, known as a repeat. "
    "**Keep**: it is none."
)


@dataclass(frozen=True, slots=True)
class View:
    title: gr.Markdown
    card: gr.Column
    message: gr.Markdown
    sides: tuple[gr.Markdown, gr.Markdown]
    waiting: gr.State  # the questions, as plain dicts; the first is on the screen

    def parts(self) -> list[Any]:
        return [self.title, self.card, self.message, *self.sides, self.waiting]


def refill(workspace: Any, view: View) -> dict[Any, Any]:
    """Look for undecided repeats and show the first."""
    found = open_questions(workspace.store, find_repeats(workspace.store))
    return show(workspace, view, [asdict(question) for question in found])


def show(workspace: Any, view: View, waiting: list[dict[str, Any]]) -> dict[Any, Any]:
    """Show the first question, or that there is none."""
    if not waiting:
        return {view.title: ALL_DECIDED, view.card: gr.Column(visible=False), view.waiting: []}
    first = Question(**waiting[0])
    left, right = (
        two_answers(workspace, first) if first.kind == "response" else two_items(workspace, first)
    )
    return {
        view.title: f"## Duplicates\n{len(waiting):,} to decide. {MEANING}",
        view.card: gr.Column(visible=True),
        view.message: plain(first.message),
        view.sides[0]: left,
        view.sides[1]: right,
        view.waiting: waiting,
    }


def two_items(workspace: Any, question: Question) -> tuple[str, str]:
    """Return the earlier item and the later one, each by its question."""
    item = question.items[0]
    told = browse.describe(workspace.store, [question.earlier, item])
    more = f" and {len(question.items) - 1:,} more" if len(question.items) > 1 else ""
    return (
        f"### Earlier · {plain(question.earlier)}\n\n{shown(told[question.earlier])}",
        f"### Again · {plain(item)}{more}\n\n{shown(told[item])}",
    )


def two_answers(workspace: Any, question: Question) -> tuple[str, str]:
    """Return the two answers of a comparison."""
    try:
        one = browse.open_comparison(workspace.store, question.items[0])
    except NotFound as error:
        return plain(str(error)), ""
    return (f"### A\n\n{shown(one.answers[0])}", f"### B\n\n{shown(one.answers[1])}")


def answer(
    workspace: Any, view: View, decision: str, waiting: list[dict[str, Any]], *, by: str = ALONE
) -> dict[Any, Any]:
    """Record the decision about the first question and show the next."""
    if waiting:
        decide(workspace.store, Question(**waiting[0]), decision, by)
    return show(workspace, view, waiting[1:])


def build_duplicates(workspace: Any) -> Callable[[Any], None]:
    """Lay out the section; return what connects another event to its refresh."""
    title = gr.Markdown(ALL_DECIDED, elem_id="duplicates-title")
    with gr.Column(visible=False, elem_classes="hone-card", elem_id="duplicates") as card:
        message = gr.Markdown()
        sides = two_sides()
        with gr.Row(elem_classes="hone-buttons"):
            buttons = {
                key: gr.Button(words, size="md", scale=0, min_width=180, elem_id=f"duplicate-{key}")
                for key, words in WORDS.items()
            }
    view = View(title, card, message, sides, gr.State([]))
    parts = view.parts()
    for key, button in buttons.items():
        wire(button.click, answer, workspace, view, key, inputs=[view.waiting], outputs=parts)
    on_show(refill, workspace, view, outputs=parts)
    return lambda event: wire(
        event, refill, workspace, view, outputs=parts, trigger_mode="always_last"
    )
