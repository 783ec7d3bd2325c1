"""The compare screen: one prompt, the model before and after a run, answering at the same time.

Both answers come from one model in memory with one seed and the same settings; only the adapter
differs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import comparing, implicit
from align.screens import duel
from feedback.screens.parts import fold, heading, on_show, sheet, shown, ticking, wire
from storage.records import Message

NO_RUN = (
    "**No finished run yet.** Judge some answers on *Label*, start a run on *Train*, and come "
    "back: this screen shows the model before and after it, side by side."
)
NAMES = ("Before", "After")
HIDDEN = ("Answer 1", "Answer 2")
LOADING = "Loading the model. The first answer after a start takes a few seconds."
WHY = "Colour what changed"
LEGEND = (
    "Each word is coloured by the **implicit reward**, log(π / π_ref): purple is what alignment "
    "made likelier, red what it made less likely; the stronger, the more. The sum, times β, is the "
    "reward that the aligned model would give the answer."
)
REFRESH_SECONDS = 5  # Choice: soon enough to notice that a training has ended
DRAW_SECONDS = 0.08  # Choice: twelve times a second reads as a stream and keeps the browser calm


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this screen touches."""

    empty: gr.Markdown
    desk: gr.Column
    run: gr.Dropdown
    held_out: gr.Dropdown
    prompt: gr.Textbox
    before: gr.Markdown  # the earlier turns of a held-out conversation
    seed: gr.Number
    temperature: gr.Slider
    max_tokens: gr.Number
    blind: gr.Checkbox
    go: gr.Button
    stop: gr.Button
    reveal: gr.Button
    swapped: gr.State  # True: the left side shows the model after the run
    sides: tuple[gr.Markdown, gr.Markdown]
    titles: tuple[gr.Markdown, gr.Markdown]
    facts: tuple[gr.Markdown, gr.Markdown]
    coloured: tuple[gr.HighlightedText, gr.HighlightedText]
    reward: gr.Button
    legend: gr.Markdown
    told: gr.State  # what was answered, for the reward: see `Told`
    status: gr.Markdown


@dataclass(frozen=True, slots=True)
class Told:
    """Both answers as they stand on the screen, and to what."""

    run: str
    messages: Sequence[Message]
    answers: tuple[comparing.Answer, comparing.Answer]  # left, right


