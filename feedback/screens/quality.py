"""The quality screen: every check as a meter with its interval, and what it found.

Draws what `feedback.quality.run_checks` answers, the same that `check` prints. A new entry of
`CHECKS` appears here by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from feedback import browse
from feedback.checks import CHECKS
from feedback.checks.result import CheckResult, Finding
from feedback.quality import run_checks
from feedback.screens.parts import (
    brief,
    heading,
    interval,
    on_show,
    percent,
    plain,
    sheet,
    ticking,
    wire,
)

REFRESH_SECONDS = 15  # Choice: often enough to feel live, seldom enough to cost nothing
SHOWN_ITEMS = 50  # Choice: of the items behind a finding; a person reads no more in a table
LARGE = "length_bias"  # the check that comes first and big: it is the one that training exploits
NAMES = {
    "length_bias": "Do longer answers win?",
    "duplicate_prompts": "Prompts asked more than once",
    "duplicate_responses": "Comparisons of the same answer twice",
    "position_bias": "Does the side decide?",
    "labeler_quality": "Who can be trusted?",
    "duplicate_votes": "Votes that are no news",
    "imbalance": "Does one side outweigh the other?",
    "too_easy": "Comparisons that teach little",
    "distribution": "Are the answers the model's own?",
    "style": "Does form win?",
    "identity_leak": "Answers that name their model",
    "personal_data": "Personal data",
}
MEASURES = {
    "length_bias": "of decided votes went to the longer answer",
    "duplicate_prompts": "of judged items repeat an earlier prompt",
    "duplicate_responses": "of comparisons show nearly the same answer on both sides",
    "position_bias": "of decided votes with known sides went to the left answer",
    "labeler_quality": "of labelers have nothing that speaks against them",
    "duplicate_votes": "of votes repeat the same person's on the same comparison",
    "imbalance": "of labels say that an answer is good",
    "too_easy": "of comparisons have an answer that is blank, broken, cut off or copied",
    "distribution": "of comparisons show two answers of the model itself",
    "style": "of votes went to the answer with more of the strongest mark of form",
    "identity_leak": "of answers say which model they are or who made it",
    "personal_data": "of texts hold a mail address, a phone, card or IP number",
}
SEVERITIES = {
    "ok": "All right",
    "warn": "Look at this",
    "stop": "Stop and mend this",
    "unknown": "Too little to tell",
}
FINDINGS = ["Where", "Check", "Share", "95 %", "n", "State"]
WORST_FIRST = ("stop", "warn", "unknown", "ok")
ITEMS = ["Item", "What it is"]


@dataclass(frozen=True, slots=True)
class Card:
    """The two components of one check: its numbers (our own markup) and its words (Markdown)."""

    meter: gr.HTML
    words: gr.Markdown


@dataclass(frozen=True, slots=True)
class Found:
    table: gr.Dataframe
    results: gr.State  # the findings' words and items, in the table's order
    detail: gr.Column
    words: gr.Markdown
    items: gr.Dataframe
    title: gr.Markdown


def name_of(check: str) -> str:
    """Return a check's name in words; a check nobody named yet gets its own, made readable."""
    return NAMES.get(check, check.replace("_", " ").capitalize())


def meter_html(name: str, result: CheckResult | None) -> str:
    """Return a check's numbers as markup: share, interval band on a 0–100 % track, n, state.

    Holds our own words and numbers only, so it may go through `gr.HTML`.
    """
    if result is None:
        return f"<div class='hone-meter hone-unknown'><h3>{name_of(name)}</h3></div>"
    severity = result.severity if result.severity in SEVERITIES else "unknown"
    below = ""
    if result.value is not None:
        between = interval(result.low, result.high)
        below = f"<div class='hone-small'>95 % interval {between} · n = {result.n:,}</div>"
    return (
        f"<div class='hone-meter hone-{severity}'><div class='hone-meter-top'>"
        f"<h3>{name_of(name)}</h3><span class='hone-state'>{SEVERITIES[severity]}</span></div>"
        f"<div class='hone-value'>{percent(result.value, 1)}</div>"
        f"<div class='hone-measure'>{MEASURES.get(name, '')}</div>{track_html(result)}{below}</div>"
    )


def track_html(result: CheckResult) -> str:
    """Return the 0–100 % track with the interval as a band and the value as a mark."""
    if result.value is None or result.low is None or result.high is None:
        return "<div class='hone-track' role='img' aria-label='nothing to measure yet'></div>"
    low, wide = 100 * result.low, 100 * (result.high - result.low)
    label = f"{percent(result.value, 1)}, between {interval(result.low, result.high)}"
    return (
        f"<div class='hone-track' role='img' aria-label='{label}'>"
        f"<i class='hone-band' style='left:{low:.2f}%;width:{wide:.2f}%'></i>"
        f"<i class='hone-mark' style='left:{100 * result.value:.2f}%'></i></div>"
        "<div class='hone-scale'><span>0</span><span>50 %</span><span>100 %</span></div>"
    )


