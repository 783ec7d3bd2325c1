"""The picture of a sweep as SVG (pure): held-out accuracy against distance, one point for each β.

In the manner of `curves`: markup of our own numbers and words, in the colours of the theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from align.tradeoff import Point, best_of

WIDTH, HEIGHT = 380, 230  # units of the SVG's own box; it scales with the page
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 12, 44
CHANCE = 0.5
DISTANCE = {
    "answers": "KL to the model it starts from, nats per token",
    "pairs": "how far held-out answers moved, nats per token",
    "": "distance, nats per token",
}


def frontier_html(points: Sequence[Point]) -> str:
    """Return the picture of what is known of a sweep; "" before the first run has ended."""
    known = sorted((point for point in points if point.known), key=lambda p: (_x(p), p.beta))
    if not known:
        return ""
    box = Box.around(known)
    marks = [*axes(box, DISTANCE[known[0].kl_of])]
    path = " ".join("{},{}".format(*box.at(_x(p), _y(p))) for p in known)
    marks.append(f"<polyline class='hone-raw hone-first' points='{path}'/>")
    best = best_of(points)
    marks += [mark(box, point, taken=point is best) for point in known]
    told = "; ".join(f"β {p.beta:g}: {_y(p):.0%} at {_x(p):.2g}" for p in known)
    return (
        "<figure class='hone-curve hone-frontier'><h4>Held-out accuracy against distance</h4>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{told}'>{''.join(marks)}</svg>"
        "</figure>"
    )


class Box:
    """Where values stand in the picture.

    Args:
        far: the largest distance drawn.
        low: the lowest accuracy drawn; the highest is 1.
    """

    def __init__(self, far: float, low: float) -> None:
        self.far, self.low = far, low

    @staticmethod
    def around(points: Sequence[Point]) -> Box:
        """Return a box that holds every point, its interval, and the level of chance."""
        lowest = min([CHANCE, *(p.low if p.low is not None else _y(p) for p in points)])
        return Box(nice_above(1.1 * max(_x(p) for p in points)), math.floor(lowest * 10) / 10)

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + max(x, 0.0) / self.far * (WIDTH - LEFT - RIGHT)
        down = TOP + (1 - y) / (1 - self.low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)


def axes(box: Box, distance: str) -> list[str]:
    """Return the grid with its numbers, the level of chance, and the words below."""
    marks, tenths = [], range(round(10 * box.low), 11)
    for level in [tenth / 10 for tenth in tenths[:: 1 if len(tenths) < 8 else 2]]:
        _, y = box.at(0, level)
        marks.append(
            f"<line class='hone-grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>"
            f"<text x='{LEFT - 6}' y='{y + 4}' text-anchor='end'>{100 * level:.0f} %</text>"
        )
    _, y = box.at(0, CHANCE)
    marks.append(f"<line class='hone-even' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>")
    for share in (0, 0.5, 1):
        x, foot = box.at(share * box.far, box.low)
        marks.append(
            f"<text x='{x}' y='{foot + 16}' text-anchor='middle'>{share * box.far:.3g}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    marks.append(f"<text x='{middle}' y='{HEIGHT - 6}' text-anchor='middle'>{distance}</text>")
    return marks


def mark(box: Box, point: Point, *, taken: bool) -> str:
    """Return one β: its 95 % interval, its point, its name."""
    x, y = box.at(_x(point), _y(point))
    parts = []
    if point.low is not None and point.high is not None:
        (_, top), (_, bottom) = box.at(0, point.high), box.at(0, point.low)
        parts.append(f"<line class='hone-spread' x1='{x}' x2='{x}' y1='{top}' y2='{bottom}'/>")
    if taken:
        parts.append(f"<circle class='hone-ring' cx='{x}' cy='{y}' r='9'/>")
    kind = "hone-second" if point.warnings else "hone-first"
    parts.append(f"<circle class='{kind}' cx='{x}' cy='{y}' r='5'/>")
    side, gap = ("end", -13) if x > WIDTH - RIGHT - 70 else ("start", 13)
    parts.append(
        f"<text class='hone-name' x='{x + gap}' y='{y + 4}' text-anchor='{side}'>"
        f"β {point.beta:g}</text>"
    )
    return "".join(parts)


def nice_above(value: float) -> float:
    """Return a round number that is not below the value: the end of an axis.

    Example:
        >>> nice_above(0.17), nice_above(0.0), nice_above(2.0)
        (0.2, 1.0, 2.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
    return float(f"{step * power:.3g}")


def _x(point: Point) -> float:
    return point.kl or 0.0


def _y(point: Point) -> float:
    return point.accuracy or 0.0
