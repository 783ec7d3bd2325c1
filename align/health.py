"""What looks wrong in a run, in plain words with the figure and the remedy (pure).

The rows of metrics.jsonl so far in, concerns out. One function per concern, `CONCERNS` at the foot.
While a run goes its probe answers are what there is to see of its answers; once there is a report,
the answers of the report count instead: there are more of them. Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feedback.intervals import wilson

Row = Mapping[str, Any]

ROSE = 1.05  # Choice: held-out loss a twentieth above its lowest is more than its wobble
FEW = 8  # held-out pairs. Choice: a loss or accuracy over fewer says nothing, so no concern either
DISPLACED = -0.5  # nats per token. Choice: a run whose answers became echoes lost 0.6 (docs/log.md)
KL_FAR = 0.5  # nats per token. Choice: over 100 tokens 50 nats; the echoes above lay beyond it
WORSE = 0.1  # share of answers. Choice: of 32 answers four more; of the 8 of a probe two, see below
MORE = 2  # Choice: a single answer more that repeats or does not end is chance
LENGTHS = (0.5, 1.5)  # Choice: half as long, or half as long again, is seen by every reader
STUCK = 0.01  # Choice: after the warm-up a loss that learns has moved by more than a hundredth
OF_ANSWERS = ("displaced", "repeating", "endless")  # the concerns that say answers became worse
STUCK_STEPS = 10  # Choice: with fewer, most of the steps are warm-up


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that looks wrong."""

    name: str
    what: str  # a sentence with its figure
    remedy: str  # a sentence

    def as_json(self) -> dict[str, str]:
        return {"name": self.name, "what": self.what, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went so far."""

    steps: Sequence[Row]  # one per optimiser step
    judged: Sequence[Row]  # judgements on held-out pairs, step 0 first
    probes: Sequence[Row]  # judgements with answers, step 0 first
    expected: float | None  # the loss while nothing is learned; None where that is not known
    settings: Mapping[str, Any]

    @staticmethod
    def of(
        rows: Sequence[Row], settings: Mapping[str, Any], report: Mapping[str, Any] | None = None
    ) -> Course:
        """Return the course that rows of metrics.jsonl tell, and the report if there is one."""
        probes = [row for row in rows if row.get("probe_length") is not None]
        if report and (report.get("length") or {}).get("after") is not None:
            kl = (report.get("kl") or {}).get("per_token")
            probes = [_answers(report, "before"), {**_answers(report, "after"), "eval_kl": kl}]
        start = next((row for row in rows if row.get("step") == 0 and "expected_loss" in row), {})
        return Course(
            steps=[row for row in rows if "grad_norm" in row],
            judged=[row for row in rows if row.get("eval_loss") is not None],
            probes=probes,
            expected=start.get("expected_loss"),
            settings=settings,
        )

    @property
    def trained(self) -> Sequence[Row]:
        """The judgements after the start."""
        return [row for row in self.judged if row["step"]]

    def pairs(self) -> int:
        return int(self.judged[-1].get("eval_pairs") or 0) if self.judged else 0


def concerns_of(course: Course) -> list[Concern]:
    """Return what looks wrong, the worst first; nothing where all is well."""
    return [concern for rule in CONCERNS if (concern := rule(course)) is not None]


def not_a_number(course: Course) -> Concern | None:
    """A figure that is no number: the weights are spoiled, or nearly."""
    for row in (*course.judged[-1:], *course.probes[-1:], *course.steps[-1:]):
        for name in ("eval_loss", "eval_margin", "eval_kl", "loss", "grad_norm"):
            value = row.get(name)
            if value is not None and not math.isfinite(value):
                return Concern(
                    "not_a_number",
                    f"{name} is {value} at step {row['step']}: the weights are spoiled.",
                    f"Train again {_slower(course)}.",
                )
    return None


def below_chance(course: Course) -> Concern | None:
    """Held-out accuracy surely below a half: it learns the opposite of what it is judged by."""
    if not course.trained or course.pairs() < FEW:
        return None
    accuracy, n = course.trained[-1]["eval_accuracy"], course.pairs()
    _, high = wilson(round(accuracy * n), n)
    if high >= 0.5:
        return None
    return Concern(
        "below_chance",
        f"Held-out accuracy is {_percent(accuracy)} on {n} pairs (95 % interval up to "
        f"{_percent(high)}): below chance.",
        "Look at some pairs on Data: chosen and rejected may be swapped in what was imported, or "
        "the held-out votes follow another taste.",
    )


def overfitted(course: Course) -> Concern | None:
    """The margin grows while held-out loss rises: what is learned holds for these pairs only."""
    if len(course.trained) < 2 or course.pairs() < FEW:
        return None
    best, last = min(course.trained, key=_loss), course.trained[-1]
    grown = last["eval_margin"] > best["eval_margin"] or _margins_grew(course, best["step"])
    if not grown or not _loss(best) * ROSE < _loss(last) < math.inf:
        return None
    remedies = ["fewer epochs"] if course.settings.get("epochs", 1) > 1 else []
    if not course.settings.get("early_stop"):
        remedies.append("early_stop=2")
    remedies.append("IPO, which aims at a margin and stops there")
    return Concern(
        "overfitted",
        f"Held-out loss rose from {_loss(best):.3f} at step {best['step']} to {_loss(last):.3f} at "
        f"step {last['step']} while the margin grew: it learns these pairs by heart.",
        f"Train again with {_or(remedies)}.",
    )


def no_gain(course: Course) -> Concern | None:
    """Held-out loss was never below what it was before training."""
    if len(course.trained) < 3 or course.pairs() < FEW or course.judged[0]["step"]:
        return None
    start, best = _loss(course.judged[0]), min(map(_loss, course.trained))
    if best < start or below_chance(course) is not None:
        return None
    return Concern(
        "no_gain",
        f"Held-out loss never fell below its start ({start:.3f}; at best {best:.3f} since): what "
        "is learned does not carry over to other prompts.",
        f"Collect more votes, look at how far they agree on Quality, or train {_slower(course)}.",
    )


def displaced(course: Course) -> Concern | None:
    """The chosen answers became much less likely too.

    Source: Razin et al. 2024 (likelihood displacement, arXiv 2410.08847); the SFT term against it:
        Pang et al. 2024 (arXiv 2404.19733).
    """
    drift = course.judged[-1].get("eval_chosen_drift") if course.judged else None
    if drift is None or not drift <= DISPLACED:
        return None
    remedies = _leash(course)
    if "sft_weight" in course.settings:
        weight = course.settings["sft_weight"]
        remedies.insert(0, "an SFT term (sft_weight=0.5)" if not weight else "a larger sft_weight")
    return Concern(
        "displaced",
        f"Chosen held-out answers lost {-drift:.2f} nats per token: the model now prefers answers "
        "that nobody voted for.",
        f"Train again with {_or(remedies)}.",
    )


def far_away(course: Course) -> Concern | None:
    """The answers are far from the reference."""
    kl = course.probes[-1].get("eval_kl") if course.probes else None
    if kl is None or not KL_FAR <= kl < math.inf:
        return None
    return Concern(
        "far_away",
        f"KL to the reference is {kl:.2f} nats per token of the model's own answers: far from the "
        "model it started from.",
        f"Train again with {_or(_leash(course))}.",
    )


def repeating(course: Course) -> Concern | None:
    """More answers go round in circles."""
    return _more_of(course, "repeating", "probe_repeating", "repeat themselves")


def endless(course: Course) -> Concern | None:
    """Fewer answers come to an end by themselves."""
    return _more_of(course, "endless", "probe_unfinished", "do not come to an end")


def length_drift(course: Course) -> Concern | None:
    """Answers became much shorter or longer, which may or may not be what was voted for."""
    if len(course.probes) < 2 or not course.probes[0]["probe_length"]:
        return None
    before, after = (course.probes[i]["probe_length"] for i in (0, -1))
    low, high = LENGTHS
    if low < after / before < high:
        return None
    return Concern(
        "length_drift",
        f"Answers have {after:.0f} tokens on average, {before:.0f} before training.",
        "If that is not what people voted for: look at the length bias on Quality, and train on "
        "pairs of balanced length or with DPO per token.",
    )


def stuck(course: Course) -> Concern | None:
    """The loss stands where it stood before anything was learned."""
    if course.expected is None or len(course.steps) < STUCK_STEPS:
        return None
    late = course.steps[-(len(course.steps) // 2) :]
    mean = sum(row["loss"] for row in late) / len(late)
    if not abs(mean - course.expected) <= STUCK * abs(course.expected):
        return None
    if not any(row["grad_norm"] for row in late):
        return Concern(
            "stuck",
            f"The loss stands at {mean:.3f} and its gradient is 0: nothing reaches the adapter.",
            "That is a fault: report it with the run's log.",
        )
    rate = course.settings.get("learning_rate", 0.0)
    return Concern(
        "stuck",
        f"The loss still stands at {mean:.3f}, where it is when nothing was learned "
        f"({course.expected:.3f}).",
        f"Train again with a higher learning rate (it is {rate:g}; try {4 * rate:g}).",
    )


def _more_of(course: Course, name: str, column: str, words: str) -> Concern | None:
    if len(course.probes) < 2:
        return None
    before, after = (course.probes[i][column] for i in (0, -1))
    count = course.probes[-1]["probe_prompts"]
    if after - before < WORSE or round((after - before) * count) < MORE:
        return None
    return Concern(
        name,
        f"{_percent(after)} of {count} answers {words}, {_percent(before)} before training.",
        f"Train again with {_or([*_leash(course), 'fewer epochs'])}, or {_slower(course)}.",
    )


def _answers(report: Mapping[str, Any], when: str) -> dict[str, Any]:
    """Return the report's answers as a row of a probe."""
    return {
        "step": -1,
        "probe_prompts": report["length"]["prompts"],
        "probe_length": report["length"][when],
        "probe_repeating": report["repeating"][when],
        "probe_unfinished": report["unfinished"][when],
    }


def _margins_grew(course: Course, since: int) -> bool:
    """Say whether the margin on training pairs is larger now than around a step."""
    known = [row for row in course.steps if row.get("margin") is not None]
    before = max((row["margin"] for row in known if row["step"] <= since), default=0.0)
    return bool(known) and known[-1]["margin"] > before


def _leash(course: Course) -> list[str]:
    """Return what keeps a policy closer, as far as the method has it."""
    if beta := course.settings.get("beta"):
        return [f"a larger β (it is {beta:g}; try {3 * beta:g})"]
    return ["fewer epochs"]


def _slower(course: Course) -> str:
    rate = course.settings.get("learning_rate")
    now = f" (it is {rate:g}; try {rate / 4:g})" if rate else ""
    return f"with a lower learning rate{now}"


def _or(words: Sequence[str]) -> str:
    """Return alternatives as one phrase.

    Example:
        >>> _or(["a", "b", "b", "c"])
        'a, b or c'
    """
    once = list(dict.fromkeys(words))
    return once[0] if len(once) == 1 else f"{', '.join(once[:-1])} or {once[-1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _loss(row: Row) -> float:
    loss = float(row["eval_loss"])
    return loss if math.isfinite(loss) else math.inf


CONCERNS: Sequence[Callable[[Course], Concern | None]] = (
    not_a_number,
    below_chance,
    overfitted,
    no_gain,
    displaced,
    repeating,
    endless,
    far_away,
    length_drift,
    stuck,
)
