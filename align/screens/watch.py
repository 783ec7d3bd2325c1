"""The lower half of the train screen: a run while it goes and after it, and all runs before it.

Everything shown is read anew from the run's files, so a reloaded page or a restarted app
shows the same.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from align import runs
from align.rounds import duels_of
from align.screens.curves import curves_html
from align.screens.report import against_words, concern_words, duel_words, report_words
from feedback import audit
from feedback.accounts import ALONE
from feedback.screens.parts import minutes, on_news, on_show, percent, plain, wire
from feedback.transfers import new_folder
from storage.records import now

MOMENT = timedelta(seconds=30)  # Choice: a slow machine's answer is there by then
LOG_LINES = 60  # Choice: what a person scrolls through; the whole log lies in the run's folder
STATES = {
    "waiting": "Waiting",
    "starting": "Loading the model",
    "training": "Training",
    "evaluating": "Judging the result",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "stopped": "Stopped",
}
HISTORY = ["Run", "Method", "State", "Held-out accuracy", "Length", "Took", "Started"]


@dataclass(frozen=True, slots=True)
class Watch:
    """Every component of the watching half."""

    panel: gr.Column
    run: gr.Dropdown
    state: gr.HTML
    message: gr.Markdown
    concerns: gr.Markdown  # what looks wrong, while it goes and after
    cancel: gr.Button
    resume: gr.Button
    curves: gr.HTML
    report: gr.Markdown
    pack: gr.Button
    adapter: gr.DownloadButton
    log: gr.Textbox
    drawn: gr.State  # (run, rows of metrics) whose curves the page shows already
    history: gr.Dataframe
    start: gr.Button  # of the upper half: not while a run goes

    def parts(self) -> list[Any]:
        """Return what `look` may change."""
        return [
            self.panel, self.run, self.state, self.message, self.concerns, self.cancel, self.resume,
            self.curves, self.report, self.pack, self.adapter, self.log, self.drawn, self.history,
            self.start,
        ]  # fmt: skip


def look(workspace: Any, view: Watch, run: str | None) -> dict[Any, Any]:
    """Draw the chosen run as its files have it now, and the list of all."""
    known = runs.list_runs(workspace.data)
    if not known:
        return {view.panel: gr.Column(visible=False)}
    one = chosen(known, run)
    parts = moved(workspace, view, one, None)
    parts |= switched(view, one, duel_words(duels_of(workspace.store).get(one.run, {})))
    going = any(r.running for r in known)
    parts[view.run] = gr.Dropdown(choices=[(label(r), r.run) for r in known], value=one.run)
    parts[view.history] = pd.DataFrame([history_row(r) for r in known], columns=HISTORY)
    parts[view.start] = gr.Button("Training …" if going else "Train", interactive=not going)
    return parts


def look_again(workspace: Any, view: Watch, run: str | None) -> dict[Any, Any]:
    """Draw what the page shows by itself when something moved: nobody chose it just now."""
    return look(workspace, view, shown(runs.list_runs(workspace.data), run, now()))


def shown(known: list[runs.RunStatus], run: str | None, at: datetime) -> str | None:
    """Return the run to show by itself: one that began a moment ago, else what the page shows.

    A page that asks while a run is begun still names the one before it; its answer may come last.
    """
    newest = known[0] if known and known[0].running else None
    if newest is None or at - datetime.fromisoformat(newest.created_at) > MOMENT:
        return run
    return newest.run


def glance(workspace: Any, view: Watch, run: str | None, drawn: Any) -> dict[Any, Any]:
    """Draw what moves with every step of the chosen run."""
    known = runs.list_runs(workspace.data)
    return moved(workspace, view, chosen(known, run), drawn) if known else {view.drawn: drawn}


def moved(workspace: Any, view: Watch, one: runs.RunStatus, drawn: Any) -> dict[Any, Any]:
    """Return what moves with a run's steps; curves that the page shows already are not sent."""
    rows = runs.read_metrics(workspace.data, one.run)
    here = [one.run, len(rows)]
    parts: dict[Any, Any] = {
        view.state: state_html(one),
        view.message: plain(one.message) if one.status != "done" else "",
        view.log: "\n".join(runs.read_log(workspace.data, one.run).splitlines()[-LOG_LINES:]),
        view.drawn: here,
    }
    return parts if here == drawn else parts | {view.curves: curves_html(rows)}


