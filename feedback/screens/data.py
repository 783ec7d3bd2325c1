"""The data screen: bring feedback in, take it out, look through it, decide about duplicates.

Import and export are the functions of the command line; the search is `feedback.browse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import gradio as gr
import pandas as pd

from feedback import audit, browse, imports, personal
from feedback.accounts import ALONE
from feedback.screens.bring_in import build_import, counts_html
from feedback.screens.campaigns import build_campaigns
from feedback.screens.collecting import GoldView, build_collecting, build_gold, show_gold
from feedback.screens.duplicates import build_duplicates
from feedback.screens.parts import (
    heading,
    on_show,
    plain,
    sheet,
    shown,
    two_sides,
    wire,
)
from feedback.transfers import new_folder
from feedback.values import brief

PAGE_ROWS = 20
EXPORTS = {
    "pairs": ("Pairs for DPO (TRL, JSONL)", "trl", "pairs.jsonl"),
    "labels": ("Labels for KTO (TRL, JSONL)", "trl-labels", "labels.jsonl"),
    "votes": ("Every vote (CSV)", "votes", "votes.csv"),
}
LISTED = ["Prompt", "Votes", "Models"]
NOTHING = (
    "**Nothing here yet.** Bring a file in above, or open *Label*: Hone writes the first answers "
    "by itself."
)


@dataclass(frozen=True, slots=True)
class BrowseView:
    words: gr.Textbox
    judged: gr.Radio
    page: gr.Number
    table: gr.Dataframe
    ids: gr.State
    where: gr.Markdown
    back: gr.Button
    on: gr.Button
    detail: gr.Column
    conversation: gr.Markdown
    answers: tuple[gr.Markdown, gr.Markdown]
    facts: gr.Markdown
    gold: GoldView


def take_out(
    workspace: Any, what: str, names: bool = False, *, by: str = ALONE
) -> tuple[gr.DownloadButton, str]:
    """Write the export into a file of its own; return the button that downloads it."""
    _, form, name = EXPORTS[what]
    target = new_folder(workspace.store.data) / name
    done = imports.export_file(workspace.store, target, form, names=names)
    written, found = done["written"], personal.told(done["personal_data"])
    if not written:
        return gr.DownloadButton(visible=False), "Nothing to export yet: judge some answers first."
    who = ", with names" if names and what == "votes" else ""
    audit.note(workspace.store, by, "export", f"{name}: {written:,} rows{who}")
    button = gr.DownloadButton(f"Download {name}", value=str(target), visible=True)
    warning = f"\n\n**{found}** Look at them on *Quality* before you pass the file on."
    return button, f"{written:,} rows." + (warning if found else "")


def find(
    workspace: Any, view: BrowseView, words: str, judged: str, page: float, step: int = 0
) -> dict[Any, Any]:
    """Draw one page of the comparisons that hold the words."""
    found = browse.find_comparisons(
        workspace.store, words, judged=judged, page=int(page or 1) + step, size=PAGE_ROWS
    )
    rows = [[brief(row.prompt, 90), str(row.votes), brief(row.models, 60)] for row in found.rows]
    none = "Nothing holds these words." if words.strip() or judged != "all" else NOTHING
    told = f"{found.total:,} comparisons · page {found.page} of {found.pages}"
    return {
        view.table: gr.Dataframe(pd.DataFrame(rows, columns=LISTED), visible=bool(rows)),
        view.ids: [r.comparison for r in found.rows],
        view.page: found.page,
        view.where: told if rows else none,
        view.back: gr.Button(interactive=found.page > 1, visible=found.pages > 1),
        view.on: gr.Button(interactive=found.page < found.pages, visible=found.pages > 1),
        view.detail: gr.Column(visible=False),
    }


def find_first(workspace: Any, view: BrowseView, words: str, judged: str) -> dict[Any, Any]:
    """Search anew, from the first page."""
    return find(workspace, view, words, judged, 1)


def find_before(
    workspace: Any, view: BrowseView, words: str, judged: str, page: float
) -> dict[Any, Any]:
    """Turn one page back."""
    return find(workspace, view, words, judged, page, -1)


def find_after(
    workspace: Any, view: BrowseView, words: str, judged: str, page: float
) -> dict[Any, Any]:
    """Turn one page on."""
    return find(workspace, view, words, judged, page, 1)


def open_row(
    workspace: Any, view: BrowseView, ids: list[str], chosen: gr.SelectData
) -> dict[Any, Any]:
    """Show the chosen comparison: the conversation, both answers, the votes."""
    one = browse.open_comparison(workspace.store, ids[chosen.index[0]])
    turns = (f"**{m['role']}**\n\n{shown(m['content'])}" for m in one.messages)
    votes = ", ".join(f"{plain(who)}: **{plain(verdict)}**" for who, verdict in one.votes)
    facts = f"{plain(one.comparison)} · {plain(one.source)} · votes: {votes or 'none yet'}"
    if one.votes:  # only what people judged is shown as a run sees it
        facts += f" · [what a run thinks of it](/?pair={quote(one.comparison)})"
    drawn: dict[Any, Any] = show_gold(workspace, view.gold, one.comparison) | {
        view.detail: gr.Column(visible=True),
        view.conversation: "\n\n".join(turns),
        view.facts: facts,
    }
    for side, name in enumerate("AB"):
        text = shown(one.answers[side]) if one.answers[side].strip() else "*(an empty answer)*"
        drawn[view.answers[side]] = f"### {name} · {plain(one.models[side])}\n\n{text}"
    return drawn


def build_export(workspace: Any) -> None:
    """Lay out the export: what, and the file to download."""
    gr.Markdown("## Take out")
    choices = [(words, key) for key, (words, _, _) in EXPORTS.items()]
    what = gr.Radio(
        choices, value="pairs", show_label=False, elem_classes="hone-lines", elem_id="export-what"
    )
    names = gr.Checkbox(
        False, label="Votes with labelers' names, not pseudonyms", elem_id="export-names"
    )
    go = gr.Button("Export", elem_id="export-go")
    told = gr.Markdown(elem_id="export-told", elem_classes="hone-note")
    button = gr.DownloadButton("Download", visible=False, variant="primary", elem_id="export-file")
    wire(go.click, take_out, workspace, inputs=[what, names], outputs=[button, told], limit=2)


def build_browse(workspace: Any) -> BrowseView:
    """Lay out the search, the list, and the place where one comparison opens."""
    gr.Markdown("## Look through")
    with gr.Row(elem_classes="hone-search"):
        words = gr.Textbox(
            placeholder="Words in a prompt or an answer", show_label=False, container=False,
            elem_id="browse-words", scale=3, min_width=200,
        )  # fmt: skip
        judged = gr.Radio(
            list(browse.JUDGED),
            value="all",
            show_label=False,
            container=False,
            scale=2,
            min_width=280,
        )
    table = gr.Dataframe(
        headers=LISTED, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="browse-table",
    )  # fmt: skip
    with gr.Row(elem_classes="hone-pages"):
        where = gr.Markdown(NOTHING, elem_id="browse-where", elem_classes="hone-small")
        back = gr.Button("Newer", size="sm", scale=0, min_width=90, visible=False)
        on = gr.Button("Older", size="sm", scale=0, min_width=90, visible=False)
    with gr.Column(visible=False, elem_classes="hone-card", elem_id="browse-detail") as detail:
        conversation = gr.Markdown(latex_delimiters=[], line_breaks=True)
        sides = two_sides()
        facts = gr.Markdown(elem_classes="hone-small")
        gold = build_gold(workspace)
    page = gr.Number(1, visible=False)
    return BrowseView(
        words, judged, page, table, gr.State([]), where, back, on, detail, conversation,
        sides, facts, gold,
    )  # fmt: skip


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the data screen and connect it."""
    heading("Data", "Everything that was asked, answered and judged. Nothing goes but on request.")
    counts = gr.HTML("", js_on_load=None, elem_id="data-counts")
    with gr.Row(elem_classes="hone-split"):
        with gr.Column(scale=3, min_width=300, elem_classes="hone-card"):
            done = build_import(workspace, counts)
        with gr.Column(scale=2, min_width=300, elem_classes="hone-card"):
            build_export(workspace)
    build_collecting(workspace)
    build_campaigns(workspace)
    refill = build_duplicates(workspace)
    view = build_browse(workspace)
    listed = [view.table, view.ids, view.page, view.where, view.back, view.on, view.detail]
    asked = [view.words, view.judged]
    # one after the other: the last one asked stays
    turn: dict[str, Any] = {"limit": 1, "concurrency_id": "browse"}
    first: dict[str, Any] = {"inputs": asked, "outputs": listed, **turn}
    paged: dict[str, Any] = {"inputs": [*asked, view.page], "outputs": listed, **turn}
    on_show(counts_html, workspace, outputs=[counts])
    on_show(find_first, workspace, view, **first)
    wire(view.words.submit, find_first, workspace, view, **first)
    wire(view.judged.input, find_first, workspace, view, **first)
    wire(view.back.click, find_before, workspace, view, **paged)
    wire(view.on.click, find_after, workspace, view, **paged)
    opened = [view.detail, view.conversation, view.facts, *view.answers]
    opened += [view.gold.verdict, view.gold.chosen]
    wire(view.table.select, open_row, workspace, view, inputs=[view.ids], outputs=opened, **turn)
    wire(done.success, find_first, workspace, view, **first)
    refill(done.success)
