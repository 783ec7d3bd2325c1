"""The lengths of answers before and after as SVG (pure): a line for each prompt, from one to the
other. In the manner of `curves`: markup of our own numbers and words, in the colours of the theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 380, 11, 12, 12, 10, 26  # units of the SVG's own box


def lengths_html(lengths: Sequence[tuple[int, int]]) -> str:
    """Return the picture of (tokens before, tokens after) of each prompt, the longest on top."""
    if not lengths:
        return ""
    rows = sorted(lengths, reverse=True)
    most = max(1, *(max(pair) for pair in rows))
    height = TOP + ROW * len(rows) + BOTTOM

    def across(tokens: float) -> float:
        return LEFT + tokens / most * (WIDTH - LEFT - RIGHT)

    marks = []
    for number, (before, after) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        marks.append(
            f"<line class='hone-spread' x1='{across(before):.1f}' x2='{across(after):.1f}' "
            f"y1='{y:.1f}' y2='{y:.1f}'/>"
            f"<circle class='hone-second' cx='{across(before):.1f}' cy='{y:.1f}' r='3.5'/>"
            f"<circle class='hone-first' cx='{across(after):.1f}' cy='{y:.1f}' r='3.5'/>"
        )
    foot = TOP + ROW * len(rows) + 4
    marks.append(
        f"<line class='hone-grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{foot}' y2='{foot}'/>"
    )
    for tokens, anchor in ((0, "start"), (most, "end")):
        marks.append(
            f"<text x='{across(tokens):.1f}' y='{foot + 15}' text-anchor='{anchor}'>{tokens}</text>"
        )
    told = [round(mean(side)) for side in zip(*rows, strict=True)]
    return (
        "<figure class='hone-curve'><h4>Length of each answer, in tokens</h4>"
        "<div class='hone-key'><span><i class='hone-second'></i>before, "
        f"{told[0]} on average</span><span><i class='hone-first'></i>after, {told[1]}</span></div>"
        f"<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{len(rows)} answers: "
        f"{told[0]} tokens on average before, {told[1]} after'>{''.join(marks)}</svg></figure>"
    )