def words_of(result: CheckResult | Finding | None) -> str:
    """Return what a check or a finding says and what to do, as Markdown."""
    if result is None:
        return ""
    remedy = f"\n\n**What to do:** {plain(result.remedy)}" if result.remedy else ""
    return plain(result.message) + remedy


def ranked(results: list[CheckResult]) -> list[tuple[str, Finding]]:
    """Return every finding with its check's name, worst first within a check."""
    return [
        (result.name, finding)
        for result in results
        for finding in sorted(result.findings, key=lambda f: WORST_FIRST.index(f.severity))
    ]


def finding_row(check: str, found: Finding) -> list[str]:
    """Return a finding as a row of the table."""
    share = percent(found.value, 1), interval(found.low, found.high), f"{found.n:,}"
    return [brief(found.subject, 60), name_of(check), *share, SEVERITIES[found.severity]]


def refresh(workspace: Any, cards: dict[str, Card], found: Found) -> dict[Any, Any]:
    """Run every check and draw it."""
    results = run_checks(workspace.store)
    known = {result.name: result for result in results}
    drawn: dict[Any, Any] = {}
    for name, card in cards.items():
        drawn[card.meter] = meter_html(name, known.get(name))
        drawn[card.words] = words_of(known.get(name))
    findings = ranked(results)
    rows = [finding_row(name, finding) for name, finding in findings]
    drawn[found.table] = gr.Dataframe(pd.DataFrame(rows, columns=FINDINGS), visible=bool(rows))
    drawn[found.results] = [
        {"words": words_of(finding), "items": finding.items[:SHOWN_ITEMS]}
        for _, finding in findings
    ]
    drawn[found.title] = (
        "## Findings\nBy labeler and by source. Choose a row to see the items behind it."
        if rows
        else "## Findings\nNothing found. Findings appear here by labeler and by source."
    )
    return drawn


def show_finding(
    workspace: Any, found: Found, findings: list[dict[str, Any]], chosen: gr.SelectData
) -> dict[Any, Any]:
    """Show what the chosen finding says, what to do, and the items behind it with their texts."""
    finding = findings[chosen.index[0]]
    told = browse.describe(workspace.store, finding["items"])
    table = pd.DataFrame([[item, brief(text)] for item, text in told.items()], columns=ITEMS)
    return {
        found.words: finding["words"],
        found.items: gr.Dataframe(table, visible=bool(told)),
        found.detail: gr.Column(visible=True),
    }


def build_cards() -> dict[str, Card]:
    """Lay out one card per check: the large one first, the others beside each other."""
    cards = {}
    for name in [name for name in CHECKS if name == LARGE]:
        with (
            gr.Column(elem_classes=["hone-card", "hone-large"], elem_id=f"check-{name}"),
            gr.Row(elem_classes="hone-split"),
        ):
            with gr.Column(scale=3, min_width=280):
                meter = gr.HTML(meter_html(name, None), js_on_load=None)
            with gr.Column(scale=2, min_width=260):
                cards[name] = Card(meter, gr.Markdown())
    with gr.Row(equal_height=True, elem_classes="hone-cards"):
        for name in [name for name in CHECKS if name != LARGE]:
            with gr.Column(elem_classes="hone-card", elem_id=f"check-{name}", min_width=300):
                cards[name] = Card(gr.HTML(meter_html(name, None), js_on_load=None), gr.Markdown())
    return cards


def build_findings() -> Found:
    """Lay out the table of findings and the table of the items behind one."""
    title = gr.Markdown("## Findings")
    table = gr.Dataframe(
        headers=FINDINGS, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="findings",
    )  # fmt: skip
    with gr.Column(visible=False, elem_classes="hone-card", elem_id="finding") as detail:
        words = gr.Markdown()
        items = gr.Dataframe(
            headers=ITEMS, datatype="str", interactive=False, wrap=True, visible=False, buttons=[],
            show_label=False, elem_id="finding-items", column_widths=["30%", "70%"],
        )  # fmt: skip
    return Found(table, gr.State([]), detail, words, items, title)


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the quality screen and connect its refresh."""
    with gr.Row(elem_classes="hone-top"):
        heading("Quality", "Can this feedback be trusted? Every check runs from the first vote on.")
        again = gr.Button("Check again", size="sm", scale=0, min_width=140, elem_id="check-again")
    cards = build_cards()
    found = build_findings()
    drawn: list[Any] = [part for card in cards.values() for part in (card.meter, card.words)]
    drawn += [found.table, found.results, found.title]
    wire(again.click, refresh, workspace, cards, found, outputs=drawn)
    wire(ticking(REFRESH_SECONDS).tick, refresh, workspace, cards, found, outputs=drawn)
    on_show(refresh, workspace, cards, found, outputs=drawn)
    opened = [found.words, found.items, found.detail]
    wire(found.table.select, show_finding, workspace, found, inputs=[found.results], outputs=opened)
