"""Whether the feedback is ready to train on: green, amber or red, and what is behind it (pure).

Red cannot start: there is too little for the method, or it does not fit the machine. Amber can, and
the run keeps what was said against it, with the reason that somebody gave for going on. The checks
themselves are in `feedback/checks`; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from align.enough import check_enough
from feedback.checks.result import CheckResult
from feedback.intervals import Z95
from storage.errors import BadInput

GREEN, AMBER, RED = "green", "amber", "red"
AGAINST = ("stop", "warn")  # severities that speak against a start
CLOSE = 0.05  # Choice: a share known to five points either way; a closer look changes no decision
CLOSE_SHARES = ("length_bias", "position_bias")  # whose n are votes, so that votes narrow them
ANSWERS = {  # remedy → the check whose objection it answers, unless what is left gives rise to it
    "balance_length": "length_bias",
    "cap_labeler": "imbalance",
    "weigh_labelers": "labeler_quality",
    "one_per_cluster": "duplicate_prompts",
}
# Those that do also where nobody measured what is left: the first by how it is made.
ON_ITS_WORD = ("balance_length", "weigh_labelers", "one_per_cluster")
JUDGES = 96  # held-out pairs at which an accuracy of one half is known to ten points: (z/2/0.1)²
PER_JUDGE = 10  # one prompt of ten is held out (`feedback.frozen.split_of`)


@dataclass(frozen=True, slots=True)
class Objection:
    """What speaks against a start: a check's name, or "rows" or "memory"."""

    name: str
    severity: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Clearance:
    light: str
    objections: tuple[Objection, ...]  # the heaviest first
    unknown: tuple[str, ...]  # names of checks that had nothing to measure
    answered: tuple[str, ...]  # names of checks that spoke against it before a remedy
    wanted: tuple[str, ...]  # what more votes would tell, in words
    unheard: tuple[str, ...] = ()  # names of checks that a snapshot was frozen without

    def as_json(self, because: str = "") -> dict[str, Any]:
        """Return what a run keeps of it: {"light", "objections", "unknown", "answered", "unheard",
        "because"}; a reason is kept only where something speaks against the run."""
        kept = {key: value for key, value in asdict(self).items() if key != "wanted"}
        return {**kept, "because": because if self.objections else ""}


def clearance(
    method: str,
    counts: Mapping[str, Any],
    checks: Sequence[CheckResult],
    misfit: str = "",
    unheard: Sequence[str] = (),
) -> Clearance:
    """Return the light for a method.

    Args:
        counts: rows as a snapshot's manifest has them, see `check_enough`, and what the remedies
            did: those in `ANSWERS` answer a check, and some say what it says of what is left.
        checks: what every check says of all the feedback.
        misfit: why the run cannot fit this machine, or "".
        unheard: names of checks that nobody asked when the snapshot was frozen.
    """
    hindered = []
    try:
        check_enough(method, counts)
    except BadInput as error:
        hindered.append(Objection("rows", "stop", _sentence(str(error))))
    if misfit:
        hindered.append(Objection("memory", "stop", _sentence(misfit)))
    said, answered = _said(checks, counts)
    return Clearance(
        light=RED if hindered else AMBER if said else GREEN,
        objections=(*hindered, *said),
        unknown=tuple(one.name for one in checks if one.severity == "unknown"),
        answered=answered,
        wanted=tuple([*_narrower(checks), *_more_judges(counts)]),
        unheard=tuple(unheard),
    )


def _said(
    checks: Sequence[CheckResult], counts: Mapping[str, Any]
) -> tuple[list[Objection], tuple[str, ...]]:
    """Return what the checks object to, the heaviest first, and which of them remedies answered."""
    again = {
        ANSWERS[told["name"]]: told.get("again") or {}
        for told in counts.get("remedies", ())
        if told["name"] in ANSWERS and ("again" in told or told["name"] in ON_ITS_WORD)
    }
    said = [
        Objection(one.name, one.severity, one.message, one.remedy)
        for one in checks
        if one.name not in again
    ]
    said += [
        Objection(name, told["severity"], told["message"], told["remedy"])
        for name, told in again.items()
        if told
    ]
    said = [one for one in said if one.severity in AGAINST]
    still = {one.name for one in said}
    answered = [one for one in checks if one.name in again and one.name not in still]
    return (
        sorted(said, key=lambda one: AGAINST.index(one.severity)),
        tuple(one.name for one in answered if one.severity in AGAINST),
    )


def unheard_words(seen: Clearance) -> str:
    """Return which checks a snapshot knows nothing of, and how to hear them; "" where none."""
    if not seen.unheard:
        return ""
    return (
        f"the snapshot was frozen without {', '.join(seen.unheard)}: what they would say of it is "
        "not known; train without --snapshot to hear them"
    )


def refuse_unexplained(seen: Clearance, because: str) -> None:
    """Refuse a start that checks speak against unless somebody says why it is made all the same.

    Raises:
        BadInput: the heaviest objection with its remedy, and how to go on without mending it.
    """
    if seen.light != AMBER or because.strip():
        return
    first, *rest = seen.objections
    others = f" And {len(rest)} more." if rest else ""
    raise BadInput(
        f"{first.name} speaks against training: {first.message} {first.remedy}{others} To train "
        'anyway, say why: under "Why train anyway?", or with --because "…"'
    )


def votes_to_narrow(share: float, n: int, half: float = CLOSE) -> int:
    """Return how many more votes bring a share's 95 % interval to ± half, if it stays as it is.

    Source: the normal interval, n = z²·p(1−p)/half²; a share nearer to 0 or 1 than 0.05 counts as
    0.05, for there Wilson's interval is wider.

    Example:
        >>> votes_to_narrow(0.5, 100)  # 1.96² · 0.25 / 0.0025 = 384.1
        285
    """
    p = min(max(share, 0.05), 0.95)
    return max(0, math.ceil(Z95**2 * p * (1 - p) / half**2) - n)


def _narrower(checks: Sequence[CheckResult]) -> list[str]:
    words = []
    for one in checks:
        if one.name in CLOSE_SHARES and one.value is not None:
            more = votes_to_narrow(one.value, one.n)
            if more:
                what = one.name.replace("_", " ")
                words.append(f"{more:,} more votes would tell the {what} to ±{100 * CLOSE:.0f} %")
    return words


def _more_judges(counts: Mapping[str, Any]) -> list[str]:
    """Return how many more pairs would tell whether training helped."""
    more = JUDGES - counts["pairs"]["held_out"]
    if more <= 0 or not counts["pairs"]["all"]:
        return []
    return [
        f"about {more * PER_JUDGE:,} more pairs would tell the held-out accuracy to ±10 % "
        f"({counts['pairs']['held_out']:,} pairs judge now)"
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
