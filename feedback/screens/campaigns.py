"""The part of the data screen where a lead makes campaigns, pauses and finishes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from feedback import audit, collecting, trial
from feedback.accounts import ALONE
from feedback.campaigns import DEFAULT, GUIDELINE
from feedback.screens.parts import fold, on_show, plain, wire
from feedback.values import brief
from storage.errors import BadInput
from storage.records import Campaign

NEW = ""  # what the list holds where a new one is made
LISTED = ["Campaign", "State", "Judged", "What", "Who"]
TRIED = ["Labeler", "Right", "Trial"]
MODES = [
    ("Two answers and single ones", "both"),
    ("Two answers", "pairs"),
    ("Single answers (thumbs)", "thumbs"),
    ("Three answers, put in an order", "rank3"),
    ("Four answers, put in an order", "rank4"),
]
IN = "let in"
HOW = {None: "going on", True: "passed", False: "not passed"}
MOVES = {"Pause": collecting.PAUSED, "Go on": collecting.OPEN, "Finish": collecting.FINISHED}
WHAT = {"both": "answers", "pairs": "two answers", "thumbs": "thumbs", "rank3": "three, in order",
        "rank4": "four, in order"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    table: gr.Dataframe
    pick: gr.Dropdown
    fields: tuple[Any, ...]  # in the order of `values_of`
    told: gr.Markdown
    moves: tuple[gr.Button, ...]  # in the order of MOVES
    tried: gr.Column
    trials: gr.Dataframe
    person: gr.Dropdown

    def parts(self) -> list[Any]:
        return [
            self.table, self.pick, *self.fields, self.told, *self.moves, self.tried, self.trials,
            self.person,
        ]  # fmt: skip


def values_of(one: Campaign) -> tuple[Any, ...]:
    """Return a campaign as the fields show it: shares in percent, lists one a line."""
    lists = (one.sources, one.models, one.labelers)
    asked = (one.reasons, one.strengths, one.aspects)
    return (
        one.name if one.id else "", one.guideline, one.mode, *map("\n".join, lists),
        one.since is not None, one.overlap, 100 * one.shared, 100 * one.repeats, 100 * one.gold,
        one.trial, 100 * one.trial_share, *map("\n".join, asked),
    )  # fmt: skip


def asked_of(values: tuple[Any, ...], before: Campaign | None) -> dict[str, Any]:
    """Return the fields' values as `collecting.change` takes them."""
    (name, guideline, mode, sources, models, labelers, new, overlap, shared, repeats, gold, tried,
     share, reasons, strengths, aspects) = values  # fmt: skip
    asked: dict[str, Any] = {
        "name": name, "guideline": guideline, "mode": mode, "sources": sources.splitlines(),
        "models": models.splitlines(), "labelers": labelers.splitlines(),
        "overlap": int(overlap or 0), "shared": (shared or 0) / 100,
        "repeats": (repeats or 0) / 100, "gold": (gold or 0) / 100, "trial": int(tried or 0),
        "trial_share": (share or 0) / 100, "reasons": reasons.splitlines(),
        "strengths": strengths.splitlines(), "aspects": aspects.splitlines(),
    }  # fmt: skip
    was_new = before is not None and before.since is not None
    return asked if bool(new) == was_new else asked | {"new": bool(new)}


def show(workspace: Any, view: View, picked: str, word: str = "") -> dict[Any, Any]:
    """Draw the list, and the chosen campaign in the fields."""
    known = collecting.campaigns(workspace.store)
    found = next((one for one in known if one.id == picked), None)
    one = found or Campaign("", "", GUIDELINE, overlap=1)
    choices = [*((one.name, one.id) for one in known), ("+ New campaign", NEW)]
    rows = [row_of(workspace, each) for each in known]
    drawn: dict[Any, Any] = dict(zip(view.fields, values_of(one), strict=True))
    return drawn | {
        view.table: gr.Dataframe(pd.DataFrame(rows, columns=LISTED)),
        view.pick: gr.Dropdown(choices=choices, value=one.id),
        view.told: word,
        **{
            button: gr.Button(visible=state in next_states(one))
            for button, state in zip(view.moves, MOVES.values(), strict=True)
        },
        **show_trials(workspace, view, found),
    }


def next_states(one: Campaign) -> set[str]:
    """Return the states that a campaign can be brought into."""
    if not one.id or one.state == collecting.FINISHED:
        return set()
    other = collecting.PAUSED if one.state == collecting.OPEN else collecting.OPEN
    return {other} if one.id == DEFAULT else {other, collecting.FINISHED}


def row_of(workspace: Any, one: Campaign) -> list[str]:
    """Return a campaign as a row of the table."""
    mode = "thumbs" if one.mode == "thumbs" else "pairs"
    done, total = collecting.reach(workspace.store, one, mode)
    who = ", ".join(one.labelers) or "everybody"
    judged = f"{done:,} of {total:,}"
    return [brief(one.name, 60), one.state, judged, WHAT[one.mode], brief(who, 60)]


def show_trials(workspace: Any, view: View, one: Campaign | None) -> dict[Any, Any]:
    """Draw who began the trial, and offer to let in who did not pass."""
    began = trial.everybody(workspace.store, one) if one and one.trial else []
    rows = [
        [brief(who, 60), f"{how.right} of {how.judged}", IN if how.let_in else HOW[how.passed]]
        for who, how in began
    ]
    failed = [who for who, how in began if how.passed is False]
    return {
        view.tried: gr.Column(visible=bool(began)),
        view.trials: gr.Dataframe(pd.DataFrame(rows, columns=TRIED)),
        view.person: gr.Dropdown(choices=failed, value=failed[0] if failed else None),
    }


