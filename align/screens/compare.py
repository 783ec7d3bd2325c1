"""The compare screen: one prompt or conversation, two models, answering at the same time.

Two local ones come from one model in memory with one seed and the same settings; only the adapter
differs. The easy case, the newest run against its base, needs no choice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.context import Context

from align import comparing, implicit, links, sides
from align.comparing import Pair
from align.implicit import Reward
from align.screens import duel, pair
from align.screens.colours import WHY, painted, toggled
from align.screens.compare_parts import (
    Asked,
    Told,
    View,
    build_answers,
    build_question,
)
from align.sides import BASE, ENDPOINT, Sides
from feedback.screens.parts import (
    heading,
    on_news,
    on_show,
    plain,
    sheet,
    shown,
    tab_around,
    wire,
)  # fmt: skip
from storage.errors import BadInput, UserError
from storage.records import Message, Prompt

NO_RUN = (
    "**No finished run yet.** Judge some answers on *Label*, start a run on *Train*, and come "
    "back: this screen shows the model before and after it, side by side."
)
HIDDEN = ("Answer 1", "Answer 2")
LOADING = "Loading the model. The first answer after a start takes a few seconds."
THE_BASE = "The base, without any run"
ANOTHER = "Another endpoint …"
COPIED = "Copied. The link opens this screen filled in like this; nothing runs by itself."
LIVELY = 0.8  # Choice: where another try is wanted, temperature 0 would say the same again
WARMER = "At temperature 0 another try would say the same, so it is 0.8 now."
SPEAKERS = {"user": "You", "assistant": "Answer", "system": "System"}
DRAW_SECONDS = 0.08  # Choice: twelve times a second reads as a stream and keeps the browser calm
COPY = "async (text) => { await navigator.clipboard.writeText(text); return [text]; }"


def refresh(workspace: Any, view: View, against: str | None, run: str | None) -> dict[Any, Any]:
    """Fill the choices: finished runs, newest first, and held-out prompts."""
    runs = comparing.finished_runs(workspace.data)
    known = {key for _, key in runs} | {BASE, ENDPOINT}
    choices = [(THE_BASE, BASE), *runs, (ANOTHER, ENDPOINT)]
    first = runs[0][1] if runs else None
    after = run if run in known else first
    return {
        view.empty: gr.Markdown(visible=not runs),
        view.desk: gr.Column(visible=bool(runs)),
        view.against: gr.Dropdown(choices=choices, value=against if against in known else BASE),
        view.run: gr.Dropdown(choices=choices, value=after),
        view.held_out: gr.Dropdown(choices=comparing.held_out_prompts(workspace.store)),
        # what a link could not do stays said
        view.status: comparing.waiting(workspace.data) or gr.skip(),
        view.duelled: run_of(against, after),
    }


def run_of(against: str | None, run: str | None) -> str | None:
    """Return the run whose duel and pairs are shown: the one after, else the one before."""
    return next((name for name in (run, against) if name not in (None, BASE, ENDPOINT)), None)


def sides_chosen(view: View, against: str | None, run: str | None) -> dict[Any, Any]:
    """Ask for an address where an endpoint was chosen."""
    return {
        view.address: gr.Textbox(visible=ENDPOINT in (against, run)),
        view.duelled: run_of(against, run),
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
    turns = spoken(messages[:-1])
    return {
        view.prompt: messages[-1]["content"],
        view.before: gr.Markdown(turns, visible=bool(turns)),
    }


def take_next(view: View, listed: str, text: str) -> dict[Any, Any]:
    """Put the next prompt of one's own list into the box."""
    return take_listed(view, comparing.step_through(listed, text, 1))


def take_previous(view: View, listed: str, text: str) -> dict[Any, Any]:
    """Put the prompt before into the box."""
    return take_listed(view, comparing.step_through(listed, text, -1))


def take_listed(view: View, found: tuple[str, int, int]) -> dict[Any, Any]:
    """Draw a prompt of the list; what a held-out one brought with it goes."""
    text, number, count = found
    return {
        view.prompt: text,
        view.place: f"{number:,} of {count:,}",
        view.held_out: gr.Dropdown(value=None),
        view.before: gr.Markdown(visible=False),
    }


def spoken(turns: Sequence[Message]) -> str:
    """Return the turns of a conversation as Markdown."""
    return "\n\n".join(
        f"**{SPEAKERS.get(m['role'], '?')}**\n\n{shown(m['content'])}" for m in turns
    )


