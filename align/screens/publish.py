"""The part of the rounds screen that writes a run to a folder for others: the command `publish`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from align.commands import COMMANDS
from feedback.accounts import ALONE
from feedback.screens.parts import fold, follow, plain, wire
from storage.errors import BadInput

LEAD = (
    "The adapter in PEFT's format, one model in 16 bits, a model card, how to serve it, and its "
    "data, every file hashed. Merging compares both models and takes some minutes."
)


@dataclass(frozen=True, slots=True)
class View:
    folder: gr.Textbox
    merged: gr.Checkbox
    dataset: gr.Checkbox
    go: gr.Button
    told: gr.Markdown


def publish(
    workspace: Any,
    view: View,
    run: str | None,
    folder: str,
    merged: bool,
    dataset: bool,
    *,
    by: str = ALONE,
) -> Iterator[dict[Any, Any]]:
    """Write the chosen run to a folder of this machine; show each step."""
    if not run:
        raise BadInput("No run was chosen: choose one above.")
    if not Path(folder.strip()).expanduser().is_absolute():
        raise BadInput(
            f"{folder.strip()!r} is no full path of a folder: begin it with / or ~, such as ~/{run}"
        )
    yield {view.told: "Starting …", view.go: gr.Button(interactive=False)}
    call = partial(
        COMMANDS["publish"], workspace, run=run, folder=folder.strip(), merged=merged,
        dataset=dataset, by=by,
    )  # fmt: skip
    for line, done in follow(lambda progress: call(progress=progress)):
        if done is None:
            yield {view.told: plain(line)}
        else:
            yield button(view) | {view.told: summary(done)}


def summary(done: dict[str, Any]) -> str:
    """Return what was written, and why something was not."""
    lines = [f"**Written:** {done['files']} files, {done['bytes'] / 1e6:,.0f} MB."]
    if done["why_not_merged"]:
        lines.append(f"Without merged weights: {plain(done['why_not_merged'])}.")
    for name, found in ((done["dataset"] or {}).get("personal_data") or {}).items():
        if found:
            lines.append(
                f"*{name}.jsonl* holds personal data: look at it before you pass the folder on."
            )
    return " ".join(lines)


def button(view: View) -> dict[Any, Any]:
    """Give the button back."""
    return {view.go: gr.Button(interactive=True)}


def build(workspace: Any, run: gr.Dropdown) -> None:
    """Lay out the part and connect it; `run` is which one is published."""
    with fold("Publish the chosen run", "rounds-publish"):
        gr.Markdown(LEAD, elem_classes="hone-small")
        folder = gr.Textbox(
            label="A new folder on this machine", max_lines=1, max_length=1_000,
            elem_id="publish-folder", placeholder="~/my-model",
        )  # fmt: skip
        with gr.Row(elem_classes="hone-buttons"):
            merged = gr.Checkbox(True, label="One model in 16 bits too", scale=0, min_width=260)
            dataset = gr.Checkbox(True, label="Its data too", scale=0, min_width=200)
            go = gr.Button("Publish", elem_id="publish-go", scale=0, min_width=140)
        told = gr.Markdown("", elem_classes="hone-note", elem_id="publish-told")
    view = View(folder, merged, dataset, go, told)
    going = wire(
        go.click, publish, workspace, view, inputs=[run, folder, merged, dataset],
        outputs=[told, go], limit=1,
    )  # fmt: skip
    wire(going.failure, button, view, outputs=[go])
