"""The quality screen: every check as a meter with its interval, and what it found.

Draws what `feedback.survey` answers, the same that `check` prints. A new entry of
`CHECKS` appears here by itself. The line on top, and the checks that are kept as counts, move with
every vote; a labeler sees none of it, for what others chose would sway them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from feedback import browse
from feedback.checks import CHECKS
from feedback.checks.result import CheckResult, Finding
from feedback.intervals import wilson
from feedback.meters import Majorities, Meters, live_majorities, live_meters
from feedback.quality import live_length_bias, live_position_bias
from feedback.screens import overview, remedies, scores
from feedback.screens.adjudication import build_adjudication
from feedback.screens.parts import (
    heading,
    interval,
    on_news,
    on_show,
    percent,
    plain,
    sheet,
    track,
    wire,
)
from feedback.survey import survey
from feedback.tables import ranked
from feedback.values import brief

QUICK = 1.0  # seconds; Choice: checks that take longer run only when they are asked for
REST_SECONDS = 15  # Choice: often enough to feel live, seldom enough to cost nothing
SHOWN_ITEMS = 50  # Choice: of the items behind a finding; a person reads no more in a table
LARGE = "length_bias"  # the check that comes first and big: it is the one that training exploits
NAMES = {
    "length_bias": "Do longer answers win?",
    "duplicate_prompts": "Prompts asked more than once",
    "duplicate_responses": "Comparisons of the same answer twice",
    "agreement": "Do people agree?",
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
    "agreement": "Krippendorff's alpha: 1 is perfect agreement, 0 is chance",
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
LIVE = {"length_bias": live_length_bias, "position_bias": live_position_bias}
NUMBERS = ("agreement",)  # checks whose value is no share
GROUPS = {
    "Who votes": ("position_bias", "agreement", "labeler_quality", "duplicate_votes", "imbalance"),
    "What they compare": ("too_easy", "distribution", "duplicate_prompts", "duplicate_responses"),
    "What the texts say": ("style", "identity_leak", "personal_data"),
}
SEVERITIES = {
    "ok": "All right",
    "warn": "Look at this",
    "stop": "Stop and mend this",
    "unknown": "Too little to tell",
}
FINDINGS = ["Where", "Check", "Share", "95 %", "n", "State"]
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
    remedies: remedies.Remedies


@dataclass(frozen=True, slots=True)
class Live:
    """What moves with every vote."""

    line: gr.HTML
    reached: gr.State  # the store's number of the newest event that is drawn; None: draw again


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the checks draw."""

    live: Live
    cards: dict[str, Card]
    scores: scores.Scores
    found: Found
    overview: overview.Overview
    took: gr.State  # of the last refresh: its seconds, and the store's newest event before it

    def drawn(self) -> list[Any]:
        cards = [part for card in self.cards.values() for part in (card.meter, card.words)]
        found = [self.found.table, self.found.results, self.found.title]
        drawn = [*cards, self.scores.offer, *found, *self.overview.parts()]
        return [*drawn, self.took, self.live.reached]

    def moving(self) -> list[Any]:
        cards = [part for name in LIVE for part in (self.cards[name].meter, self.cards[name].words)]
        return [self.live.line, *cards, self.live.reached]


def name_of(check: str) -> str:
    """Return a check's name in words; a check nobody named yet gets its own, made readable."""
    return NAMES.get(check, check.replace("_", " ").capitalize())


def meter_html(name: str, result: CheckResult | None) -> str:
    """Return a check's numbers as markup: share, interval band on a 0–100 % track, n, state.

    Holds our own words and numbers only, so it may go through `gr.HTML`.
    """
    if result is None:
        waits = "<div class='hone-small'>Looking …</div>"
        return f"<div class='hone-meter hone-unknown'><h3>{name_of(name)}</h3>{waits}</div>"
    severity = result.severity if result.severity in SEVERITIES else "unknown"
    below = ""
    if result.value is not None:
        between = spread(name, result.low, result.high)
        below = f"<div class='hone-small'>95 % interval {between} · n = {result.n:,}</div>"
    return (
        f"<div class='hone-meter hone-{severity}'><div class='hone-meter-top'>"
        f"<h3>{name_of(name)}</h3><span class='hone-state'>{SEVERITIES[severity]}</span></div>"
        f"<div class='hone-value'>{figure(name, result.value)}</div>"
        f"<div class='hone-measure'>{MEASURES.get(name, '')}</div>{track_html(result)}{below}</div>"
    )


