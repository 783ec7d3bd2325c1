"""Which method suits what was collected (pure): the chapter's decision guide, with the figure
behind each advice.

Facts in, advice out, the strongest reason first; the last one is always there. Nothing is decided
for a person: the train screen and `advise` show the advice, and a click takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SMALL = 20  # pairs. Choice: fewer show that the loop works, not that the model is better
CLEAR = 200  # pairs. Choice: a change of style shows from about here (docs/log.md)
THUMBS_LEAD = 3.0  # Choice: so many times more labels from thumbs than pairs are worth KTO
NOISY = 0.1  # share of votes against their majority. Choice: what Mitchell's note smooths by
BIASED = 0.6  # lower end of the share that the longer answer won; the check warns from here too
FELL = 0.05  # Choice: of held-out accuracy, lost between the best epoch and the last
STOPS = 0.1  # Choice: a model that ends fewer of its answers by itself never learned to answer
FULL = 0.8  # Choice: share of the free memory that the weights in 16 bits may take
STALE = 0.1  # Choice: fewer of the newest answers from an adapter are none to speak of
CHECKED = 0.5  # Choice: where most prompts can be checked, a check teaches more than votes

# What a program can tell right from wrong: sums, equations, quantities, code.
CHECKABLE = re.compile(
    r"\d\s*[-+*/×÷^=]\s*\d|\b(solve|calculate|compute|how (many|much)|what is the (sum|product|"
    r"area|square root)|prove that|unit tests?|sql query|regex|python|javascript|write a function)"
    r"\b|```",
    re.IGNORECASE,
)


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
    last_run: str = ""  # its id
    last_low: float | None = None  # lower end of its held-out accuracy
    stops: float | None = None  # share of the base's newest answers that ended by themselves
    answers: int = 0  # those answers
    fresh: float | None = None  # share of the newest answers that an adapter gave
    prompts: int = 0
    checkable: float | None = None  # share of the prompts that `can_be_checked`
    weights_gb: float | None = None  # of the base in 16 bits
    free_gb: float | None = None  # memory; None where that is not known


@dataclass(frozen=True, slots=True)
class Advice:
    method: str
    reason: str  # with its figure
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {"method": self.method, "settings": dict(self.settings), "reason": self.reason}


def advise(facts: Facts) -> list[Advice]:
    """Return what to do, the strongest reason first; never empty."""
    return [advice for rule in RULES if (advice := rule(facts)) is not None]


def can_be_checked(prompt: str) -> bool:
    """Say whether a program could tell a right answer to a prompt from a wrong one.

    Example:
        >>> can_be_checked("What is 12 * 7?"), can_be_checked("Write a poem about rain.")
        (True, False)
    """
    return CHECKABLE.search(prompt) is not None


def never_fine_tuned(facts: Facts) -> Advice | None:
    """The base does not know how to answer yet: imitation first, or with the preference."""
    if facts.stops is None or facts.answers < SMALL or facts.stops >= STOPS:
        return None
    told = (
        f"Only {facts.stops:.0%} of {facts.answers:,} answers of this model come to an end by "
        "themselves: it was hardly fine-tuned."
    )
    if facts.pairs < SMALL:
        return Advice("sft", f"{told} Imitate the good answers first; with pairs ORPO does both.")
    return Advice(
        "orpo",
        f"{told} ORPO imitates and prefers in one stage, without a reference (or imitate the "
        "chosen and edited answers with SFT first, then DPO on top of that run).",
    )


def short_of_memory(facts: Facts) -> Advice | None:
    """The base hardly fits: four bits, one row at a time."""
    if not facts.weights_gb or not facts.free_gb:
        return None
    if facts.weights_gb <= FULL * facts.free_gb:
        return None
    return Advice(
        "dpo",
        f"The weights take {facts.weights_gb:.1f} GB in 16 bits, {facts.free_gb:.1f} GB are free: "
        "DPO with QLoRA (4 bits, one row at a time) takes about a third of that.",
        {"precision": "nf4", "micro_batch": 1},
    )


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
        "token gives length alone no credit (or LD-DPO, or balance the votes first).",
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


def another_round(facts: Facts) -> Advice | None:
    """A run learned, and its own answers were never judged: iterative DPO."""
    if facts.last_low is None or facts.last_low <= 0.5 or facts.fresh is None:
        return None
    if facts.fresh >= STALE or facts.prompts < CLEAR:
        return None
    return Advice(
        facts.last_method or "dpo",
        f"{facts.last_run} sides with at least {facts.last_low:.0%} of the held-out votes, but "
        f"{facts.fresh:.0%} of the newest answers are its own. Another round (iterative DPO): "
        f"answer the {facts.prompts:,} prompts anew with its adapter, collect votes on those, and "
        "go on from it.",
    )


def by_a_check(facts: Facts) -> Advice | None:
    """Answers can be verified: what online RL is for; say where to go."""
    if facts.checkable is None or facts.prompts < SMALL or facts.checkable < CHECKED:
        return None
    return Advice(
        "dpo",
        f"{facts.checkable:.0%} of the prompts ask for something that a program can check (a "
        "number, code). For peak performance there, online RL learns from the check itself: write "
        "the pairs with `app.py export` and take GRPO or PPO (TRL's GRPOTrainer, OpenRLHF); DPO "
        "on votes remains for tone and form.",
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
    never_fine_tuned,
    short_of_memory,
    from_thumbs,
    after_a_runaway,
    against_length,
    against_noise,
    another_round,
    by_a_check,
    to_start,
)