def refresh(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Fill the choices: finished runs, newest first, and held-out prompts."""
    runs = comparing.finished_runs(workspace.data)
    chosen = run if run in dict((key, label) for label, key in runs) else None
    first = runs[0][1] if runs else None
    return {
        view.empty: gr.Markdown(visible=not runs),
        view.desk: gr.Column(visible=bool(runs)),
        view.run: gr.Dropdown(choices=runs, value=chosen or first),
        view.held_out: gr.Dropdown(choices=comparing.held_out_prompts(workspace.store)),
        view.status: comparing.waiting(workspace.data) or "",
    }


def look_for_training(workspace: Any, told: str) -> Any:
    """Say that a training has the device, and take it back when it has not; else change nothing."""
    now = comparing.waiting(workspace.data)
    if now is None:
        return "" if told.startswith("training") else gr.skip()
    return now


def take_prompt(workspace: Any, view: View, prompt: str | None) -> dict[Any, Any]:
    """Put a held-out prompt's last message into the box, and show the turns before it."""
    messages = comparing.messages_of(workspace.store, prompt, "")
    if not messages:
        return {view.before: gr.Markdown(visible=False)}
    turns = "\n\n".join(f"**{m['role']}**\n\n{shown(m['content'])}" for m in messages[:-1])
    return {
        view.prompt: messages[-1]["content"],
        view.before: gr.Markdown(turns, visible=bool(turns)),
    }


def answer(
    workspace: Any, view: View, run: str, prompt: str | None, text: str, seed: float,
    temperature: float, max_tokens: float, blind: bool,
) -> Iterator[dict[Any, Any]]:  # fmt: skip
    """Stream the answers before and after the run, side by side."""
    messages = comparing.messages_of(workspace.store, prompt, text)
    sampling = {"seed": int(seed), "temperature": temperature, "max_tokens": int(max_tokens)}
    pairs = comparing.stream(workspace, run, messages, **sampling)
    order = comparing.order(blind, random.Random())
    yield begun(view, order, blind)
    started = drawn = 0.0
    pair = comparing.Pair()
    for pair in pairs:
        started = started or time.monotonic()
        if time.monotonic() - drawn >= DRAW_SECONDS:
            drawn = time.monotonic()
            yield draw(view, pair, order, drawn - started)
    ended = draw(view, pair, order, time.monotonic() - started)
    first, second = (pair.answers[which] for which in order)
    told = {
        view.told: Told(run, messages, (first, second)),
        view.reward: gr.Button(visible=not blind),
    }
    yield ended | finished(view) | {view.reveal: gr.Button(visible=blind)} | told


def begun(view: View, order: tuple[int, int], blind: bool) -> dict[Any, Any]:
    """Clear both sides and write their names, or hide them."""
    names = HIDDEN if blind else NAMES
    drawn: dict[Any, Any] = {view.swapped: order == (1, 0), view.status: LOADING}
    drawn |= {view.go: gr.Button(visible=False), view.stop: gr.Button(visible=True)}
    drawn |= {view.reveal: gr.Button(visible=False), view.reward: gr.Button(visible=False)}
    drawn |= {view.told: None, view.legend: gr.Markdown(visible=False)}
    for side in (0, 1):
        drawn[view.coloured[side]] = gr.HighlightedText(visible=False)
        drawn[view.sides[side]] = gr.Markdown("…", visible=True)
        drawn[view.titles[side]] = f"### {names[side]}"
        drawn[view.facts[side]] = " "
    return drawn


def draw(view: View, pair: Any, order: tuple[int, int], seconds: float) -> dict[Any, Any]:
    """Return both answers so far with their lengths and times, each on its side."""
    drawn: dict[Any, Any] = {view.status: ""}
    for side, which in enumerate(order):
        one = pair.answers[which]
        drawn[view.sides[side]] = shown(one.text) or "…"
        drawn[view.facts[side]] = comparing.facts(one, seconds)
    return drawn


def finished(view: View) -> dict[Any, Any]:
    """Give the buttons back."""
    return {view.go: gr.Button(visible=True), view.stop: gr.Button(visible=False), view.status: ""}


def reveal(view: View, swapped: bool) -> dict[Any, Any]:
    """Say which side is which."""
    names = NAMES[::-1] if swapped else NAMES
    drawn: dict[Any, Any] = {view.reveal: gr.Button(visible=False)}
    drawn[view.reward] = gr.Button(visible=True)
    return drawn | {view.titles[side]: f"### {names[side]}" for side in (0, 1)}


def colour(workspace: Any, view: View, told: Told | None) -> Iterator[dict[Any, Any]]:
    """Colour both answers by what the run made likelier and what less, token by token."""
    if told is None:
        return
    yield {view.reward: gr.Button("Scoring …", interactive=False)}
    drawn: dict[Any, Any] = {view.legend: gr.Markdown(visible=True)}
    for side, answer in enumerate(told.answers):
        found = implicit.reward(
            workspace, told.run, told.messages, answer.text, finished=bool(answer.finished)
        )
        drawn[view.sides[side]] = gr.Markdown(visible=False)
        drawn[view.coloured[side]] = gr.HighlightedText(found.coloured(), visible=True)
        drawn[view.facts[side]] = f"{comparing.facts(answer, 0.0)}\n\n{found.words()}"
    yield drawn | {view.reward: gr.Button(WHY, visible=False, interactive=True)}


def uncoloured(view: View) -> dict[Any, Any]:
    """Give the button back where scoring failed."""
    return {view.reward: gr.Button(WHY, interactive=True)}


def build_question(desk: gr.Column, empty: gr.Markdown, status: gr.Markdown) -> dict[str, Any]:
    """Lay out what is asked: the run, the prompt, the settings, the buttons."""
    with gr.Row():
        run = gr.Dropdown(label="Run", elem_id="compare-run", filterable=False, scale=1)
        held_out = gr.Dropdown(
            label="Take a held-out prompt: no run ever trains on these", elem_id="compare-held-out",
            scale=2, value=None,
        )  # fmt: skip
    before = gr.Markdown(visible=False, elem_classes="hone-turns", latex_delimiters=[])
    prompt = gr.Textbox(
        label="Prompt", lines=2, max_lines=12, elem_id="compare-prompt",
        placeholder="Ask anything, or take a held-out prompt above", max_length=100_000,
    )  # fmt: skip
    with fold("Settings", "compare-settings"), gr.Row():
        temperature = gr.Slider(
            0, 1.5, 0, step=0.1, label="Temperature", info="0 = always the likeliest word"
        )
        max_tokens = gr.Number(
            200, precision=0, minimum=1, maximum=4096, label="At most, in tokens"
        )
        seed = gr.Number(0, precision=0, minimum=0, label="Seed")
    with gr.Row(elem_classes="hone-buttons"):
        go = gr.Button(
            "Answer twice", variant="primary", elem_id="compare-go", scale=0, min_width=180
        )
        stop = gr.Button(
            "Stop", variant="stop", visible=False, elem_id="compare-stop", scale=0, min_width=180
        )
        blind = gr.Checkbox(
            label="Blind: hide which is which",
            elem_id="compare-blind",
            elem_classes="hone-blind",
            scale=0,
            min_width=260,
        )
        show = gr.Button("Reveal", visible=False, elem_id="compare-reveal", scale=0, min_width=140)
        reward = gr.Button(WHY, visible=False, elem_id="compare-reward", scale=0, min_width=200)
    return {
        "empty": empty, "desk": desk, "status": status, "run": run, "held_out": held_out,
        "prompt": prompt, "before": before, "seed": seed, "temperature": temperature,
        "max_tokens": max_tokens, "blind": blind, "go": go, "stop": stop, "reveal": show,
        "swapped": gr.State(False), "reward": reward, "told": gr.State(None),
    }  # fmt: skip


def build_answers() -> dict[str, Any]:
    """Lay out the two sides."""
    sides, titles, facts, coloured = [], [], [], []
    legend = gr.Markdown(LEGEND, visible=False, elem_classes="hone-small", elem_id="compare-legend")
    with gr.Row(equal_height=True, elem_classes="hone-sides"):
        for side in ("left", "right"):
            with gr.Column(elem_classes="hone-side", min_width=300, elem_id=f"compare-{side}"):
                titles.append(gr.Markdown(f"### {NAMES[side == 'right']}"))
                sides.append(
                    gr.Markdown(
                        "", elem_classes="hone-answer", latex_delimiters=[], line_breaks=True
                    )
                )
                coloured.append(
                    gr.HighlightedText(
                        visible=False,
                        show_label=False,
                        show_legend=False,
                        container=False,
                        combine_adjacent=False,
                        elem_classes="hone-coloured",
                        show_whitespaces=True,
                    )  # fmt: skip
                )
                facts.append(gr.Markdown(" ", elem_classes="hone-small"))
    made = {"sides": sides, "titles": titles, "facts": facts, "coloured": coloured}
    return {**{name: tuple(parts) for name, parts in made.items()}, "legend": legend}


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the compare screen and connect it."""
    heading("Compare", "One prompt, the same seed and settings: the model before and after a run.")
    empty = gr.Markdown(NO_RUN, elem_classes="hone-empty", elem_id="compare-empty")
    with gr.Column(visible=False) as desk:
        status = gr.Markdown("", elem_classes="hone-note", elem_id="compare-status")
        view = View(**build_question(desk, empty, status), **build_answers())
        decision = duel.build(workspace, view.run)
    filled = [view.empty, view.desk, view.run, view.held_out, view.status]
    on_show(refresh, workspace, view, inputs=[view.run], outputs=filled)
    on_show(
        duel.show, workspace, decision, inputs=[view.run], outputs=[decision.stands, decision.go]
    )
    timer = ticking(REFRESH_SECONDS)
    wire(timer.tick, look_for_training, workspace, inputs=[view.status], outputs=[view.status])
    wire(
        view.held_out.input, take_prompt, workspace, view,
        inputs=[view.held_out], outputs=[view.prompt, view.before],
    )  # fmt: skip
    drawn = [view.swapped, view.status, view.go, view.stop, view.reveal]
    drawn += [*view.sides, *view.titles, *view.facts, *view.coloured]
    drawn += [view.reward, view.legend, view.told]
    asked = [view.run, view.held_out, view.prompt, view.seed, view.temperature]
    asked += [view.max_tokens, view.blind]
    going = wire(view.go.click, answer, workspace, view, inputs=asked, outputs=drawn, limit=2)
    back = [view.go, view.stop, view.status]
    wire(going.failure, finished, view, outputs=back)
    wire(view.stop.click, finished, view, outputs=back, cancels=[going], queue=False)
    shown = [view.reveal, view.reward, *view.titles]
    wire(view.reveal.click, reveal, view, inputs=[view.swapped], outputs=shown)
    painted = [view.reward, view.legend, *view.sides, *view.coloured, *view.facts]
    scoring = wire(
        view.reward.click, colour, workspace, view, inputs=[view.told], outputs=painted, limit=2
    )
    wire(scoring.failure, uncoloured, view, outputs=[view.reward])
