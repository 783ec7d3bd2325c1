"""Training curves as SVG (pure): numbers of metrics.jsonl in, markup of our own out.

Drawn by hand because the page needs a few small, quiet pictures that follow the theme, redraw every
two seconds without a flicker, and keep their size; a plotting library does none of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

Point = tuple[float, float]  # (optimiser step, value)

WIDTH, HEIGHT = 360, 170  # units of the SVG's own box; it scales with the page
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 22
MOST_POINTS = 240  # Choice: more than the eye tells apart at this width
SMOOTH_FROM = 12  # Choice: fewer points are drawn as they are
KEEP = 0.8  # share of the running mean that each new point leaves; Choice: about the last 5 points


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name in the key, its points, and how its last value is written."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Curve:
    """One picture: what it shows, which columns it reads, and the level of nothing learned."""

    title: str
    columns: Mapping[str, str]  # name in the key → column of metrics.jsonl
    even: float | None = None
    limits: tuple[float, float] | None = None


CURVES = (
    Curve("Loss", {"training": "loss", "held-out": "eval_loss"}),
    Curve("Reward margin", {"training": "margin", "held-out": "eval_margin"}, even=0.0),
    Curve(
        "Reward accuracy",
        {"training": "accuracy", "held-out": "eval_accuracy"},
        even=0.5,
        limits=(0.0, 1.0),
    ),
    Curve("Log-probability per token", {"chosen": "logp_chosen", "rejected": "logp_rejected"}),
    Curve(
        "Held-out answers: change per token",
        {"chosen": "eval_chosen_drift", "rejected": "eval_rejected_drift"},
        even=0.0,
    ),
    Curve("KL to the reference per token", {"on its own answers": "eval_kl"}, even=0.0),
)


def curves_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return all curves of a run, from the rows of its metrics.jsonl; "" before the first row."""
    if not rows:
        return ""
    drawn = "".join(curve_html(curve, series_of(curve, rows)) for curve in CURVES)
    words = probe_words(rows)
    below = f"<p class='hone-probe'>{words}</p>" if words else ""
    return f"<div class='hone-curves'>{drawn}</div>{below}"


