"""The part of the train screen that says whether the feedback is ready.

A light, what speaks against a start, what more votes would tell, and the place to say why one goes
on all the same. Nothing is decided here: see `align/clearance.py`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from align import readiness
from align.clearance import AMBER, GREEN, RED, Clearance, Objection
from feedback.screens.parts import plain
from feedback.screens.quality import name_of
from feedback.snapshots import SnapshotSettings

LIGHTS = {
    GREEN: "Ready to train",
    AMBER: "Look first – it can be trained anyway",
    RED: "Not ready",
}
REST = 10  # Choice: times of the last look to rest: a large folder is busy with it a tenth at most
LONGEST = 30.0  # seconds. Choice: a longer rest is not waited for: the next vote asks again
SHOWN = 4  # Choice: objections in full; more are named, and stand on the quality screen


@dataclass(frozen=True, slots=True)
class Seen:
    """The last look at the feedback."""

    reached: int  # the store's number of the newest event before it, see `Store.reached`
    at: float  # when it ended, seconds of a clock that never goes back
    took: float  # seconds

    @staticmethod
    def of(reached: int, started: float) -> Seen:
        """Return a look that ends now."""
        at = time.monotonic()
        return Seen(reached, at, at - started)


def due(seen: Seen | None, reached: int, now: float) -> float | None:
    """Return after how many seconds to look again: something was accepted, and the last look has
    rested by then. None where there is no reason to.

    Args:
        seen: None before the first look, which comes with the tab.
    """
    if seen is None or reached == seen.reached:
        return None
    left = max(0.0, seen.at + REST * seen.took - now)
    return left if left <= LONGEST else None


@dataclass(frozen=True, slots=True)
class Light:
    lamp: gr.HTML
    against: gr.Markdown
    wanted: gr.Markdown
    because: gr.Textbox
    seen: gr.State  # the last look: a Seen, or None

    def parts(self) -> list[Any]:
        return [self.lamp, self.against, self.wanted, self.because, self.seen]


def show_light(
    workspace: Any, light: Light, method: str, model: str, remedies: list[str]
) -> dict[Any, Any]:
    """Run the checks and show what they mean for a start with these remedies."""
    reached, started = workspace.store.reached(), time.monotonic()
    selected = SnapshotSettings(**dict.fromkeys(remedies or (), True))
    seen = readiness.cleared(workspace.store, workspace.client.pid, method, model, selected)
    return {
        light.lamp: lamp_html(seen.light),
        light.against: against_words(seen),
        light.wanted: wanted_words(seen),
        light.because: gr.Textbox(visible=True if seen.light == AMBER else "hidden"),
        light.seen: Seen.of(reached, started),
    }


def lamp_html(light: str) -> str:
    """Return the light as markup: our own words only."""
    return (
        f"<div class='hone-light hone-light-{light}' role='status'><i></i><b>{LIGHTS[light]}</b>"
        "</div>"
    )


def against_words(seen: Clearance) -> str:
    """Return what speaks against a start, as Markdown; "" where nothing does."""
    lines = [f"- {objection_words(one)}" for one in seen.objections[:SHOWN]]
    if rest := seen.objections[SHOWN:]:
        names = ", ".join(name_of(one.name).rstrip("?") for one in rest)
        lines.append(f"- And {len(rest)} more on *Quality*: {plain(names)}.")
    return "\n".join(["What speaks against it:\n", *lines]) if lines else ""


def objection_words(one: Objection) -> str:
    remedy = f" *{plain(one.remedy)}*" if one.remedy else ""
    return f"**{plain(name_of(one.name)).rstrip('?')}:** {plain(one.message)}{remedy}"


def wanted_words(seen: Clearance) -> str:
    """Return what more votes would tell; which checks have nothing to measure yet."""
    lines = [f"{words[0].upper()}{words[1:]}." for words in seen.wanted]
    if len(seen.unknown) > SHOWN:
        lines.append(f"{len(seen.unknown)} checks have nothing to measure yet.")
    elif seen.unknown:
        names = ", ".join(name_of(name).rstrip("?").lower() for name in seen.unknown)
        lines.append(f"Nothing to measure yet: {names}.")
    return " ".join(map(plain, lines))


def build_light() -> Light:
    """Lay out the light above the button."""
    lamp = gr.HTML("", js_on_load=None, elem_id="train-light", padding=False)
    against = gr.Markdown("", elem_id="train-warning", elem_classes=["hone-note", "hone-caution"])
    wanted = gr.Markdown("", elem_id="train-wanted", elem_classes=["hone-note", "hone-small"])
    because = gr.Textbox(
        "", label="Why train anyway? It is kept with the run.", visible="hidden", max_lines=2,
        placeholder="For example: only to try the loop", elem_id="train-because",
    )  # fmt: skip
    return Light(lamp, against, wanted, because, gr.State(None))