def answer(workspace: Any, view: View, *fields: Any) -> Iterator[dict[Any, Any]]:
    """Stream both answers to the prompt, side by side; a conversation begins anew."""
    asked = Asked(*fields)
    messages = comparing.messages_of(workspace.store, asked.prompt, asked.text)
    order = comparing.order(asked.blind, random.Random())
    told = Told(asked.names, order, asked.blind, (messages, messages))
    yield from say(workspace, view, told, asked)


def again(workspace: Any, view: View, told: Told | None, *fields: Any) -> Iterator[dict[Any, Any]]:
    """Stream both answers to the same once more, with the next seed."""
    if told is None:
        return
    asked = Asked(*fields)
    cold, warm = not asked.temperature, asked.temperature or LIVELY
    asked = replace(asked, seed=int(asked.seed or 0) + 1, temperature=warm)
    for drawn in say(workspace, view, replace(told, answers=None, rewards=()), asked):
        yield drawn | {view.seed: asked.seed, view.temperature: warm}
    if cold:
        yield {view.status: WARMER}


def follow_up(
    workspace: Any, view: View, told: Told | None, text: str, *fields: Any
) -> Iterator[dict[Any, Any]]:
    """Stream both answers to a next message, each side after what it said itself."""
    if told is None or told.answers is None:
        raise BadInput("There are no two answers yet: let both answer first.")
    turns = tuple(
        comparing.conversation(turns, one.text, text)
        for turns, one in zip(told.turns, told.answers, strict=True)
    )
    next_told = replace(told, turns=turns, answers=None, rewards=())
    for drawn in say(workspace, view, next_told, Asked(*fields)):
        yield drawn | {view.follow: ""}


def say(workspace: Any, view: View, told: Told, asked: Asked) -> Iterator[dict[Any, Any]]:
    """Stream what both sides say to their conversations."""
    chosen = sides.choose(workspace.data, *told.names)
    pairs = comparing.stream(workspace, chosen, told.turns, **asked.sampling)
    yield begun(view, told, chosen)
    started = drawn = 0.0
    pair = Pair()
    for pair in pairs:
        started = started or time.monotonic()
        if time.monotonic() - drawn >= DRAW_SECONDS:
            drawn = time.monotonic()
            yield draw(view, pair, told.order, drawn - started)
    told = replace(told, answers=pair.answers)
    yield (
        draw(view, pair, told.order, time.monotonic() - started)
        | finished(view, told)
        | {
            view.told: told,
            view.reveal: gr.Button(visible=told.blind),
            view.reward: gr.Button(WHY, visible=not told.blind and chosen.run is not None),
            view.more: gr.Row(visible=True),
        }
    )


def begun(view: View, told: Told, chosen: Sides) -> dict[Any, Any]:
    """Clear both sides, write their names, or hide them, and what they said before."""
    hidden = {"visible": False}
    drawn: dict[Any, Any] = {view.told: told, view.status: LOADING, view.more: gr.Row(**hidden)}
    drawn |= {view.stop: gr.Button(visible=True), view.link: gr.Textbox(**hidden)}
    drawn |= {one: gr.Button(**hidden) for one in (view.go, view.again, view.reveal, view.reward)}
    drawn[view.legend] = gr.Column(**hidden)
    drawn |= named(view, told, chosen)
    for side, which in enumerate(told.order):
        said = told.turns[which]
        goes_on = said is not told.turns[1 - which]  # a follow-up: each has its own history
        drawn[view.turns[side]] = gr.Markdown(spoken(said) if goes_on else "", visible=goes_on)
        drawn[view.coloured[side]] = gr.HighlightedText(**hidden)
        drawn[view.sides[side]] = gr.Markdown("…", visible=True)
        drawn[view.facts[side]] = " "
    return drawn


def named(view: View, told: Told, chosen: Sides) -> dict[Any, Any]:
    """Return the titles of both sides."""
    titles = HIDDEN if told.blind else [plain(chosen.titles[which]) for which in told.order]
    return {view.titles[side]: f"### {titles[side]}" for side in (0, 1)}


def draw(view: View, pair: Pair, order: tuple[int, int], seconds: float) -> dict[Any, Any]:
    """Return both answers so far with their lengths and times, each on its side."""
    drawn: dict[Any, Any] = {view.status: ""}
    for side, which in enumerate(order):
        one = pair.answers[which]
        drawn[view.sides[side]] = shown(one.text) or "…"
        drawn[view.facts[side]] = comparing.facts(one, seconds)
    return drawn