def figure(name: str, value: float | None) -> str:
    """Return a check's value as a person reads it: in per cent, or as the number that it is."""
    return f"{value:.3f}" if name in NUMBERS and value is not None else percent(value, 1)


def spread(name: str, low: float | None, high: float | None) -> str:
    """Return a check's interval, written as its value is."""
    if name in NUMBERS and low is not None and high is not None:
        return f"{low:.2f}–{high:.2f}"
    return interval(low, high)


def track_html(result: CheckResult) -> str:
    """Return the 0–100 % track with the interval as a band and the value as a mark.

    What is no share and lies below 0 is drawn at 0.
    """
    if result.value is None or result.low is None or result.high is None:
        return "<div class='hone-track' role='img' aria-label='nothing to measure yet'></div>"
    low, high, value = (100 * max(0.0, one) for one in (result.low, result.high, result.value))
    between = spread(result.name, result.low, result.high)
    label = f"{figure(result.name, result.value)}, between {between}"
    return track(low, value, high, label)


def words_of(result: CheckResult | Finding | None) -> str:
    """Return what a check or a finding says and what to do, as Markdown."""
    if result is None:
        return ""
    remedy = f"\n\n**What to do:** {plain(result.remedy)}" if result.remedy else ""
    return plain(result.message) + remedy


def finding_row(check: str, found: Finding) -> list[str]:
    """Return a finding as a row of the table."""
    share = percent(found.value, 1), interval(found.low, found.high), f"{found.n:,}"
    return [brief(found.subject, 60), name_of(check), *share, SEVERITIES[found.severity]]


def show_live(workspace: Any, view: View, reached: int | None) -> dict[Any, Any]:
    """Draw what moves with every vote, where one came in."""
    newest = workspace.store.reached()
    if newest == reached:
        return {view.live.reached: reached}
    drawn: dict[Any, Any] = {view.live.reached: newest}
    for name, measure in LIVE.items():
        result = measure(workspace.store)
        drawn[view.cards[name].meter] = meter_html(name, result)
        drawn[view.cards[name].words] = words_of(result)
    counts = live_meters(workspace.store), live_majorities(workspace.store)
    return drawn | {view.live.line: live_html(*counts)}


def live_html(meters: Meters, majorities: Majorities) -> str:
    """Return the line of what is counted with every vote as markup: our own words and numbers."""
    decided = sum(n for verdict, n in meters.verdicts.items() if verdict in ("a", "b"))
    parts = [f"<b>{decided:,}</b> decided votes"]
    for words, (hits, n) in (("longer won", meters.longer), ("left won", meters.left)):
        if n:
            parts.append(f"{words} <b>{percent(hits / n)}</b> ({interval(*wilson(hits, n))})")
    parts.append(f"<b>{majorities.pairs:,}</b> pairs by majority")
    cells = "".join(f"<span>{part}</span>" for part in parts)
    return f"<div class='hone-live'><i aria-hidden='true'></i><span>Live</span>{cells}</div>"


def keep_up(workspace: Any, view: View, took: tuple[float, int]) -> dict[Any, Any]:
    """Refresh where votes came in, as long as that is quick."""
    seconds, seen = took
    known = seconds > QUICK or seen == workspace.store.reached()
    return {view.took: took} if known else refresh(workspace, view)


def refresh(workspace: Any, view: View) -> dict[Any, Any]:
    """Run every check and draw it."""
    started, reached = time.monotonic(), workspace.store.reached()
    found = survey(workspace.store)
    drawn = draw_checks(view.cards, view.found, found.results)
    drawn |= overview.draw(view.overview, found) | scores.show_offer(view.scores, found.results)
    took = (time.monotonic() - started, reached)
    return drawn | {view.took: took, view.live.reached: None}


