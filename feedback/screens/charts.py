"""The pictures of the quality screen as SVG (pure): tables of `feedback.plots` in, markup out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 360, 190  # units of the SVG's own box; it scales with the page
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 34
ROOM = WIDTH - LEFT - RIGHT
LABELS = 6  # Choice: names below the axis that fit beside each other


def win_rate_chart(table: pd.DataFrame) -> str:
    """Return the share that the longer answer won, by how much longer it was, with intervals."""
    if table.empty:
        return empty("Length against win rate", "needs votes between answers of unlike length")
    marks = []
    for i, row in enumerate(table.itertuples()):
        x = _middle(i, len(table))
        marks.append(_line(x, _at(row.low), x, _at(row.high), "hone-spread"))
        marks.append(f"<circle class='hone-first' cx='{x:.1f}' cy='{_at(row.share):.1f}' r='4'/>")
        marks.append(_name(x, _longer(row.longer_by_from, row.longer_by_to), f"n {row.votes:,}"))
    even = _line(LEFT, _at(0.5), WIDTH - RIGHT, _at(0.5), "hone-even")
    told = ", ".join(f"{_longer(r.longer_by_from, r.longer_by_to)}: {r.share:.0%} of {r.votes:,}"
                     for r in table.itertuples())  # fmt: skip
    return _figure("Wins of the longer answer, by how much longer", told, _grid() + even, marks)


def time_chart(table: pd.DataFrame) -> str:
    """Return votes and thumbs over time as bars."""
    if table.empty:
        return empty("Votes over time", "needs a vote")
    total = (table["votes"] + table["thumbs"]).to_numpy(dtype=int)
    names = _times(table["start"])
    told = f"{total.sum():,} from {names[0]} to {names[-1]}"
    return _figure("Votes and thumbs over time", told, _scale(total.max()), _bars(total, names))


def agreement_chart(table: pd.DataFrame) -> str:
    """Return how many prompts lie in each fifth of agreement, as bars."""
    counts = table["prompts"].to_numpy(dtype=int)
    if not counts.sum():
        return empty("Agreement by prompt", "needs two people's votes on one comparison")
    names = [f"{100 * low:.0f}–{100 * high:.0f} %"
             for low, high in zip(table["low"], table["high"], strict=True)]  # fmt: skip
    told = ", ".join(f"{name}: {n:,}" for name, n in zip(names, counts, strict=True))
    return _figure(
        "Prompts by how often two people agree on them", told, _scale(counts.max()),
        _bars(counts, names),
    )  # fmt: skip


def empty(title: str, needs: str) -> str:
    """Return the place of a picture that has nothing to show yet."""
    return f"<div class='hone-curve'><h4>{title}</h4><p class='hone-probe'>It {needs}.</p></div>"


def _figure(title: str, told: str, behind: str, marks: Sequence[str]) -> str:
    label = f"{title}: {told}"
    return (
        f"<div class='hone-curve'><h4>{title}</h4><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{label}'>{behind}{''.join(marks)}</svg></div>"
    )


def _at(share: float) -> float:
    """Return the height of a share in 0..1."""
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def _middle(i: int, n: int) -> float:
    return LEFT + (i + 0.5) * ROOM / n


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f"<line class='{kind}' x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}'/>"


def _name(x: float, *lines: str) -> str:
    """Return one or two lines below the axis."""
    return "".join(
        f"<text x='{x:.1f}' y='{HEIGHT - BOTTOM + 14 + 13 * i}' text-anchor='middle'>{line}</text>"
        for i, line in enumerate(lines)
    )


def _grid() -> str:
    """Return the lines and names of 0, 50 and 100 %."""
    return "".join(
        _line(LEFT, _at(share), WIDTH - RIGHT, _at(share), "hone-grid")
        + f"<text x='{LEFT - 6}' y='{_at(share) + 4:.1f}' text-anchor='end'>{share:.0%}</text>"
        for share in (0.0, 0.5, 1.0)
    )


def _scale(most: Any) -> str:
    """Return the lines and names of none, and of the most."""
    return "".join(
        _line(LEFT, _at(share), WIDTH - RIGHT, _at(share), "hone-grid")
        + f"<text x='{LEFT - 6}' y='{_at(share) + 4:.1f}' text-anchor='end'>{number:,}</text>"
        for share, number in ((0.0, 0), (1.0, int(most)))
    )


def _bars(counts: Any, names: Sequence[str]) -> list[str]:
    n, most, wide = len(counts), max(1, int(np.max(counts))), min(48.0, 0.8 * ROOM / len(counts))
    every = -(-n // LABELS)
    marks = []
    for i, count in enumerate(counts):
        x, top = _middle(i, n), _at(count / most)
        marks.append(
            f"<rect class='hone-first' x='{x - wide / 2:.1f}' y='{top:.1f}' width='{wide:.1f}' "
            f"height='{_at(0) - top:.1f}' rx='2'/>"
        )
        if i % every == 0:
            marks.append(_name(x, names[i]))
    return marks


def _longer(low: float, high: float) -> str:
    """Return a class of lengths: "10–25 %", "over 300 %"."""
    if np.isinf(high):
        return f"&gt;{100 * low:.0f} %"
    return f"{100 * low:.0f}–{100 * high:.0f} %"


def _times(starts: pd.Series) -> list[str]:
    """Return times as short as they can be told apart."""
    one_day = len(starts) < 2 or starts.iloc[1] - starts.iloc[0] < pd.Timedelta("1D")
    return [f"{start:%H:%M}" if one_day else f"{start:%d %b}" for start in starts]
