"""Which method suits what was collected (pure): the chapter's decision guide, with the figure
behind each advice.

Facts in, advice out, the strongest reason first; the last one is always there. Nothing is decided
for a person: the train screen and `advise` show the advice, and a click takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

SMALL = 20  # pairs. Choice: fewer show that the loop works, not that the model is better
CLEAR = 200  # pairs. Choice: a change of style shows from about here (docs/log.md)
THUMBS_LEAD = 3.0  # Choice: so many times more labels from thumbs than pairs are worth KTO
NOISY = 0.1  # share of votes against their majority. Choice: what Mitchell's note smooths by
BIASED = 0.6  # lower end of the share that the longer answer won; the check warns from here too
FELL = 0.05  # Choice: of held-out accuracy, lost between the best epoch and the last


@dataclass(frozen=True, slots=True)
class Epoch:
    """One judgement on held-out pairs in the course of a run."""

    accuracy: float
    margin: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known before a run."""

    pairs: int  # to train on
    labels: int
    thumbs: int  # ratings among the feedback
    longer_low: float | None = None  # lower end of the share of decided votes for the longer answer
    against: float | None = None  # share of votes against their comparison's majority
    several: int = 0  # votes on comparisons that more than one person judged
    last_method: str = ""  # of the newest finished run
    last_epochs: Sequence[Epoch] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    method: str
    reason: str  # one sentence with its figure
    settings: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {"method": self.method, "settings": dict(self.settings), "reason": self.reason}


def advise(facts: Facts) -> list[Advice]:
    """Return what to do, the strongest reason first; never empty."""
    return [advice for rule in RULES if (advice := rule(facts)) is not None]


def from_thumbs(facts: Facts) -> Advice | None:
    """Mostly thumbs, few pairs: KTO learns from single answers."""
    if facts.thumbs and facts.labels >= THUMBS_LEAD * max(1, facts.pairs):
        return Advice(
            "kto",
            f"{facts.labels:,} labels, most of them thumbs, but {facts.pairs:,} pairs: KTO learns "
            "from single answers.",
        )
    return None


def after_a_runaway(facts: Facts) -> Advice | None:
    """Margins grew while held-out accuracy fell: a loss with a target."""
    epochs = facts.last_epochs
    if facts.last_method not in ("dpo", "robust", "ld", "dpo_norm") or len(epochs) < 2:
        return None
    best, last = max(epochs, key=lambda epoch: epoch.accuracy), epochs[-1]
    if best.accuracy - last.accuracy < FELL or last.margin <= best.margin:
        return None
    return Advice(
        "ipo",
        f"In the last run held-out accuracy fell from {best.accuracy:.0%} to {last.accuracy:.0%} "
        f"while the margin grew from {best.margin:.2g} to {last.margin:.2g}: IPO has a target, "
        "where it stops.",
    )


def against_length(facts: Facts) -> Advice | None:
    """Longer answers keep winning: a loss that gives length no credit."""
    if facts.longer_low is None or facts.longer_low < BIASED:
        return None
    return Advice(
        "dpo_norm",
        f"The longer answer won at least {facts.longer_low:.0%} of the decided votes: DPO per "
        "token gives length alone no credit (or balance the votes first).",
    )


def against_noise(facts: Facts) -> Advice | None:
    """People disagree: soft labels."""
    if facts.against is None or facts.several < SMALL or facts.against < NOISY:
        return None
    smoothing = round(min(facts.against, 0.4), 2)
    return Advice(
        "dpo",
        f"{facts.against:.0%} of {facts.several:,} votes went against the majority on their "
        "comparison: conservative DPO expects as many wrong votes among the single ones.",
        {"label_smoothing": smoothing},
    )


def to_start(facts: Facts) -> Advice | None:
    """The chapter's start: DPO with β 0.1."""
    if facts.pairs < SMALL:
        why = f"{facts.pairs:,} pairs are enough to try the loop, not to judge its effect."
    elif facts.pairs < CLEAR:
        why = f"{facts.pairs:,} pairs; from about {CLEAR} on a change of style shows clearly."
    else:
        why = f"{facts.pairs:,} pairs are enough for a clear effect."
    return Advice("dpo", f"DPO with β 0.1 is the usual start. {why}", {"beta": 0.1})


RULES: Sequence[Callable[[Facts], Advice | None]] = (
    from_thumbs,
    after_a_runaway,
    against_length,
    against_noise,
    to_start,
)
