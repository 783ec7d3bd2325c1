"""The generate screen: prompts × one model → answers to judge, with the progress of both makers.

Runs the command line's `generate`; the starter prompts are the background generator's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from align import comparing
from align.commands import COMMANDS
from align.models import EMBEDDED
from align.prompt_files import read_prompts
from feedback.accounts import ALONE
from feedback.screens.parts import follow, heading, on_news, on_show, plain, sheet, wire
from storage.errors import BadInput

WITHOUT = "No adapter: the model as it is"


@dataclass(frozen=True, slots=True)
class View:
    typed: gr.Textbox
    upload: gr.File
    model: gr.Textbox
    adapter: gr.Dropdown
    n: gr.Number
    temperature: gr.Slider
    top_p: gr.Slider
    max_tokens: gr.Number
    seed: gr.Number
    go: gr.Button
    stop: gr.Button
    told: gr.Markdown
    starter: gr.HTML
    waiting: gr.Markdown

    def asked(self) -> list[Any]:
        """Return the inputs of `generate`, in the order of its parameters."""
        settings = [self.n, self.temperature, self.top_p, self.max_tokens, self.seed]
        return [self.typed, self.upload, self.model, self.adapter, *settings]


def starter_html(progress: dict[str, Any]) -> str:
    """Return the starter prompts' progress as a bar (our own numbers only)."""
    made, total = int(progress["made"]), int(progress["of"])
    share = 100 * made / total if total else 0
    state = "writing" if progress["running"] else "resting"
    return (
        f"<div class='hone-bar' role='progressbar' aria-valuenow='{made}' aria-valuemax='{total}' "
        f"aria-label='starter prompts'><i style='width:{share:.1f}%'></i></div>"
        f"<div class='hone-small'>{made:,} of {total:,} starter prompts answered · {state}</div>"
    )


def refresh(workspace: Any, view: View) -> dict[Any, Any]:
    """Draw how far the starter prompts are, and whether a training has the device."""
    progress = workspace.replenisher.progress()
    waiting = comparing.waiting(workspace.data) or progress.get("message") or ""
    return {view.starter: starter_html(progress), view.waiting: plain(waiting)}


def refill(workspace: Any, view: View, adapter: str) -> dict[Any, Any]:
    """Offer the finished runs' adapters, and draw the progress."""
    choices = [(WITHOUT, ""), *comparing.finished_runs(workspace.data)]
    kept = adapter if adapter in [key for _, key in choices] else ""
    chosen = {view.adapter: gr.Dropdown(choices=choices, value=kept)}
    return chosen | refresh(workspace, view)


def generate(
    workspace: Any, view: View, typed: str, upload: str | None, model: str, adapter: str,
    n: float, temperature: float, top_p: float, max_tokens: float, seed: float,
    *, by: str = ALONE,
) -> Iterator[dict[Any, Any]]:  # fmt: skip
    """Answer every prompt n times and store the comparisons; show each step."""
    prompts = prompts_of(typed, upload)
    base = comparing.base_of(workspace.data, adapter) if adapter else model.strip()
    call = partial(
        COMMANDS["generate"], workspace, prompts=prompts, model=base or EMBEDDED,
        adapter=adapter, n=int(n), temperature=temperature, top_p=top_p,
        max_tokens=int(max_tokens), seed=int(seed), by=by,
    )  # fmt: skip
    yield {
        view.told: "Starting …",
        view.go: gr.Button(visible=False),
        view.stop: gr.Button(visible=True),
    }
    for line, done in follow(lambda progress: call(progress=progress)):
        if done is None:
            yield {view.told: plain(line)}
        else:
            yield buttons(view) | {view.told: summary(done)}


def prompts_of(typed: str, upload: str | None) -> list[Any]:
    """Return the conversations typed (one a line) and uploaded, in that order."""
    lines = [line.strip() for line in typed.split("\n") if line.strip()]
    prompts: list[Any] = [[{"role": "user", "content": line}] for line in lines]
    if upload:
        prompts += read_prompts(Path(upload))
    if not prompts:
        raise BadInput("There is no prompt: write one a line, or choose a file of prompts.")
    return prompts