def probe_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the newest probe answers are like, and the first ones; "" without numbers."""
    names = ("step", "probe_length", "probe_repeating", "probe_unfinished", "probe_prompts")
    probes = [row for row in rows if all(_finite(row.get(name)) for name in names)]
    if not probes:
        return ""
    first, last = probes[0], probes[-1]
    count, trained = round(last["probe_prompts"]), last["step"] > first["step"]

    def told(figure: float, before: float, what: str) -> str:
        return f"{figure:.0f} {what}" + (f" ({before:.0f} before training)" if trained else "")

    circles = (count * row["probe_repeating"] for row in (last, first))
    ends = (count * (1 - row["probe_unfinished"]) for row in (last, first))
    parts = [
        told(last["probe_length"], first["probe_length"], "tokens on average"),
        told(*circles, "repeat themselves"),
        told(*ends, "stop by themselves"),
    ]
    return f"{count} short probe answers after step {last['step']:.0f}: {', '.join(parts)}."


def series_of(curve: Curve, rows: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Return the curve's lines that have a value, without what is no finite number."""
    found = []
    for name, column in curve.columns.items():
        pairs = ((row.get("step"), row.get(column)) for row in rows)
        points = [(float(x), float(y)) for x, y in pairs if _finite(x) and _finite(y)]
        if points:
            found.append(Series(name, thinned(points)))
    return found


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most `most` + 1 of the points, evenly taken, the last always among them.

    Example:
        >>> thinned([(0, 5.0), (1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)], most=2)
        [(0, 5.0), (3, 2.0), (4, 1.0)]
    """
    every = max(1, math.ceil(len(points) / most))
    taken = list(points[::every])
    return taken if taken[-1] == points[-1] else [*taken, points[-1]]


def smoothed(points: Sequence[Point], keep: float = KEEP) -> list[Point]:
    """Return the running mean, corrected for its start as Adam corrects its moments.

    Example:
        >>> smoothed([(0, 1.0), (1, 3.0)], keep=0.5)
        [(0, 1.0), (1, 2.3333333333333335)]
    """
    mean, weight, out = 0.0, 0.0, []
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        out.append((x, mean / weight))
    return out


def curve_html(curve: Curve, lines: Sequence[Series]) -> str:
    """Return one picture with its key."""
    kinds = ("hone-first", "hone-second")
    keys = "".join(
        f"<span><i class='{kind}'></i>{line.name} <b>{nice(line.points[-1][1])}</b></span>"
        for line, kind in zip(lines, kinds, strict=False)
    )
    body = picture(curve, lines, kinds) if lines else ""
    return (
        f"<figure class='hone-curve'><h4>{curve.title}</h4><div class='hone-key'>{keys}</div>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{curve.title}'>{body}</svg>"
        "</figure>"
    )


def picture(curve: Curve, lines: Sequence[Series], kinds: Sequence[str]) -> str:
    """Return the inside of the SVG: grid, axes' numbers, the even level, the lines."""
    steps = [x for line in lines for x, _ in line.points]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    low, high = curve.limits or span([y for line in lines for _, y in line.points], curve.even)

    def at(point: Point) -> tuple[float, float]:
        x = LEFT + (point[0] - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - point[1]) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    marks = [grid(at((first, level))[1], nice(level)) for level in (low, (low + high) / 2, high)]
    if curve.even is not None and low <= curve.even <= high:
        y = at((first, curve.even))[1]
        marks.append(
            f"<line class='hone-even' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>"
        )
    marks.append(f"<text x='{LEFT}' y='{HEIGHT - 5}'>step {first:.0f}</text>")
    marks.append(f"<text x='{WIDTH - RIGHT}' y='{HEIGHT - 5}' text-anchor='end'>{last:.0f}</text>")
    for line, kind in zip(lines, kinds, strict=False):
        marks.append(line_svg(line.points, kind, at))
    return "".join(marks)


def grid(y: float, label: str) -> str:
    """Return one horizontal line with its number."""
    return (
        f"<line class='hone-grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>"
        f"<text x='{LEFT - 6}' y='{y + 4}' text-anchor='end'>{label}</text>"
    )


def line_svg(points: Sequence[Point], kind: str, at: Any) -> str:
    """Return one line: smoothed over its faint own points where there are many; a dot for one."""
    if len(points) == 1:
        x, y = at(points[0])
        return f"<circle class='{kind}' cx='{x}' cy='{y}' r='3.5'/>"
    faint = ""
    if len(points) >= SMOOTH_FROM:
        faint = f"<polyline class='{kind} hone-raw' points='{path(points, at)}'/>"
        points = smoothed(points)
    return faint + f"<polyline class='{kind}' points='{path(points, at)}'/>"


def path(points: Sequence[Point], at: Any) -> str:
    return " ".join(f"{x},{y}" for x, y in map(at, points))


def span(values: Sequence[float], even: float | None) -> tuple[float, float]:
    """Return the lowest and highest level to draw: the values with some air, the even level in.

    Example:
        >>> span([1.0, 2.0], None)
        (0.92, 2.08)
        >>> span([3.0, 3.0], 0.0)
        (-0.24, 3.24)
    """
    wanted = [*values, *([] if even is None else [even])]
    low, high = min(wanted), max(wanted)
    air = 0.08 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - air, high + air


def nice(value: float) -> str:
    """Return a number with three digits that count, without an exponent where it can be.

    Example:
        >>> nice(0.69314), nice(-123.4), nice(0.0), nice(0.00012)
        ('0.693', '-123', '0', '1.2e-04')
    """
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.001:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:.{min(digits, 3)}f}"