def finished(view: View, told: Told | None) -> dict[Any, Any]:
    """Give the buttons back."""
    return {
        view.go: gr.Button(visible=True),
        view.again: gr.Button(visible=told is not None),
        view.stop: gr.Button(visible=False),
        view.status: "",
    }


def reveal(workspace: Any, view: View, told: Told | None) -> dict[Any, Any]:
    """Say which side is which."""
    if told is None:
        return {view.reveal: gr.Button(visible=False)}
    told = replace(told, blind=False)
    chosen = sides.choose(workspace.data, *told.names)
    drawn: dict[Any, Any] = {view.reveal: gr.Button(visible=False), view.told: told}
    drawn[view.reward] = gr.Button(WHY, visible=chosen.run is not None)
    return drawn | named(view, told, chosen)


def score(workspace: Any, view: View, told: Told | None) -> dict[Any, Any]:
    """Write the implicit reward under both answers, once they are open and complete."""
    if told is None or told.answers is None or told.blind:
        return {view.told: gr.skip()}
    run = sides.choose(workspace.data, *told.names).run
    if run is None:
        return {view.told: gr.skip()}
    told = replace(told, rewards=rewards_of(workspace, run, told))
    drawn: dict[Any, Any] = {view.told: told}
    for side, which in enumerate(told.order):
        facts = comparing.facts(told.answers[which], 0.0)
        drawn[view.facts[side]] = f"{facts}\n\n{told.rewards[which].words()}"
    return drawn


def rewards_of(workspace: Any, run: str, told: Told) -> tuple[Reward, ...]:
    """Return what the run would give for both answers."""
    assert told.answers is not None
    return tuple(
        implicit.reward(workspace, run, turns, one.text, finished=bool(one.finished))
        for turns, one in zip(told.turns, told.answers, strict=True)
    )


def colour(workspace: Any, view: View, told: Told | None, label: str) -> dict[Any, Any]:
    """Colour both answers by what the run made likelier and what less, or show them plain again."""
    if told is None or told.answers is None:
        return {view.reward: gr.Button(visible=False)}
    drawn: dict[Any, Any] = {}
    if not told.rewards:  # not scored yet, or the scoring failed
        drawn = score(workspace, view, told)
        told = drawn[view.told] if isinstance(drawn[view.told], Told) else told
    on = label == WHY and bool(told.rewards)
    drawn |= {view.legend: gr.Column(visible=on), view.reward: gr.Button(toggled(on))}
    for side, which in enumerate(told.order):
        drawn[view.sides[side]] = gr.Markdown(visible=not on)
        pieces = painted(told.rewards[which]) if on else None
        drawn[view.coloured[side]] = gr.HighlightedText(pieces, visible=on)
    return drawn


def share(workspace: Any, view: View, request: gr.Request, *fields: Any) -> dict[Any, Any]:
    """Make the link to what the fields hold."""
    address = f"{request.request.url.scheme}://{request.headers['host']}/"
    made = links.link(address, question(workspace, Asked(*fields)))
    return {view.link: gr.Textbox(made, visible=True)}


def question(workspace: Any, asked: Asked) -> links.Question:
    """Return the fields as a link holds them; a held-out prompt by its id while it is unchanged."""
    messages = comparing.messages_of(workspace.store, asked.prompt, asked.text)
    if not messages:
        raise BadInput("The prompt is empty: type one, or take a held-out prompt.")
    own = asked.prompt is not None and Prompt.id_of(messages) == asked.prompt
    by = {"prompt": asked.prompt} if own else {"text": asked.text}
    before, after = asked.names
    return links.Question(before or BASE, after or "", **by, **asked.sampling)


def copied(link: str) -> str:
    """Say that the link is in the clipboard."""
    return COPIED