def summary(result: dict[str, Any]) -> str:
    """Return what was made, and where it goes from here."""
    return (
        f"**Done:** {result['responses']:,} answers to {result['prompts']:,} prompts, "
        f"{result['comparisons']:,} new comparisons. They wait on *Label* now."
    )


def buttons(view: View) -> dict[Any, Any]:
    """Give the buttons back."""
    return {view.go: gr.Button(visible=True), view.stop: gr.Button(visible=False)}


def stopped(view: View) -> dict[Any, Any]:
    """Give the buttons back after Stop."""
    return buttons(view) | {view.told: "Stopped. What was finished before is stored."}


def build_prompts() -> dict[str, Any]:
    """Lay out where the prompts come from."""
    gr.Markdown("## Prompts")
    typed = gr.Textbox(
        label="One a line", lines=8, max_lines=16, elem_id="generate-prompts", max_length=1_000_000,
        placeholder="Explain why the sky is blue.\nWrite a note of thanks to a neighbour.",
    )  # fmt: skip
    upload = gr.File(
        label="or a file (JSONL, text)", height=140,
        file_types=[".jsonl", ".ndjson", ".txt"], elem_id="generate-file",
    )  # fmt: skip
    return {"typed": typed, "upload": upload}


def build_model() -> dict[str, Any]:
    """Lay out who answers, and how."""
    gr.Markdown("## Model")
    model = gr.Textbox(
        EMBEDDED, label="Name, local folder or hub id", elem_id="generate-model",
        info="The embedded model needs no download.",
    )  # fmt: skip
    adapter = gr.Dropdown(
        [(WITHOUT, "")], value="", label="Adapter", filterable=False,
        info="A run's adapter answers with the model that it was trained on.",
    )  # fmt: skip
    with gr.Row():
        n = gr.Number(
            2, precision=0, minimum=2, maximum=16, label="Answers per prompt", min_width=120
        )
        max_tokens = gr.Number(
            200, precision=0, minimum=1, maximum=4096, label="At most, in tokens", min_width=120
        )
        seed = gr.Number(0, precision=0, minimum=0, label="Seed", min_width=100)
    with gr.Row():
        temperature = gr.Slider(0.1, 1.5, 0.9, step=0.1, label="Temperature", min_width=140)
        top_p = gr.Slider(0.1, 1.0, 0.95, step=0.05, label="Top p", min_width=140)
    return {
        "model": model, "adapter": adapter, "n": n, "temperature": temperature, "top_p": top_p,
        "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip


def build_starter() -> gr.HTML:
    """Lay out the background generator's progress."""
    gr.Markdown(
        "## Starter prompts\nWhile you judge, Hone answers its own prompts in the background, so "
        "that there is always something on *Label*."
    )
    return gr.HTML("", js_on_load=None, elem_id="starter-progress")


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the generate screen and connect it."""
    heading("Generate", "Let a model answer your prompts, several times each, for people to judge.")
    waiting = gr.Markdown("", elem_classes="hone-note", elem_id="generate-waiting")
    with gr.Row(elem_classes="hone-split"):
        with gr.Column(min_width=300, elem_classes="hone-card"):
            prompts = build_prompts()
        with gr.Column(min_width=300, elem_classes="hone-card"):
            model = build_model()
    with gr.Row(elem_classes="hone-buttons"):
        go = gr.Button("Generate", variant="primary", elem_id="generate-go", scale=0, min_width=180)
        stop = gr.Button(
            "Stop", variant="stop", visible=False, scale=0, min_width=180, elem_id="generate-stop"
        )
    told = gr.Markdown(elem_id="generate-told", elem_classes="hone-note")
    view = View(
        **prompts, **model, go=go, stop=stop, told=told, starter=build_starter(), waiting=waiting
    )
    going = wire(
        go.click, generate, workspace, view,
        inputs=view.asked(), outputs=[told, go, stop], limit=1,
    )  # fmt: skip
    wire(going.failure, buttons, view, outputs=[go, stop])
    wire(stop.click, stopped, view, outputs=[told, go, stop], cancels=[going], queue=False)
    moving = [view.starter, view.waiting]
    on_news("answers", refresh, workspace, view, outputs=moving)
    on_show(refill, workspace, view, inputs=[view.adapter], outputs=[view.adapter, *moving])