def switched(view: Watch, one: runs.RunStatus, duels: str = "") -> dict[Any, Any]:
    """Return what depends on the run's state: the buttons and the report.

    Args:
        duels: what people said in its duels, as Markdown lines.
    """
    words = report_words(one.report, [concern["name"] for concern in one.warnings])
    words = "\n".join(filter(None, [words, duels, against_words(one.readiness)])) if words else ""
    concerns = concern_words(one.warnings)
    return {
        view.concerns: gr.Markdown(f"### Look out\n{concerns}", visible=bool(concerns)),
        view.panel: gr.Column(visible=True),
        view.cancel: gr.Button(visible=one.running),
        view.resume: gr.Button(visible=one.resumable),
        view.report: gr.Markdown(f"### What it did\n{words}", visible=bool(words)),
        view.pack: gr.Button(visible=one.adapter is not None),
        view.adapter: gr.DownloadButton(visible=False),
    }


def chosen(known: list[runs.RunStatus], run: str | None) -> runs.RunStatus:
    """Return the run to show: the chosen one; without one that which goes, else the newest."""
    going = next((one for one in known if one.running), known[0])
    return next((one for one in known if one.run == run), going)


def label(run: runs.RunStatus) -> str:
    """Return a run's name in a list of choices."""
    return f"{run.run} · {run.method.upper()} · {STATES.get(run.status, run.status)}"


def state_html(run: runs.RunStatus) -> str:
    """Return the state, the bar and the time left as markup (our own words and numbers only)."""
    share = 100 * run.step / run.steps if run.steps else 0
    share = 100 if run.status in ("evaluating", "done") else share
    cells = [f"<b>{STATES.get(run.status, 'Unknown')}</b>"]
    if run.steps:
        cells.append(f"step {run.step:,} of {run.steps:,}")
    if run.seconds:
        cells.append(f"{minutes(run.seconds)} so far" if run.running else minutes(run.seconds))
    if run.running and run.seconds_left is not None:
        cells.append(f"about {minutes(run.seconds_left)} left")
    told = "".join(f"<span>{cell}</span>" for cell in cells)
    return (
        f"<div class='hone-now hone-run-{STATES.get(run.status, 'x')[:4].lower()}'>{told}</div>"
        f"<div class='hone-bar' role='progressbar' aria-label='training' aria-valuemin='0' "
        f"aria-valuemax='100' aria-valuenow='{share:.0f}'><i style='width:{share:.1f}%'></i></div>"
    )


def history_row(run: runs.RunStatus) -> list[str]:
    """Return one run as a row of the history."""
    report = run.report or {}
    held_out, length = report.get("held_out") or {}, report.get("length") or {}
    before, after = length.get("before"), length.get("after")
    changed = f"{before:.0f} → {after:.0f}" if before is not None and after is not None else "–"
    took = minutes(run.seconds) if run.seconds else "–"
    state = STATES.get(run.status, run.status)
    accuracy = percent(held_out.get("reward_accuracy"))
    when = run.created_at[:16].replace("T", " ")
    return [run.run, run.method.upper(), state, accuracy, changed, took, when]


def cancel(workspace: Any, view: Watch, run: str, *, by: str = ALONE) -> dict[Any, Any]:
    """Cancel the run and draw how it ended."""
    runs.cancel(workspace.data, run)
    audit.note(workspace.store, by, "cancel", run)
    return look(workspace, view, run)


