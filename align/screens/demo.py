"""The page of the demo: what happened, step by step, with its pictures, and both models' answers.

It is there only where a demo was begun (`align/demo.py`), in front of the other screens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import demo, runs
from align.screens.curves import curves_html
from align.screens.lengths import lengths_html
from feedback.screens.parts import (
    heading,
    minutes,
    on_news,
    on_show,
    percent,
    plain,
    sheet,
    shown,
    track,
    two_sides,
)

SHOWN = 5  # held-out prompts whose answers are laid out
NAMES = {
    "answers": "The model answers starter prompts, four times each",
    "votes": "Simulated people choose the better answer",
    "checks": "Every check looks at the votes",
    "training": "DPO learns from them",
    "after": "Both models answer prompts that taught nothing",
}
SEVERITIES = {"stop": "against training", "warn": "with a warning", "ok": "content"}


@dataclass(frozen=True, slots=True)
class View:
    lead: gr.Markdown
    steps: gr.HTML
    told: gr.Markdown
    figures: gr.HTML
    blocks: tuple[gr.Column, ...]  # one for each prompt
    asked: tuple[gr.Markdown, ...]
    sides: tuple[tuple[gr.Markdown, gr.Markdown], ...]
    drawn: gr.State  # what the page shows already

    def parts(self) -> list[Any]:
        sides = [side for both in self.sides for side in both]
        page = [self.lead, self.steps, self.told, self.figures]
        return [*page, *self.blocks, *self.asked, *sides, self.drawn]


def look(workspace: Any, view: View, drawn: Any) -> dict[Any, Any]:
    """Draw how far the demo is; what is on the page already is not sent again."""
    told = demo.told(workspace.data)
    rows = runs.read_metrics(workspace.data, told["run"]) if told.get("run") else []
    now = [len(told.get("steps", {})), told.get("going"), told.get("error"), len(rows)]
    if now == drawn or not told:
        return {view.drawn: drawn}
    error = f"**It stopped:** {plain(told['error'])}" if told.get("error") else ""
    parts: dict[Any, Any] = {
        view.lead: lead_words(told),
        view.steps: steps_html(told),
        view.told: error,
        view.figures: figures_html(told, rows),
        view.drawn: now,
    }
    laid_out = zip(told["asked"], view.blocks, view.asked, view.sides, strict=False)
    for one, block, question, (before, after) in laid_out:
        parts[block] = gr.Column(visible=True)
        parts[question] = f"### {plain(one['question'])}"
        parts[before] = answer_words("Before", one["before"])
        parts[after] = answer_words("After", one["after"])
    return parts


def lead_words(told: Mapping[str, Any]) -> str:
    """Return for whom the votes stand, and what is real."""
    return (
        f"Nobody clicked anything. **{told['votes']} votes are simulated**: {told['labelers']} "
        f"labelers stand for somebody {told['taste']}, and err in {percent(told['noise'])} of "
        f"their votes. Everything else is real: {plain(told['model'])} answered, the checks "
        "looked, DPO trained an adapter on this machine."
    )


def steps_html(told: Mapping[str, Any]) -> str:
    """Return the steps as a list: done, going, waiting (our own words and numbers only)."""
    rows = []
    for number, (step, name) in enumerate(NAMES.items(), start=1):
        done = told["steps"].get(step)
        tone = "ok" if done else "warn" if told.get("going") == step else "unknown"
        state = minutes(done["seconds"]) if done else "now …" if tone == "warn" else ""
        rows.append(
            f"<li class='hone-{tone}'><div class='hone-meter-top'><span><b>{number}</b> {name}"
            f"</span><span class='hone-state'>{state}</span></div>"
            f"<div class='hone-small'>{step_words(step, done, told) if done else ''}</div></li>"
        )
    took = sum(one["seconds"] for one in told["steps"].values())
    total = f"<p class='hone-small'>{minutes(took)} in all.</p>" if "after" in told["steps"] else ""
    return f"<ol class='hone-steps'>{''.join(rows)}</ol>{total}"


def step_words(step: str, done: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """Return what a step found (our own words and numbers only)."""
    if step == "answers":
        return f"{done['responses']:,} answers, {done['comparisons']:,} comparisons"
    if step == "votes":
        return f"{done['votes']:,} votes"
    if step == "checks":
        counts = {
            words: sum(one["severity"] == severity for one in done["checks"].values())
            for severity, words in SEVERITIES.items()
        }
        return " · ".join(f"{n} {words}" for words, n in counts.items() if n)
    if step == "training":
        found = (done["report"] or {}).get("held_out") or {}
        right = found.get("reward_accuracy")
        return "" if right is None else (
            f"held-out accuracy {percent(right)} ({percent(found['low'])} to "
            f"{percent(found['high'])}) of {found['pairs']} pairs"
        )  # fmt: skip
    before, after = (
        sum(bool(one[when]["finished"]) for one in told["asked"]) for when in ("before", "after")
    )
    return (
        f"on {done['preferred']:g} of {done['prompts']} the same taste prefers the answer after · "
        f"{after} come to their end, {before} did before"
    )


def figures_html(told: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the pictures: how often the answer after is preferred, lengths, curves."""
    parts = []
    if (after := told["steps"].get("after")) and after["prompts"]:
        low, high = 100 * after["low"], 100 * after["high"]
        at = 100 * after["preferred"] / after["prompts"]
        tone = "ok" if low > 50 else "stop" if high < 50 else "unknown"
        parts.append(
            f"<div class='hone-card hone-meter hone-{tone}'>"
            "<h3>The answer after is preferred</h3>"
            f"<div class='hone-value'>{at:.0f} %</div><div class='hone-measure'>of "
            f"{after['prompts']} held-out prompts, by the taste that cast the votes</div>"
            f"{track(low, at, high, f'{at:.0f} per cent')}"
            f"<div class='hone-small'>95 % interval {low:.0f}–{high:.0f} %</div></div>"
        )
    if told["asked"]:
        lengths = [(one["before"]["tokens"], one["after"]["tokens"]) for one in told["asked"]]
        parts.append(f"<div class='hone-card'>{lengths_html(lengths)}</div>")
    curves = curves_html(rows)
    above = f"<div class='hone-cards hone-demo-cards'>{''.join(parts)}</div>" if parts else ""
    return above + (f"<h3>How it learned</h3>{curves}" if curves else "")


