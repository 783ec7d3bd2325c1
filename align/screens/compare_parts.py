"""What the compare screen is made of: its components, its fields, how they are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import links
from align.comparing import Answer
from align.implicit import Reward
from align.screens.colours import WHY, build_legend, coloured_text
from align.sides import ENDPOINT
from feedback.screens.parts import fold
from storage.records import Message

ADDRESS = "Address and model of the other endpoint"
KEY_NOTE = (
    "If it wants a key: HONE_ENDPOINT_KEY and, for its host, HONE_ENDPOINT_HOSTS where the app was "
    "started, never on this page"
)


@dataclass(frozen=True, slots=True)
class View:
    """Every component that a handler of this screen touches."""

    empty: gr.Markdown
    desk: gr.Column
    against: gr.Dropdown
    run: gr.Dropdown
    address: gr.Textbox
    held_out: gr.Dropdown
    prompt: gr.Textbox
    before: gr.Markdown  # the earlier turns of a held-out conversation
    listed: gr.Textbox  # prompts of one's own, one a line
    back: gr.Button
    on: gr.Button
    place: gr.Markdown  # which one of the list is asked
    seed: gr.Number
    temperature: gr.Slider
    max_tokens: gr.Number
    blind: gr.Checkbox
    go: gr.Button
    again: gr.Button
    stop: gr.Button
    reveal: gr.Button
    share: gr.Button
    link: gr.Textbox
    sides: tuple[gr.Markdown, gr.Markdown]
    titles: tuple[gr.Markdown, gr.Markdown]
    turns: tuple[gr.Markdown, gr.Markdown]  # what each side said earlier in the conversation
    facts: tuple[gr.Markdown, gr.Markdown]
    coloured: tuple[gr.HighlightedText, gr.HighlightedText]
    reward: gr.Button
    legend: gr.Column
    more: gr.Row
    follow: gr.Textbox
    follow_go: gr.Button
    told: gr.State  # what stands on the screen: see `Told`
    duelled: gr.State  # the run whose duel is shown
    status: gr.Markdown

    def asked(self) -> list[Any]:
        """Return what `Asked` is made of, in its order."""
        return [
            self.against, self.run, self.address, self.held_out, self.prompt, self.seed,
            self.temperature, self.max_tokens, self.blind,
        ]  # fmt: skip

    def drawn(self) -> list[Any]:
        """Return what an answer draws."""
        return [
            self.status, self.go, self.again, self.stop, self.reveal, self.reward, self.legend,
            self.told, self.more, self.follow, self.seed, self.temperature, self.link,
            *self.sides, *self.titles, *self.turns, *self.facts, *self.coloured,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of the screen."""

    against: str | None
    run: str | None
    address: str
    prompt: str | None
    text: str
    seed: float
    temperature: float
    max_tokens: float
    blind: bool

    @property
    def names(self) -> tuple[str | None, str | None]:
        """Return the two that are chosen, an endpoint by its address."""
        first, second = (
            (self.address or ENDPOINT) if name == ENDPOINT else name
            for name in (self.against, self.run)
        )
        return (first, second)

    @property
    def sampling(self) -> dict[str, Any]:
        return {
            "seed": int(self.seed or 0),
            "temperature": self.temperature,
            "max_tokens": int(self.max_tokens or 0),
        }


@dataclass(frozen=True, slots=True)
class Told:
    """Both answers and to what; first the side before, whichever side of the screen it is on."""

    names: tuple[str | None, str | None]
    order: tuple[int, int]  # which of the two stands left and right
    blind: bool  # not revealed yet
    turns: tuple[Sequence[Message], ...]  # each side's own conversation
    answers: tuple[Answer, Answer] | None = None  # once both are complete
    rewards: tuple[Reward, ...] = ()