def draw_checks(cards: dict[str, Card], found: Found, results: list[CheckResult]) -> dict[Any, Any]:
    """Draw what the checks say."""
    known = {result.name: result for result in results}
    drawn: dict[Any, Any] = {}
    for name, card in cards.items():
        drawn[card.meter] = meter_html(name, known.get(name))
        drawn[card.words] = words_of(known.get(name))
    findings = ranked(results)
    rows = [finding_row(name, finding) for name, finding in findings]
    drawn[found.table] = gr.Dataframe(pd.DataFrame(rows, columns=FINDINGS), visible=bool(rows))
    drawn[found.results] = [
        {
            "words": words_of(finding),
            "offer": remedies.offer_of(finding.subject, finding.items, finding.message),
        }
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
    offer = finding["offer"]
    told = browse.describe(workspace.store, offer.items[:SHOWN_ITEMS])
    count = len(offer.items)
    more = f"\n\nThe first {len(told):,} of {count:,} items:" if count > len(told) else ""
    table = pd.DataFrame([[item, brief(text)] for item, text in told.items()], columns=ITEMS)
    return {
        found.words: finding["words"] + more,
        found.items: gr.Dataframe(table, visible=bool(told)),
        found.detail: gr.Column(visible=True),
        **remedies.show_offer(found.remedies, offer),
    }


def groups() -> list[tuple[str, list[str]]]:
    """Return the checks but the large one, by what they are about; new ones come last."""
    known = {name for names in GROUPS.values() for name in names}
    rest = [name for name in CHECKS if name != LARGE and name not in known]
    found = [(title, [name for name in names if name in CHECKS]) for title, names in GROUPS.items()]
    return [*found, ("More", rest)] if rest else found


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
    for title, names in groups():
        gr.Markdown(f"## {title}")
        with gr.Row(equal_height=True, elem_classes="hone-cards"):
            for name in names:
                with gr.Column(elem_classes="hone-card", elem_id=f"check-{name}", min_width=300):
                    meter = gr.HTML(meter_html(name, None), js_on_load=None)
                    cards[name] = Card(meter, gr.Markdown())
    return cards


def build_findings() -> Found:
    """Lay out the table of findings and the table of the items behind one."""
    title = gr.Markdown("## Findings")
    table = gr.Dataframe(
        headers=FINDINGS, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="findings",
    )  # fmt: skip
    overview.file_link("findings", "Download the findings")
    with gr.Column(visible=False, elem_classes="hone-card", elem_id="finding") as detail:
        words = gr.Markdown()
        items = gr.Dataframe(
            headers=ITEMS, datatype="str", interactive=False, wrap=True, visible=False, buttons=[],
            show_label=False, elem_id="finding-items", column_widths=["30%", "70%"],
        )  # fmt: skip
        acts = remedies.build_remedies()
    return Found(table, gr.State([]), detail, words, items, title, acts)


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the quality screen and connect its refresh."""
    with gr.Row(elem_classes="hone-top"):
        heading("Quality", "Can this feedback be trusted? Every check runs from the first vote on.")
        again = gr.Button("Check again", size="sm", scale=0, min_width=140, elem_id="check-again")
    line = gr.HTML("", js_on_load=None, elem_id="quality-live", padding=False)
    cards = build_cards()
    scored = scores.build_scores()
    found = build_findings()
    left = remedies.build_left_out()
    build_adjudication(workspace)
    live = Live(line, gr.State(None))
    view = View(live, cards, scored, found, overview.build_overview(), gr.State((0.0, -1)))
    models = overview.build_models()
    drawn = view.drawn()
    wire(again.click, refresh, workspace, view, outputs=drawn)
    anew: dict[str, Any] = {"inputs": [view.took], "outputs": drawn, "rest": REST_SECONDS}
    on_news("votes", keep_up, workspace, view, **anew)
    on_show(refresh, workspace, view, outputs=drawn)
    moving: dict[str, Any] = {"inputs": [live.reached], "outputs": view.moving()}
    on_news("votes", show_live, workspace, view, **moving)
    on_show(show_live, workspace, view, **moving)
    on_show(overview.show_models, workspace, models, outputs=models.parts())
    on_show(remedies.list_left_out, workspace, left, outputs=left.parts())
    opened = [found.words, found.items, found.detail, *found.remedies.parts()]
    wire(found.table.select, show_finding, workspace, found, inputs=[found.results], outputs=opened)
    for done in (
        *remedies.connect(workspace, found.remedies, left),
        scores.connect(workspace, scored),
    ):
        wire(done.then, refresh, workspace, view, outputs=drawn, trigger_mode="always_last")
