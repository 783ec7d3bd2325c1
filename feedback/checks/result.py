"""What a check answers, and in which words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from feedback.intervals import wilson

SEVERITIES = ("ok", "warn", "stop", "unknown")


class Example(NamedTuple):
    """A text to quote; a check sees no texts, and `feedback.quality` puts in the words."""

    text: str  # Text.id
    sign: str  # of FEATURES: what it is an example of


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a check's answer: about a labeler, a source, an item."""

    subject: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    severity: str  # one of SEVERITIES
    message: str
    remedy: str
    items: tuple[str, ...] = ()  # ids of comparisons, responses, prompts or votes
    example: Example | None = None

    def as_json(self) -> dict[str, Any]:
        return _printed(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's answer: a share with its 95 % interval, what it means and what to do."""

    name: str
    value: float | None  # share in 0..1; None where there is nothing to measure
    low: float | None
    high: float | None
    n: int  # what the share is of
    severity: str  # one of SEVERITIES; "unknown" where there is nothing to measure
    message: str
    remedy: str
    items: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    example: Example | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `check --json` prints."""
        return {**_printed(self), "findings": [finding.as_json() for finding in self.findings]}

    def summary(self) -> dict[str, Any]:
        """Return what a snapshot's manifest keeps of it, under its name."""
        return {
            "value": self.value, "low": self.low, "high": self.high, "n": self.n,
            "severity": self.severity, "message": self.message, "remedy": self.remedy,
        }  # fmt: skip


def _printed(answer: Finding | CheckResult) -> dict[str, Any]:
    """Return an answer's fields; of the example its words stand in the message."""
    fields = {**asdict(answer), "items": list(answer.items)}
    del fields["example"]
    return fields


def measured(
    name: str, hits: int, n: int, severity: str, message: str, remedy: str,
    items: tuple[str, ...] = (), findings: tuple[Finding, ...] = (),
) -> CheckResult:  # fmt: skip
    """Return the answer of a check that counted a share of n, with Wilson's interval.

    Args:
        remedy: told only where the severity is not "ok".
    """
    return CheckResult(
        name, hits / n, *wilson(hits, n), n, severity, message,
        remedy if severity != "ok" else "", items, findings,
    )  # fmt: skip


def part(
    subject: str, hits: int, n: int, severity: str, message: str, remedy: str,
    items: tuple[str, ...] = (),
) -> Finding:  # fmt: skip
    """Return a finding that counted a share of n, with Wilson's interval."""
    return Finding(subject, hits / n, *wilson(hits, n), n, severity, message, remedy, items)


def nothing(name: str, message: str, remedy: str) -> CheckResult:
    """Return the answer of a check that has nothing to measure yet."""
    return CheckResult(name, None, None, None, 0, "unknown", message, remedy)


def share_text(hits: int, n: int, what: str) -> str:
    """Return a share in words: "3 of 10 items (30.0 %, 95 % interval 10.8 to 60.3 %)"."""
    low, high = wilson(hits, n)
    return (
        f"{hits:,} of {n:,} {what} ({100 * hits / n:.1f} %, 95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f} %)"
    )
