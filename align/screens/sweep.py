"""The part of the train screen that helps to choose β: short runs, a picture, a choice.

The button runs the command line's `sweep`; a sweep is read anew from its files at every look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import readiness, recipes, sweep_files
from align import sweep as sweeping
from align.device import device_now
from align.estimate import KNOWN
from align.leash import leash_of
from align.losses import LOSSES
from align.screens.frontier import frontier_html
from align.sweep_files import parsed
from align.tradeoff import Point, in_words
from feedback.screens.parts import fold, interval, minutes, plain
from feedback.snapshots import SnapshotSettings, preview

WHY = (
    "β is the leash: a longer one follows the votes further and drifts further. A few short runs, "
    "alike in all but β, show what that means for these votes. They train one after the other; the "
    "app goes on with them by itself."
)


@dataclass(frozen=True, slots=True)
class Tryout:
    """Every component of this part."""

    betas: gr.Textbox
    rows: gr.Number
    cost: gr.Markdown  # about how long it takes
    command: gr.Code
    start: gr.Button
    cancel: gr.Button
    told: gr.Markdown  # how far it is
    picture: gr.HTML
    words: gr.Markdown  # the reading, and the numbers
    take: gr.Radio
    drawn: gr.State  # what the page shows already

    def shown(self) -> list[Any]:
        """Return what `look` may change."""
        return [
            self.start, self.cancel, self.told, self.picture, self.words, self.take, self.drawn,
        ]  # fmt: skip


def build_tryout() -> Tryout:
    """Lay out the part, closed at first."""
    with fold("Which β? Try a few in short runs", "train-sweep"):
        gr.Markdown(WHY, elem_classes="hone-small")
        with gr.Row(elem_classes="hone-buttons"):
            betas = gr.Textbox(
                text_of("dpo"), label="Values of β", min_width=180, scale=2,
                elem_id="sweep-betas",
            )  # fmt: skip
            rows = gr.Number(
                sweeping.ROWS, label="Rows per run, at most", precision=0, minimum=2,
                min_width=150, scale=1,
            )  # fmt: skip
            start = gr.Button("Try them", scale=0, min_width=120, elem_id="sweep-go")
            stop = gr.Button(
                "Cancel all", variant="stop", visible=False, scale=0, min_width=120,
                elem_id="sweep-cancel",
            )  # fmt: skip
        cost = gr.Markdown("", elem_id="sweep-cost", elem_classes="hone-small")
        told = gr.Markdown("", elem_id="sweep-told", elem_classes="hone-note")
        picture = gr.HTML("", js_on_load=None, elem_id="sweep-picture")
        words = gr.Markdown("", elem_id="sweep-words", elem_classes="hone-note")
        take = gr.Radio(
            [], label="Take one into the form", visible=False, elem_id="sweep-take",
            elem_classes=["hone-lines", "hone-three"],
        )  # fmt: skip
        command = gr.Code(
            "", language="shell", label="The same on the command line", interactive=False,
            lines=1, show_line_numbers=False, wrap_lines=True, buttons=["copy"],
            elem_id="sweep-command", elem_classes="hone-command",
        )  # fmt: skip
    return Tryout(
        betas, rows, cost, command, start, stop, told, picture, words, take, gr.State(None)
    )


def text_of(method: str) -> str:
    """Return the usual values of β of a method, as the field has them."""
    return ", ".join(f"{beta:g}" for beta in sweeping.usual_betas(method))


def look(workspace: Any, view: Tryout, drawn: Any) -> dict[Any, Any]:
    """Draw the newest sweep as its files have it now; what did not change is not sent again."""
    ids = sweep_files.sweep_ids(workspace.data)
    if not ids:
        return {view.drawn: drawn}
    record = sweep_files.read_sweep(workspace.data, ids[0])
    points = sweep_files.points_of(workspace.data, record)
    state = state_words(workspace, record, points)
    now = [ids[0], state, [point.status for point in points]]
    if now == drawn:
        return {view.drawn: drawn}
    going = not record["ended"]
    parts = {
        view.drawn: now, view.told: state,
        view.start: gr.Button("Trying …" if going else "Try them", interactive=not going),
        view.cancel: gr.Button(visible=going),
    }  # fmt: skip
    if drawn and now[0] == drawn[0] and now[2] == drawn[2]:
        return parts  # only a step further: picture and choice stay as they are
    known = [point for point in points if point.known]
    return parts | {
        view.picture: frontier_html(points),
        view.words: summary(points),
        view.take: gr.Radio(
            choices=[(choice(point), point.beta) for point in known], value=None,
            visible=bool(known),
        ),
    }  # fmt: skip


def state_words(workspace: Any, record: Any, points: Sequence[Point]) -> str:
    """Return which sweep this is, and how far."""
    name = f"**{record['method'].upper()}**, {plain(record['model'])}, {record['rows']:,} rows"
    if not record["ended"]:
        found = sweep_files.current(workspace.data, record)
        if found is None:
            return f"{name}: the next run is about to start."
        place, run = found
        share = f", step {run.step:,} of {run.steps:,}" if run.steps else ""
        left = f", about {minutes(run.seconds_left)} left" if run.seconds_left is not None else ""
        return f"{name}: run {place} of {len(points)}{share}{left}."
    word = sweep_files.word_of(record, points)
    return f"{name}: {word}." if word != "done" else f"{name}."


def summary(points: Sequence[Point]) -> str:
    """Return the reading and the numbers of a sweep."""
    known = [point for point in points if point.known or point.warnings]
    if not known:
        return ""
    said = in_words(points)
    first = f"**{said}**" if said else ""
    head = "|β|right (95 %)|nats/token|length|repeat|\n|--:|--:|--:|--:|--:|"
    lines = [table_row(point) for point in known]
    told = [f"β {p.beta:g}: {plain(w)}." for p in known for w in p.warnings]
    return "\n\n".join(filter(None, [first, "\n".join([head, *lines]), *told]))


def table_row(point: Point) -> str:
    """Return one β as a row of the table."""
    right = f"{_percent(point.accuracy)} ({interval(point.low, point.high)})"
    length = f"{_whole(point.length_before)} → {_whole(point.length_after)}"
    far = "–" if point.kl is None else f"{point.kl:.2g}"
    return f"|{point.beta:g}|{right}|{far}|{length}|{_percent(point.repeating)}|"


def choice(point: Point) -> str:
    """Return one β as a choice."""
    return f"β {point.beta:g} · {_percent(point.accuracy)} at {point.kl:.2g} nats per token"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def show_cost(
    workspace: Any, view: Tryout, remedies: list[str], method: str, model: str, betas: str,
    rows: float,
) -> dict[Any, Any]:  # fmt: skip
    """Say about how long the runs would take together, on what the remedies leave."""
    counts = preview(workspace.store, SnapshotSettings(**dict.fromkeys(remedies or (), True)))
    needs = LOSSES[method].needs
    there = counts[needs]["train"]
    if leash_of(method) is None or not there:
        return {view.cost: ""}
    values = sweeping.checked_betas(method, parsed(betas))
    taken = min(int(rows), there)
    usual = readiness.recipe_for(method, model)
    short = recipes.from_json(method, {**usual.as_json(), "epochs": 1})
    device = device_now([workspace.client.pid])
    one = readiness.about(workspace.store, short, taken, model, device).time
    words = f"{len(values)} runs of {taken:,} {needs}"
    if one is None:
        return {view.cost: f"{words}."}
    how = f"**about {minutes(len(values) * one.seconds)}** together ({KNOWN[one.known]})"
    return {view.cost: f"{words}: {how}."}
