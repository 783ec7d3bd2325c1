"""The rounds as cards (pure): who answered, what was collected, each run with its figures.

Markup of our own words and numbers; ids of runs are Hone's own, whatever people wrote stays out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align.duelling import BASE, Standing
from align.rounds import Ran, Round
from feedback.screens.parts import percent, track

STATES = {"better": ("ok", "Won"), "worse": ("stop", "Lost"), "": ("unknown", "Open")}


def story_html(told: Sequence[Round]) -> str:
    """Return every round as a card, the one that goes on now on top."""
    return "".join(round_html(one, now=one is told[-1]) for one in reversed(told))


def round_html(one: Round, *, now: bool) -> str:
    """Return a round as a card: its heading, what was collected, and its runs."""
    state = "<span class='hone-state'>now</span>" if now else ""
    tone = "hone-ok" if now else "hone-unknown"
    runs = "".join(ran_html(ran, one.number) for ran in reversed(one.ran))
    return (
        f"<section class='hone-card hone-round {tone}'>"
        f"<div class='hone-meter-top'><h3>Round {one.number}</h3>{state}</div>"
        f"<div class='hone-small'>{collected(one)}</div>{runs}</section>"
    )


def collected(one: Round) -> str:
    """Return who answered and what people said, in a sentence."""
    who = f"<b>{one.sampler}</b> answered" if one.sampler else "<b>The base</b> answered"
    names = {"votes": "votes", "ratings": "thumbs", "edits": "corrections"}
    said = [f"{n:,} {names[kind]}" for kind, n in one.feedback.items() if n]
    trained = "" if one.ran else " Nothing was trained yet."
    return (
        f"{who} · {one.comparisons:,} comparisons made · {', '.join(said) or 'no votes yet'}."
        f"{trained}"
    )


def ran_html(ran: Ran, number: int) -> str:
    """Return a run of a round: what it learned from, its figures, its duels, what became of it."""
    report = ran.run.report or {}
    lines = [learned(ran, number), changed(report)]
    if ran.trouble:
        lines.append("What it learned from cannot be told: its snapshot is gone or damaged.")
    parts = [
        "<div class='hone-run'>",
        f"<div class='hone-meter-top'><h4>{ran.run.run} · {ran.run.method.upper()}</h4>"
        f"<span class='hone-marks'>{''.join(marks(ran))}</span></div>",
        *(f"<div class='hone-small'>{line}</div>" for line in lines if line),
        "<div class='hone-gauges'>",
        held_out(report.get("held_out") or {}),
        *(duel(against, stands) for against, stands in ran.duels.items()),
        "</div></div>",
    ]
    return "".join(parts)


def marks(ran: Ran) -> list[str]:
    """Return what became of a run as short marks."""
    found = []
    if ran.run.status != "done":
        found.append(mark("unknown", ran.run.status))
    if ran.promoted:
        found.append(mark("ok", "promoted"))
    if n := len(ran.gone):
        found.append(mark("warn", f"stale: {n:,} of its votes do not count any more"))
    if n := len(ran.run.readiness.get("objections") or ()):
        found.append(mark("warn", f"{n} check{'s' * (n > 1)} spoke against it"))
    if n := len(ran.run.warnings):
        found.append(mark("warn", f"{n} warning{'s' * (n > 1)}"))
    return found


def mark(tone: str, words: str) -> str:
    return f"<span class='hone-{tone}'><span class='hone-state'>{words}</span></span>"


def learned(ran: Ran, number: int) -> str:
    """Return what a run learned from and where it began."""
    words = f"{ran.votes:,} votes, thumbs and corrections"
    old = {age: n for age, n in ran.ages.items() if int(age) < number}
    if old:
        told = ", ".join(f"{n:,} of round {age}" for age, n in old.items())
        new = sum(ran.ages.values()) - sum(old.values())
        words += f" · rows: {new:,} of this round, {told}"
    if ran.started_from:
        held = "the base" if ran.reference == BASE else f"{ran.started_from}"
        words += f" · went on from {ran.started_from}, reference {held}"
    return words


def changed(report: Mapping[str, Any]) -> str:
    """Return how answers changed: length and distance."""
    length, kl = report.get("length") or {}, (report.get("kl") or {}).get("per_token")
    found = []
    if length.get("before") is not None and length.get("after") is not None:
        found.append(f"answers {length['before']:.0f} → {length['after']:.0f} tokens")
    if kl is not None:
        found.append(f"KL {kl:.2g} nats per token")
    return " · ".join(found)


def held_out(found: Mapping[str, Any]) -> str:
    """Return a run's held-out accuracy on a track."""
    value = found.get("reward_accuracy")
    if value is None:
        return gauge("unknown", "Held-out accuracy", "none", "", "")
    low, high = (100 * float(found.get(end) or 0) for end in ("low", "high"))
    told = f"{low:.0f}–{high:.0f} %, {found['pairs']:,} pairs"
    drawn = track(low, 100 * value, high, f"{100 * value:.0f} per cent")
    return gauge("unknown", "Held-out accuracy", percent(value), told, drawn)


def duel(against: str, stands: Standing) -> str:
    """Return a duel's rate on a track."""
    found, name = stands.outcome, f"Duel against {'the base' if against == BASE else against}"
    if found.rate is None:
        return gauge("unknown", name, "open", f"{stands.waiting} prompts to judge", "")
    tone, word = STATES[found.decided]
    low, at, high = (100 * end for end in (found.low, found.rate, found.high))
    told = f"{word} · {found.wins}–{found.losses}, {found.ties} ties · {low:.0f}–{high:.0f} %"
    drawn = track(low, at, high, f"{at:.0f} per cent")
    return gauge(tone, name, percent(found.rate), told, drawn)


def gauge(tone: str, name: str, value: str, told: str, drawn: str) -> str:
    """Return a figure with its name, what it says, and its track."""
    return (
        f"<div class='hone-gauge hone-{tone}'><div class='hone-meter-top'>"
        f"<span class='hone-small'>{name}</span><b>{value}</b></div>{drawn}"
        f"<div class='hone-small'>{told}</div></div>"
    )