def save(workspace: Any, view: View, picked: str, *values: Any, by: str = ALONE) -> dict[Any, Any]:
    """Make the campaign in the fields, or change the chosen one."""
    store = workspace.store
    if picked == NEW:
        asked = asked_of(values, None)
        done = collecting.make(store, asked.pop("name") or "", **asked)
    else:
        before = collecting.campaign_of(store, picked)
        done = collecting.change(store, picked, **asked_of(values, before))
    audit.note(store, by, f"campaign {'set' if picked else 'new'}", done.name)
    return show(workspace, view, done.id, "Saved. It holds for what is given from now on.")


def move(workspace: Any, view: View, state: str, picked: str, *, by: str = ALONE) -> dict[Any, Any]:
    """Pause, open or finish the chosen campaign."""
    done = collecting.set_state(workspace.store, picked, state)
    audit.note(workspace.store, by, f"campaign {state}", done.name)
    return show(workspace, view, picked, f"**{plain(done.name)}** is {state} now.")


def let_in(
    workspace: Any, view: View, picked: str, person: str | None, *, by: str = ALONE
) -> dict[Any, Any]:
    """Let somebody label who did not pass the trial."""
    if not person:
        raise BadInput("Nobody is chosen: who did not pass is in the list.")
    trial.let_in(workspace.store, collecting.campaign_of(workspace.store, picked), person, by=by)
    return show(workspace, view, picked, f"{plain(person)} can go on.")


def first(workspace: Any, view: View, picked: str | None) -> dict[Any, Any]:
    """Draw the campaigns when the screen comes to the front."""
    return show(workspace, view, DEFAULT if picked is None else picked)


def build_fields() -> tuple[Any, ...]:
    """Lay out the fields of a campaign, in the order of `values_of`."""
    name = gr.Textbox(label="Name", elem_id="campaign-name")
    guideline = gr.Textbox(label="Guideline (Markdown)", lines=4, max_lines=14)
    with gr.Row():
        mode = gr.Dropdown(MODES, value="both", label="What is judged", filterable=False)
        new = gr.Checkbox(label="Only what is made from now on")
    with gr.Row():
        sources, models, labelers = (
            gr.Textbox(label=label, lines=1, max_lines=5, info=info)
            for label, info in (
                ("From sources (one a line)", "import:poems.jsonl, or its beginning; empty: all"),
                ("By models or runs (one a line)", "one of the answers; empty: all"),
                ("Labelers (one a line)", "empty: everybody"),
            )
        )
    with gr.Row():
        numbers = [
            gr.Number(1, label="People per comparison", precision=0, minimum=1),
            gr.Number(10, label="% judged by one or two more"),
            gr.Number(5, label="% silent repeats"),
            gr.Number(5, label="% gold items"),
        ]
    with gr.Row():
        tried = gr.Number(
            0, label="Trial: gold items that come first", precision=0, minimum=0,
            elem_id="campaign-trial",
        )  # fmt: skip
        share = gr.Number(80, label="% of them right to go on")
    with gr.Row():
        asked = [
            gr.Textbox(label=label, lines=1, max_lines=5, info=info)
            for label, info in (
                ("Reasons (one a line)", "empty: the usual ones"),
                ("How clear? (one a line, weakest first)", "slightly, clearly; empty: not asked"),
                ("Aspects (one a line)", "facts, tone; empty: not asked"),
            )
        ]
    return (
        name, guideline, mode, sources, models, labelers, new, *numbers, tried, share, *asked,
    )  # fmt: skip


def build_campaigns(workspace: Any) -> None:
    """Lay out the part and connect it."""
    with fold("Campaigns: what is judged, by whom", "campaigns"):
        table = gr.Dataframe(
            headers=LISTED, datatype="str", interactive=False, show_label=False, buttons=[],
            elem_id="campaign-table",
        )  # fmt: skip
        pick = gr.Dropdown(
            label="Change, or make one", elem_id="campaign-pick", filterable=False, value=None
        )
        fields = build_fields()
        with gr.Row(elem_classes="hone-buttons"):
            go = gr.Button(
                "Save", variant="primary", size="md", scale=0, min_width=140,
                elem_id="campaign-save",
            )  # fmt: skip
            moves = tuple(
                gr.Button(word, size="md", scale=0, min_width=140, elem_id=f"campaign-{state}")
                for word, state in MOVES.items()
            )
        told = gr.Markdown(elem_classes="hone-note", elem_id="campaign-told")
        with gr.Column(visible=False) as tried:
            gr.Markdown("### Trial")
            trials = gr.Dataframe(
                headers=TRIED, datatype="str", interactive=False, show_label=False, buttons=[]
            )
            with gr.Row(elem_classes="hone-buttons"):
                person = gr.Dropdown(label="Did not pass", filterable=False, scale=2)
                letting = gr.Button("Let in", size="md", scale=0, min_width=140)
    view = View(table, pick, fields, told, moves, tried, trials, person)
    parts = view.parts()
    on_show(first, workspace, view, inputs=[pick], outputs=parts)
    wire(pick.input, show, workspace, view, inputs=[pick], outputs=parts)
    wire(go.click, save, workspace, view, inputs=[pick, *fields], outputs=parts)
    for button, state in zip(moves, MOVES.values(), strict=True):
        wire(button.click, move, workspace, view, state, inputs=[pick], outputs=parts)
    wire(letting.click, let_in, workspace, view, inputs=[pick, person], outputs=parts)
