"""The rounds screen: who answers now, what to promote on what evidence, and the story so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from align import comparing, lineage, promotion
from align.commands import COMMANDS
from align.rounds import story
from align.screens import publish
from align.screens.story import story_html
from feedback.accounts import ALONE
from feedback.ages import line_of_succession, promotions
from feedback.screens.parts import (
    fold,
    follow,
    heading,
    on_show,
    percent,
    plain,
    sheet,
    wire,
)
from storage.errors import BadInput, UserError
from storage.records import Promotion

PROMPTS = 50  # Choice: of the next round; an hour or so of one person's judging
NO_RUN = (
    "**No finished run yet.** Collect votes on *Label*, start a run on *Train*, and come back: "
    "here you decide whether its adapter answers from now on."
)
FIRST = "## The base answers\nNothing was promoted yet. The answers that people judge are its own."


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this screen touches."""

    answers: gr.Markdown
    back: gr.Button
    prompts: gr.Number
    ask: gr.Button
    stop: gr.Button
    told: gr.Markdown
    empty: gr.Markdown
    desk: gr.Column
    run: gr.Dropdown
    evidence: gr.Markdown
    because: gr.Textbox
    promote: gr.Button
    story: gr.HTML
    check: gr.Button
    behind: gr.Markdown
    vote: gr.Textbox
    trace: gr.Button
    learned: gr.Markdown

    def decided(self) -> list[Any]:
        """Return what a decision changes."""
        return [
            self.answers, self.back, self.run, self.evidence, self.because, self.empty, self.desk,
            self.story, self.behind,
        ]  # fmt: skip