def build_question(desk: gr.Column, empty: gr.Markdown, status: gr.Markdown) -> dict[str, Any]:
    """Lay out what is asked: the two sides, the prompt, the settings, the buttons."""
    with gr.Row():
        choose = {"filterable": False, "scale": 1, "min_width": 220}
        against = gr.Dropdown(label="Before", elem_id="compare-against", **choose)
        run = gr.Dropdown(label="After", elem_id="compare-run", **choose)
        held_out = gr.Dropdown(
            label="Take a held-out prompt: no run ever trains on these", elem_id="compare-held-out",
            scale=2, value=None,
        )  # fmt: skip
    address = gr.Textbox(
        label=ADDRESS, placeholder="http://127.0.0.1:8000/v1#model", info=KEY_NOTE, visible=False,
        elem_id="compare-address", max_length=2_000,
    )  # fmt: skip
    before = gr.Markdown(visible=False, elem_classes="hone-turns", latex_delimiters=[])
    prompt = gr.Textbox(
        label="Prompt", lines=2, max_lines=12, elem_id="compare-prompt",
        placeholder="Ask anything, or take a held-out prompt above", max_length=100_000,
    )  # fmt: skip
    own = build_list()
    with fold("Settings", "compare-settings"), gr.Row():
        temperature = gr.Slider(
            0, links.MOST_TEMPERATURE, 0, step=0.1, label="Temperature",
            info="0 = always the likeliest word",
        )  # fmt: skip
        max_tokens = gr.Number(
            200, precision=0, minimum=1, maximum=links.MOST_TOKENS, label="At most, in tokens"
        )
        seed = gr.Number(0, precision=0, minimum=0, maximum=links.MOST_SEED, label="Seed")
    return {
        "empty": empty, "desk": desk, "status": status, "against": against, "run": run,
        "address": address, "held_out": held_out, "prompt": prompt, "before": before, "seed": seed,
        "temperature": temperature, "max_tokens": max_tokens, **own, **build_buttons(),
        "told": gr.State(None), "duelled": gr.State(None),
    }  # fmt: skip


def build_list() -> dict[str, Any]:
    """Lay out the list of one's own prompts, and how to go through it."""
    with fold("A list of your own prompts", "compare-list"):
        listed = gr.Textbox(
            label="Prompts, one a line", lines=3, max_lines=8, elem_id="compare-listed",
            placeholder="Paste them here; nothing of it is stored", max_length=1_000_000,
        )  # fmt: skip
        with gr.Row(elem_classes="hone-buttons"):
            small = {"scale": 0, "min_width": 120}
            back = gr.Button("Previous", elem_id="compare-back", **small)
            on = gr.Button("Next", elem_id="compare-on", **small)
            place = gr.Markdown("", elem_id="compare-place", elem_classes="hone-small")
    return {"listed": listed, "back": back, "on": on, "place": place}


def build_buttons() -> dict[str, Any]:
    """Lay out what can be done with the question and with its answers."""
    with gr.Row(elem_classes="hone-buttons"):
        small = {"scale": 0, "min_width": 140}
        go = gr.Button(
            "Answer twice", variant="primary", elem_id="compare-go", scale=0, min_width=180
        )
        stop = gr.Button(
            "Stop", variant="stop", visible=False, elem_id="compare-stop", scale=0, min_width=180
        )
        again = gr.Button("Try again", visible=False, elem_id="compare-again", **small)
        show = gr.Button("Reveal", visible=False, elem_id="compare-reveal", **small)
        reward = gr.Button(WHY, visible=False, elem_id="compare-reward", scale=0, min_width=200)
        share = gr.Button("Copy link", elem_id="compare-share", **small)
        blind = gr.Checkbox(
            label="Blind: hide which is which",
            elem_id="compare-blind",
            elem_classes="hone-blind",
            scale=0,
            min_width=260,
        )
    link = gr.Textbox(
        visible=False, label="A link to this prompt, these sides and settings", max_lines=2,
        interactive=False, elem_id="compare-link", buttons=["copy"],
    )  # fmt: skip
    return {
        "go": go, "again": again, "stop": stop, "blind": blind, "reveal": show, "reward": reward,
        "share": share, "link": link,
    }  # fmt: skip


def build_answers() -> dict[str, Any]:
    """Lay out the two sides, and how a conversation goes on."""
    made: dict[str, list[Any]] = {
        name: [] for name in ("sides", "titles", "turns", "facts", "coloured")
    }
    legend = build_legend("compare-legend")
    with gr.Row(equal_height=True, elem_classes="hone-sides"):
        for side in ("left", "right"):
            with gr.Column(elem_classes="hone-side", min_width=300, elem_id=f"compare-{side}"):
                made["titles"].append(gr.Markdown(f"### {('Before', 'After')[side == 'right']}"))
                text = {"latex_delimiters": [], "line_breaks": True}
                made["turns"].append(gr.Markdown(visible=False, elem_classes="hone-turns", **text))
                made["sides"].append(gr.Markdown("", elem_classes="hone-answer", **text))
                made["coloured"].append(coloured_text())
                made["facts"].append(gr.Markdown(" ", elem_classes="hone-small"))
    row = "hone-buttons hone-ask"
    with gr.Row(visible=False, elem_id="compare-more", elem_classes=row) as more:
        follow = gr.Textbox(
            label="Ask a follow-up: each side goes on from its own answer", lines=1, max_lines=6,
            elem_id="compare-follow", max_length=100_000, scale=4,
        )  # fmt: skip
        follow_go = gr.Button("Ask both", elem_id="compare-follow-go", scale=0, min_width=140)
    sides = {name: tuple(parts) for name, parts in made.items()}
    return {**sides, "legend": legend, "more": more, "follow": follow, "follow_go": follow_go}