def resume(workspace: Any, view: Watch, run: str, *, by: str = ALONE) -> dict[Any, Any]:
    """Let the run go on from its newest checkpoint."""
    runs.model_of(workspace.data, run)  # refused here where its base is another one by now
    workspace.client.leave()
    runs.resume(workspace.data, run)
    audit.note(workspace.store, by, "resume", run)
    return look(workspace, view, run)


def pack(workspace: Any, run: str) -> gr.DownloadButton:
    """Put the verified adapter into a zip file; return the button that downloads it."""
    folder = runs.load_adapter(workspace.data, run)
    made = shutil.make_archive(str(new_folder(workspace.data) / f"{run}-adapter"), "zip", folder)
    return gr.DownloadButton(f"Download {Path(made).name}", value=made, visible=True)


def open_run(chosen: gr.SelectData) -> str:
    """Return the run of the chosen row of the history."""
    return chosen.row_value[0]


def build_buttons() -> tuple[gr.Button, ...]:
    """Lay out what can be done with a run."""
    with gr.Row(elem_classes="hone-buttons"):
        stop = gr.Button(
            "Cancel", variant="stop", visible=False, elem_id="train-cancel", scale=0, min_width=140
        )
        go_on = gr.Button("Resume", visible=False, elem_id="train-resume", scale=0, min_width=140)
        packed = gr.Button(
            "Adapter as zip", visible=False, elem_id="train-pack", scale=0, min_width=160
        )
        file = gr.DownloadButton(
            "Download",
            visible=False,
            variant="primary",
            elem_id="train-adapter",
            scale=0,
            min_width=260,
        )
    return stop, go_on, packed, file


def build_watch(start: gr.Button) -> Watch:
    """Lay out the watching half."""
    with gr.Column(visible=False, elem_id="train-watch") as panel:
        with gr.Column(elem_classes="hone-card"):
            with gr.Row(elem_classes="hone-top"):
                gr.Markdown("## Run")
                run = gr.Dropdown(
                    show_label=False,
                    container=False,
                    filterable=False,
                    elem_id="train-run",
                    min_width=280,
                )
            state = gr.HTML("", js_on_load=None, elem_id="train-state")
            message = gr.Markdown("", elem_classes="hone-note")
            concerns = gr.Markdown(
                visible=False, elem_id="train-concerns", elem_classes="hone-caution"
            )
            stop, go_on, packed, file = build_buttons()
            report = gr.Markdown(visible=False, elem_id="train-report")
            curves = gr.HTML("", js_on_load=None, elem_id="train-curves")
            with gr.Accordion("Log", open=False, elem_classes="hone-fold"):
                log = gr.Textbox(
                    lines=12, max_lines=12, show_label=False, interactive=False, elem_id="train-log"
                )
        gr.Markdown("## Every run so far\nChoose one to see it above.")
        history = gr.Dataframe(
            headers=HISTORY, datatype="str", interactive=False, show_label=False, buttons=[],
            elem_id="train-history",
        )  # fmt: skip
    return Watch(
        panel, run, state, message, concerns, stop, go_on, curves, report, packed, file, log,
        gr.State(None), history, start,
    )  # fmt: skip


def connect_watch(workspace: Any, view: Watch) -> None:
    """Connect the watching half: what moves, the choice of a run, its buttons."""
    parts = view.parts()
    again = {"inputs": [view.run], "outputs": parts}
    moving = [view.state, view.message, view.log, view.curves, view.drawn]
    on_news("runs", glance, workspace, view, inputs=[view.run, view.drawn], outputs=moving)
    on_news("states", look_again, workspace, view, **again)
    on_show(look_again, workspace, view, **again)
    wire(view.run.input, look, workspace, view, **again)
    wire(view.cancel.click, cancel, workspace, view, inputs=[view.run], outputs=parts, limit=1)
    wire(view.resume.click, resume, workspace, view, inputs=[view.run], outputs=parts, limit=1)
    wire(view.pack.click, pack, workspace, inputs=[view.run], outputs=[view.adapter], limit=2)
    opened = wire(view.history.select, open_run, outputs=[view.run])
    wire(opened.then, look, workspace, view, **again)