def refresh(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Draw the screen anew; the chosen run stays chosen while it is there."""
    finished = comparing.finished_runs(workspace.data)
    ids = [id for _, id in finished]
    chosen = run if run in ids else next(iter(ids), None)
    return {
        **answering(workspace, view),
        view.run: gr.Dropdown(choices=finished, value=chosen),
        view.empty: gr.Markdown(visible=not ids),
        view.desk: gr.Column(visible=bool(ids)),
        view.story: story_html(story(workspace)),
        **look(workspace, view, chosen),
    }


def answering(workspace: Any, view: View) -> dict[Any, Any]:
    """Say who answers now and since which decision, and who a step back would lead to."""
    decided = promotions(workspace.store)
    line = line_of_succession(decided)
    before = line[-2] if len(line) > 1 else None
    words = promoted_words(decided[-1]) if decided else FIRST
    label = "Go back" if before is None else f"Go back to {before or 'the base'}"
    return {view.answers: words, view.back: gr.Button(label, visible=before is not None)}


def promoted_words(one: Promotion) -> str:
    """Return who answers since a decision, and why."""
    who = one.run or "The base"
    why = f" Because: {plain(one.reason)}" if one.reason else ""
    return (
        f"## {who} answers\nSince {one.created_at:%d %b %Y, %H:%M} UTC, decided by "
        f"{plain(one.labeler)}.{why}"
    )


def look(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Show what is known of a run before it is promoted."""
    if not run:
        return {view.evidence: "", view.behind: ""}
    try:
        found = promotion.evidence(workspace, run)
    except UserError as error:  # of this run: the others and the story are still to be seen
        return {view.evidence: f"**It cannot be promoted:** {plain(str(error))}", view.behind: ""}
    against = promotion.objection(found)
    words = evidence_words(found)
    if against:
        words += f"\n\n**Needs a reason:** {plain(against)}."
    return {view.evidence: words, view.behind: ""}


def evidence_words(found: Mapping[str, Any]) -> str:
    """Return the evidence in a line per finding."""
    duel, held_out = found["duel"], found["held_out"] or {}
    lines = []
    if duel:
        whom = "the base" if duel["against"] == "base" else duel["against"]
        lines.append(
            f"**Duel against {whom}:** {duel['wins']} won, {duel['losses']} lost, {duel['ties']} "
            f"tied; preferred on {percent(duel['rate'])} "
            f"({100 * duel['low']:.0f}–{100 * duel['high']:.0f} %)."
        )
    if held_out.get("reward_accuracy") is not None:
        lines.append(
            f"**Held-out accuracy:** {percent(held_out['reward_accuracy'])} "
            f"({percent(held_out['low'])} to {percent(held_out['high'])}) of {held_out['pairs']:,}."
        )
    if found["warnings"]:
        lines.append(f"**Warnings of the run:** {len(found['warnings'])}, see *Train*.")
    if n := found["objections"]:
        lines.append(f"**{n} check{'s' * (n > 1)} spoke against it** when it started.")
    if n := sum(found["stale"].values()):
        lines.append(f"**Stale:** {n:,} of the votes behind it do not count any more.")
    return "\n".join(f"- {line}" for line in lines)


def promote(
    workspace: Any, view: View, run: str | None, because: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Let a run's adapter answer from now on."""
    if not run:
        raise BadInput("No run was chosen: choose one above.")
    promotion.promote(workspace, run, because=because, by=by)
    return refresh(workspace, view, run) | {view.because: ""}


def back(
    workspace: Any, view: View, run: str | None, because: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Let who answered before answer again."""
    promotion.roll_back(workspace, because=because, by=by)
    return refresh(workspace, view, run) | {view.because: ""}


def ask(
    workspace: Any, view: View, prompts: float | None, *, by: str = ALONE
) -> Iterator[dict[Any, Any]]:
    """Let who answers now answer stored prompts, for people to judge; show each step."""
    yield {
        view.told: "Starting …",
        view.ask: gr.Button(visible=False),
        view.stop: gr.Button(visible=True),
    }
    call = partial(COMMANDS["generate"], workspace, stored=int(prompts or 0), by=by)
    for line, done in follow(lambda progress: call(progress=progress)):
        if done is None:
            yield {view.told: plain(line)}
        else:
            told = f"**Done:** {done['comparisons']:,} new comparisons wait on *Label*."
            yield buttons(view) | {view.told: told}


def buttons(view: View) -> dict[Any, Any]:
    """Give the buttons back."""
    return {view.ask: gr.Button(visible=True), view.stop: gr.Button(visible=False)}


def stopped(view: View) -> dict[Any, Any]:
    """Give the buttons back after Stop."""
    return buttons(view) | {view.told: "Stopped. What was finished before is stored."}


def check(workspace: Any, view: View, run: str | None) -> dict[Any, Any]:
    """Follow a run back to its votes and check every hash on the way."""
    if not run:
        raise BadInput("No run was chosen: choose one above.")
    lineage.verify(workspace.data, run)
    lines = [
        f"- {one}: {len(votes):,} votes, thumbs and corrections"
        for one, votes in lineage.behind(workspace.data, run).items()
    ]
    return {view.behind: "\n".join(["**Every hash is as it was.**", *lines])}


def trace(workspace: Any, view: View, vote: str) -> dict[Any, Any]:
    """Name the runs that learned from a vote."""
    if not vote.strip():
        raise BadInput("No id: paste that of a vote, as Data's download of votes has it.")
    found = COMMANDS["lineage"](workspace, progress=str, id=vote.strip())
    runs = found.get("learned_from", [])
    return {view.learned: "\n".join(f"- {run}" for run in runs) or "No run learned from it."}


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the rounds screen and connect it."""
    heading("Rounds", "Collect, train, compare, promote: each promotion begins a round.")
    with gr.Row(elem_classes="hone-split"):
        with gr.Column(min_width=300, elem_classes="hone-card", elem_id="rounds-now"):
            now = build_now()
        with gr.Column(min_width=300, elem_classes="hone-card", elem_id="rounds-promote"):
            deciding = build_promote()
    view = View(
        **now,
        **deciding,
        story=gr.HTML("", js_on_load=None, elem_id="rounds-story"),
        **build_lineage(),
    )
    publish.build(workspace, view.run)
    run, drawn = [view.run], view.decided()
    on_show(refresh, workspace, view, inputs=run, outputs=drawn)
    known = [view.evidence, view.behind]
    wire(view.run.input, look, workspace, view, inputs=run, outputs=known)
    decide = {"inputs": [view.run, view.because], "outputs": drawn, "limit": 1}
    wire(view.promote.click, promote, workspace, view, **decide)
    wire(view.back.click, back, workspace, view, **decide)
    asked = [view.told, view.ask, view.stop]
    going = wire(
        view.ask.click, ask, workspace, view, inputs=[view.prompts], outputs=asked, limit=1
    )
    wire(going.failure, buttons, view, outputs=[view.ask, view.stop])
    wire(view.stop.click, stopped, view, outputs=asked, cancels=[going], queue=False)
    wire(view.check.click, check, workspace, view, inputs=run, outputs=[view.behind])
    traced = {"inputs": [view.vote], "outputs": [view.learned]}
    wire(view.trace.click, trace, workspace, view, **traced)
    wire(view.vote.submit, trace, workspace, view, **traced)


def build_now() -> dict[str, Any]:
    """Lay out who answers now, and what that one can be asked."""
    answers = gr.Markdown(FIRST, elem_id="rounds-answers")
    with gr.Row(elem_classes="hone-buttons"):
        ask = gr.Button("Answer stored prompts", elem_id="rounds-ask", scale=0, min_width=240)
        stop = gr.Button("Stop", variant="stop", visible=False, scale=0, min_width=200)
        prompts = gr.Number(
            PROMPTS, precision=0, minimum=1, maximum=100_000, label="Prompts", scale=0,
            min_width=120, elem_id="rounds-prompts",
        )  # fmt: skip
    told = gr.Markdown("", elem_classes="hone-note", elem_id="rounds-told")
    back = gr.Button("Go back", visible=False, elem_id="rounds-back", scale=0, min_width=200)
    return {
        "answers": answers, "ask": ask, "stop": stop, "prompts": prompts, "told": told, "back": back
    }  # fmt: skip


def build_promote() -> dict[str, Any]:
    """Lay out which run to promote, on what evidence, and why."""
    gr.Markdown("## Promote an adapter")
    empty = gr.Markdown(NO_RUN, elem_id="rounds-empty")
    with gr.Column(visible=False) as desk:
        run = gr.Dropdown(label="Run", filterable=False, elem_id="rounds-run")
        evidence = gr.Markdown("", elem_id="rounds-evidence")
        because = gr.Textbox(
            label="Why", max_length=promotion.MAX_REASON, lines=1, elem_id="rounds-because",
            placeholder="Needed where its duel was lost, or where there was none",
        )  # fmt: skip
        with gr.Row(elem_classes="hone-buttons"):
            promote = gr.Button(
                "Promote", variant="primary", elem_id="rounds-go", scale=0, min_width=160
            )
    return {
        "empty": empty, "desk": desk, "run": run, "evidence": evidence, "because": because,
        "promote": promote,
    }  # fmt: skip


def build_lineage() -> dict[str, Any]:
    """Lay out the way from the chosen run back to its votes, and from a vote to its runs."""
    with fold("Which votes are behind a run, which runs behind a vote", "rounds-lineage"):
        with gr.Row(elem_classes="hone-buttons"):
            check = gr.Button(
                "Check the chosen run", elem_id="rounds-check", scale=0, min_width=200
            )
        behind = gr.Markdown("", elem_id="rounds-behind")
        vote = gr.Textbox(
            label="Id of a vote", max_lines=1, max_length=200, elem_id="rounds-vote",
            placeholder="As the download of votes on Data has it",
        )  # fmt: skip
        with gr.Row(elem_classes="hone-buttons"):
            trace = gr.Button(
                "Who learned from it?", elem_id="rounds-trace", scale=0, min_width=200
            )
        learned = gr.Markdown("", elem_id="rounds-learned")
    return {"check": check, "behind": behind, "vote": vote, "trace": trace, "learned": learned}