def open_link(workspace: Any, view: View, tabs: Any, request: gr.Request) -> dict[Any, Any]:
    """Fill the screen with what the page's address asks for; nothing runs."""
    try:
        found = links.read(dict(request.query_params))
    except UserError as error:
        return {tabs: gr.Tabs(selected="compare"), view.status: plain(str(error))}
    if found is None or found.pair:
        return {tabs: gr.skip()}
    drawn = refresh(workspace, view, found.before, found.after)
    drawn |= sides_chosen(view, found.before, found.after)
    drawn |= {tabs: gr.Tabs(selected="compare"), view.prompt: found.text}
    drawn |= {view.seed: found.seed, view.temperature: found.temperature}
    drawn |= {view.max_tokens: found.max_tokens}
    if found.prompt:
        offered = comparing.held_out_prompts(workspace.store)
        if found.prompt not in {key for _, key in offered}:
            drawn[view.status] = "The link's prompt is not among the held-out ones here."
            return drawn
        drawn[view.held_out] = gr.Dropdown(choices=offered, value=found.prompt)
        drawn |= take_prompt(workspace, view, found.prompt)
    known = {key for _, key in comparing.finished_runs(workspace.data)} | {BASE, ENDPOINT}
    gone = [name for name in (found.before, found.after) if name not in known]
    if gone:
        drawn[view.status] = f"The link names a run that is not here: {plain(gone[0])}."
    return drawn


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
        seen = pair.build(workspace, view.duelled)
        decision = duel.build(workspace, view.duelled)
    connect_choices(workspace, view, decision)
    connect_answers(workspace, view)
    connect_links(workspace, view, seen)


def connect_choices(workspace: Any, view: View, decision: duel.View) -> None:
    """Connect what fills the fields of the question, and the duel of the run that is chosen."""
    pick = [view.against, view.run]
    filled = [view.empty, view.desk, *pick, view.held_out, view.status, view.duelled]
    settled = [on_show(refresh, workspace, view, inputs=pick, outputs=filled)]
    for side in pick:  # by a person: `refresh` says itself whose duel it is
        outputs = [view.address, view.duelled]
        settled.append(wire(side.input, sides_chosen, view, inputs=pick, outputs=outputs))
    for event in settled:  # not beside it: a part that is just being shown loses what it is told
        duel.follow_run(event.then, workspace, decision, view.duelled)
    status = {"inputs": [view.status], "outputs": [view.status]}
    on_news("waiting", look_for_training, workspace, **status)
    wire(
        view.held_out.input, take_prompt, workspace, view,
        inputs=[view.held_out], outputs=[view.prompt, view.before],
    )  # fmt: skip
    for button, handler in ((view.back, take_previous), (view.on, take_next)):
        wire(
            button.click, handler, view, inputs=[view.listed, view.prompt],
            outputs=[view.prompt, view.place, view.held_out, view.before],
        )  # fmt: skip


def connect_answers(workspace: Any, view: View) -> None:
    """Connect the three ways to be answered, what follows an answer, and what ends it."""
    back, facts = [view.go, view.again, view.stop, view.status], [view.told, *view.facts]
    ways = (
        (view.go.click, answer, []),
        (view.again.click, again, [view.told]),
        (view.follow_go.click, follow_up, [view.told, view.follow]),
        (view.follow.submit, follow_up, [view.told, view.follow]),
    )
    for event, handler, first in ways:
        inputs = [*first, *view.asked()]
        going = wire(event, handler, workspace, view, inputs=inputs, outputs=view.drawn(), limit=2)
        wire(going.failure, finished, view, inputs=[view.told], outputs=back)
        wire(
            view.stop.click, finished, view,
            inputs=[view.told], outputs=back, cancels=[going], queue=False,
        )  # fmt: skip
        wire(going.success, score, workspace, view, inputs=[view.told], outputs=facts, limit=2)
    revealed = [view.reveal, view.reward, view.told, *view.titles]
    opened = wire(view.reveal.click, reveal, workspace, view, inputs=[view.told], outputs=revealed)
    wire(opened.success, score, workspace, view, inputs=[view.told], outputs=facts, limit=2)
    wire(
        view.reward.click, colour, workspace, view, inputs=[view.told, view.reward], limit=2,
        outputs=[view.reward, view.legend, view.told, *view.sides, *view.coloured, *view.facts],
    )  # fmt: skip


def connect_links(workspace: Any, view: View, seen: pair.View) -> None:
    """Connect the link that is copied, and what a link opens."""
    made = wire(view.share.click, share, workspace, view, inputs=view.asked(), outputs=[view.link])
    wire(made.success, copied, outputs=[view.status], inputs=[view.link], js=COPY)
    page, tab = Context.root_block, tab_around()
    if page is None or tab is None:
        return
    tabs = tab.parent
    fields = [
        tabs, view.empty, view.desk, view.against, view.run, view.address, view.held_out,
        view.prompt, view.before, view.seed, view.temperature, view.max_tokens, view.status,
        view.duelled,
    ]  # fmt: skip
    wire(page.load, open_link, workspace, view, tabs, outputs=fields)
    wire(page.load, pair.open_link, workspace, seen, tabs, outputs=[tabs, *seen.drawn()])