def answer_words(name: str, answer: Mapping[str, Any]) -> str:
    """Return an answer with its heading and length."""
    cut = "" if answer["finished"] else ", cut at the limit"
    return f"**{name}** · {answer['tokens']} tokens{cut}\n\n{shown(answer['text'])}"


def build(workspace: Any) -> None:
    """Lay out the page inside the current tab."""
    with sheet():
        heading("The demo", "From nothing to a model before and after its votes.")
        lead = gr.Markdown("", elem_id="demo-lead")
        steps = gr.HTML("", js_on_load=None, elem_id="demo-steps")
        told = gr.Markdown("", elem_classes="hone-note", elem_id="demo-told")
        figures = gr.HTML("", js_on_load=None, elem_id="demo-figures")
        blocks, asked, sides = [], [], []
        for _ in range(SHOWN):
            with gr.Column(visible=False, elem_classes="hone-asked") as block:
                asked.append(gr.Markdown())
                sides.append(two_sides())
            blocks.append(block)
        shown_already = gr.State(None)
    view = View(
        lead, steps, told, figures, tuple(blocks), tuple(asked), tuple(sides), shown_already
    )
    drawn: dict[str, Any] = {"inputs": [view.drawn], "outputs": view.parts()}
    on_show(look, workspace, view, **drawn)
    on_news("demo", look, workspace, view, **drawn)
