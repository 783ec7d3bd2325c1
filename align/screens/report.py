"""A run's report in plain words (pure): report.json in, Markdown of our own sentences out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from align.duelling import BASE, Standing
from feedback import duels
from feedback.screens.parts import minutes, percent, plain

FEW_PAIRS = 30  # Choice: below this the 95 % interval is wider than about ±0.17; say so
LONGER = 0.1  # Choice: a change of a tenth in length is worth a word


def report_words(report: Mapping[str, Any] | None, told: Collection[str] = ()) -> str:
    """Return what a run did, one line per finding; "" without a report.

    Args:
        told: names of the concerns (`align/health.py`) that are shown beside it with their figure.
    """
    if not report:
        return ""
    repeating, unfinished = report.get("repeating") or {}, report.get("unfinished") or {}
    lines = [
        published_words(report.get("published") or {}),
        accuracy_words(report.get("held_out") or {}),
        "" if "displaced" in told else drift_words(report.get("drift") or {}),
        "" if "far_away" in told else kl_words(report.get("kl") or {}),
        "" if "length_drift" in told else length_words(report.get("length") or {}),
        "" if "repeating" in told else share_words(repeating, "repeat themselves"),
        "" if "endless" in told else share_words(unfinished, "do not come to an end"),
        dropped_words(report.get("dropped") or {}),
    ]
    if report.get("seconds"):
        lines.append(f"It took {minutes(report['seconds'])}.")
    return "\n".join(f"- {line}" for line in lines if line)


def concern_words(concerns: Sequence[Mapping[str, Any]]) -> str:
    """Return what looks wrong in a run, one line each with its remedy; "" where nothing does."""
    lines = [f"- **{plain(one['what'])}** {plain(one['remedy'])}" for one in concerns]
    return "\n".join(lines)


def duel_words(held: Mapping[str, Standing]) -> str:
    """Return what people said in a run's duels (against → how it stands), a line for each that
    somebody judged."""
    return "\n".join(
        f"- **Duel against {'the base' if against == BASE else against}:** "
        f"{duels.words(stands.outcome)}"
        for against, stands in held.items()
        if stands.outcome.rate is not None
    )


def against_words(readiness: Mapping[str, Any]) -> str:
    """Return how many checks spoke against the run's start, why it was started all the same, and
    how many were not heard."""
    lines = []
    if n := len(readiness.get("objections") or ()):
        because = str(readiness.get("because") or "")
        why = f" Trained anyway: {plain(because)}" if because else " No reason was given."
        lines.append(f"- **{n} check{'s' * (n > 1)} spoke against it** when it started.{why}")
    if unheard := readiness.get("unheard"):
        names = ", ".join(map(plain, unheard))
        lines.append(f"- **Not heard:** its snapshot was frozen without {names}.")
    return "\n".join(lines)


def published_words(published: Mapping[str, Any]) -> str:
    """Return whose weights the adapter has, where it is not simply the last planned step's."""
    step, steps = published.get("step"), published.get("steps")
    if step is None or step == steps:
        return ""
    why = str(published.get("why") or "")
    return f"**Step {step:,} of {steps:,}:** {plain(why)}."


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
    """Return whether the chosen answers became likelier."""
    chosen, rejected = drift.get("chosen"), drift.get("rejected")
    if chosen is None or rejected is None:
        return ""
    words = (
        f"**Likelihood:** chosen answers {signed(chosen)} nats per token, rejected ones "
        f"{signed(rejected)}."
    )
    if chosen < 0:
        words += " That chosen answers lose a little as well is usual."
    return words


def signed(value: float) -> str:
    """Return a number with its sign, two digits after the point."""
    return f"{value:+.2f}".replace("-", "−")


def kl_words(kl: Mapping[str, Any]) -> str:
    """Return how far the model's own answers are from the reference."""
    far = kl.get("per_token")
    return "" if far is None else f"**Distance:** KL to the reference {far:.2g} nats per token."


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
    """Return which share of the answers has a fault now and had before."""
    before, after = share.get("before"), share.get("after")
    if before is None or after is None:
        return ""
    return f"**{percent(after)}** of the answers {what}, {percent(before)} before."


def dropped_words(dropped: Mapping[str, Any]) -> str:
    """Return what was left out or cut, with the reason."""
    parts = [f"{n:,} {plain(reason.replace('_', ' '))}" for reason, n in dropped.items() if n]
    return f"Left out or cut: {', '.join(parts)}." if parts else ""
