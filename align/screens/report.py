"""A run's report in plain words (pure): report.json in, Markdown of our own sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feedback.screens.parts import minutes, percent, plain

FEW_PAIRS = 30  # Choice: below this the 95 % interval is wider than about ±0.17; say so
LONGER = 0.1  # Choice: a change of a tenth in length is worth a word
WORSE = 0.05  # Choice: five answers of a hundred more that repeat or do not end are worth a warning
DISPLACED = -0.5  # nats per token. Choice: a run whose answers became echoes lost 0.6 (docs/log.md)


def report_words(report: Mapping[str, Any] | None) -> str:
    """Return what a run did, one line per finding; "" without a report."""
    if not report:
        return ""
    lines = [
        accuracy_words(report.get("held_out") or {}),
        drift_words(report.get("drift") or {}),
        length_words(report.get("length") or {}),
        share_words(report.get("repeating") or {}, "repeat themselves"),
        share_words(report.get("unfinished") or {}, "do not come to an end"),
        dropped_words(report.get("dropped") or {}),
    ]
    if report.get("seconds"):
        lines.append(f"It took {minutes(report['seconds'])}.")
    return "\n".join(f"- {line}" for line in lines if line)


def accuracy_words(held_out: Mapping[str, Any]) -> str:
    """Return how often the trained model sides with the people on pairs it never saw."""
    pairs, value = held_out.get("pairs") or 0, held_out.get("reward_accuracy")
    if not pairs or value is None:
        return (
            "**Held-out accuracy:** nothing to judge by yet. One prompt in ten is kept apart; "
            "with more votes some of them will be among those."
        )
    low, high = held_out.get("low"), held_out.get("high")
    words = f"**Held-out accuracy: {percent(value)}** (by chance 50 %)"
    if low is not None and high is not None:
        words += f", 95 % interval {percent(low)} to {percent(high)}"
    words += f", on {pairs:,} pairs that it never trained on."
    if pairs < FEW_PAIRS:
        words += " So few pairs say little: the interval is the thing to read."
    before, after = held_out.get("logp_accuracy_before"), held_out.get("logp_accuracy_after")
    if before is not None and after is not None:
        words += (
            f" The chosen answer is the likelier one in {percent(after)} of them, "
            f"{percent(before)} before."
        )
    return words


def drift_words(drift: Mapping[str, Any]) -> str:
    """Return whether the chosen answers became likelier, with advice where they sank deep."""
    chosen, rejected = drift.get("chosen"), drift.get("rejected")
    if chosen is None or rejected is None:
        return ""
    words = (
        f"**Likelihood:** chosen answers {signed(chosen)} nats per token, rejected ones "
        f"{signed(rejected)}."
    )
    if chosen <= DISPLACED:
        words += (
            " The chosen ones sank too: the model now prefers answers that nobody voted for. Add "
            "an SFT term (0.2 to 1), use a larger β, or train for fewer epochs."
        )
    elif chosen < 0:
        words += " That chosen answers lose a little as well is usual."
    return words


def signed(value: float) -> str:
    """Return a number with its sign, two digits after the point."""
    return f"{value:+.2f}".replace("-", "−")


def length_words(length: Mapping[str, Any]) -> str:
    """Return how the length of the answers changed."""
    before, after = length.get("before"), length.get("after")
    if before is None or after is None:
        return ""
    words = f"**Length:** {after:.0f} tokens on average, {before:.0f} before"
    change = (after - before) / before if before else 0.0
    if abs(change) >= LONGER:
        words += f" ({change:+.0%})".replace("%", " %").replace("-", "−")
    return f"{words}, over {length.get('prompts') or 0:,} held-out prompts."


def share_words(share: Mapping[str, Any], what: str) -> str:
    """Return which share of the answers has a fault now and had before, with advice if it grew."""
    before, after = share.get("before"), share.get("after")
    if before is None or after is None:
        return ""
    words = f"**{percent(after)}** of the answers {what}, {percent(before)} before."
    if after - before >= WORSE:
        words += (
            " That is a cost of this run: train for fewer epochs, with a lower learning rate or a "
            "larger β."
        )
    return words


def dropped_words(dropped: Mapping[str, Any]) -> str:
    """Return what was left out or cut, with the reason."""
    parts = [f"{n:,} {plain(reason.replace('_', ' '))}" for reason, n in dropped.items() if n]
    return f"Left out or cut: {', '.join(parts)}." if parts else ""
