"""What a sweep over β says: how often each one is right, how far each one moved, which to take
(pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NEAR = 0.02  # Choice: two pairs in a hundred are not worth drifting further for
ALIKE = 1.3  # Choice: distances within a third are what the order of rows makes of them


@dataclass(frozen=True, slots=True)
class Point:
    """One β of a sweep; what its run did not measure (yet) is None."""

    beta: float
    run: str
    status: str  # of the run
    accuracy: float | None = None  # share of held-out pairs, with its 95 % interval
    low: float | None = None
    high: float | None = None
    pairs: int = 0  # held out
    kl: float | None = None  # from the reference, nats per token
    kl_of: str = ""  # "answers": of the policy's own; "pairs": how far the held-out answers moved
    length_before: float | None = None  # mean tokens of greedy answers
    length_after: float | None = None
    repeating: float | None = None  # share of those answers, after
    warnings: Sequence[str] = ()

    @property
    def known(self) -> bool:
        return self.accuracy is not None and self.kl is not None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "warnings": list(self.warnings)}


def point_of(
    beta: float, run: str, status: str, report: Mapping[str, Any] | None, message: str = ""
) -> Point:
    """Return what a run's report says of its β.

    Args:
        message: the run's closing words: why it failed, or what is wrong with its answers.
    """
    if status != "done" or not report:
        return Point(beta, run, status, warnings=(message,) if status == "failed" else ())
    held_out, length = report.get("held_out") or {}, report.get("length") or {}
    kl, kl_of = distance(report)
    return Point(
        beta, run, status,
        accuracy=held_out.get("reward_accuracy"), low=held_out.get("low"),
        high=held_out.get("high"), pairs=held_out.get("pairs") or 0, kl=kl, kl_of=kl_of,
        length_before=length.get("before"), length_after=length.get("after"),
        repeating=(report.get("repeating") or {}).get("after"),
        warnings=warnings_of(report, message),
    )  # fmt: skip


def distance(report: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return how far a run moved, in nats per token, and what that was measured on.

    The KL of the policy's own answers where the report has it; else how far the log-probabilities
    of held-out answers moved, up or down, which grows with it.

    Example:
        >>> distance({"kl": {"per_token": 0.05}})
        (0.05, 'answers')
        >>> distance({"drift": {"chosen": -0.1, "rejected": -0.3}})
        (0.2, 'pairs')
    """
    own = (report.get("kl") or {}).get("per_token")
    if own is not None:
        return float(own), "answers"
    drift = report.get("drift") or {}
    moved = [abs(drift[side]) for side in ("chosen", "rejected") if drift.get(side) is not None]
    return (sum(moved) / len(moved), "pairs") if moved else (None, "")


def warnings_of(report: Mapping[str, Any], message: str) -> tuple[str, ...]:
    """Return what a run's report or its closing words complain of."""
    told = tuple(
        str(one.get("message", "")) if isinstance(one, Mapping) else str(one)
        for one in report.get("warnings") or ()
    )
    return told or ((message.removeprefix("done, but "),) if message not in ("", "done") else ())


def best_of(points: Sequence[Point]) -> Point | None:
    """Return the point to take: of those about as accurate as the best, the one that moved least.

    One whose answers became worse is taken only where there is no other; none where β made no
    difference.
    """
    if alike(points):
        return None
    known = [point for point in points if point.known]
    fine = [point for point in known if not point.warnings] or known
    if not fine:
        return None
    mark = max(_accuracy(point) for point in fine) - NEAR
    return min((p for p in fine if _accuracy(p) >= mark), key=lambda p: (_kl(p), -p.beta))


def alike(points: Sequence[Point]) -> bool:
    """Say whether β made no difference: all moved about as far, and the intervals overlap.

    AdamW takes the size of β out of the first gradients; it shows once margins have grown.
    """
    far = [_kl(point) for point in points if point.known]
    return len(far) > 1 and max(far) <= ALIKE * min(far) and bool(overlap(points))


def reading(points: Sequence[Point]) -> str:
    """Return the sweep in one line: what to take, and what every other β would change.

    Example:
        >>> print(reading([Point(0.1, "a", "done", 0.84, 0.7, 0.9, 90, 0.05),
        ...                Point(0.01, "b", "done", 0.84, 0.7, 0.9, 90, 0.1)]))
        β 0.1 reaches 84 % at 0.05 nats per token; 0.01 gains nothing and moves twice as far.
    """
    if alike(points):
        far = sorted(_kl(point) for point in points if point.known)
        return (
            f"β made no difference yet: all moved about as far ({far[0]:.2g} to {far[-1]:.2g} nats "
            "per token) and are right about as often; try more rows, or more epochs."
        )
    best = best_of(points)
    if best is None:
        return ""
    first = f"β {best.beta:g} reaches {_percent(best)} at {_kl(best):.2g} nats per token"
    others = sorted((p for p in points if p.known and p is not best), key=_kl)
    return "; ".join([first, *(beside(best, other) for other in others)]) + "."


def in_words(points: Sequence[Point]) -> str:
    """Return the reading, with the caution where the intervals overlap."""
    caution = "" if alike(points) else overlap(points)
    return " ".join(filter(None, (reading(points), caution)))


def overlap(points: Sequence[Point]) -> str:
    """Return a caution where the held-out pairs are too few to tell the values of β apart."""
    known = [p for p in points if p.known and p.low is not None and p.high is not None]
    if len(known) < 2 or max(p.low or 0.0 for p in known) > min(p.high or 1.0 for p in known):
        return ""
    return (
        f"All 95 % intervals overlap: {known[0].pairs:,} held-out pairs hardly tell these apart, "
        "so the distance is the surer guide."
    )


def beside(best: Point, other: Point) -> str:
    """Return what another β would change, as half a sentence."""
    gain = _accuracy(other) - _accuracy(best)
    points = f"{abs(100 * gain):.0f} points"
    what = "gains nothing" if abs(gain) < NEAR else f"{'gains' if gain > 0 else 'loses'} {points}"
    if _kl(other) < _kl(best):
        words = f"{what} and stays closer ({_kl(other):.2g})"
    else:
        words = f"{what} and moves {times(_kl(other), _kl(best))}"
    return f"{other.beta:g} {words}{', and its answers got worse' if other.warnings else ''}"


def times(far: float, near: float) -> str:
    """Return how many times as far one distance is as another, in words.

    Example:
        >>> times(0.1, 0.05), times(0.16, 0.05), times(0.07, 0.05), times(0.05, 0.05)
        ('twice as far', 'three times as far', '1.4 times as far', 'as far')
    """
    if near <= 0:
        return f"{far:.2g} nats per token"
    ratio = far / near
    if ratio < 1.15:
        return "as far"
    if ratio < 1.75 or 2.25 <= ratio < 2.75:
        return f"{ratio:.1f} times as far"
    words = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
    return f"{words.get(round(ratio), f'{ratio:.0f} times')} as far"


def _accuracy(point: Point) -> float:
    return point.accuracy or 0.0


def _kl(point: Point) -> float:
    return point.kl or 0.0


def _percent(point: Point) -> str:
    return f"{100 * _accuracy(point):.0f} %"
