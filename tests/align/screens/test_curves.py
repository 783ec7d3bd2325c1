"""The curves: what is drawn of metrics.jsonl, and that nothing of it can break the page."""

from __future__ import annotations

import math

from align.screens.curves import CURVES, curves_html, series_of, smoothed, span, thinned


def rows(n: int) -> list[dict]:
    names = ("loss", "margin", "accuracy", "logp_chosen", "logp_rejected")
    return [{"step": step, **{name: 1.0 / step for name in names}} for step in range(1, n + 1)]


def test_no_row_gives_no_picture() -> None:
    assert curves_html([]) == ""


def test_one_row_is_a_dot_in_each_of_the_four_pictures() -> None:
    """Loss, margin and accuracy have one line so far, log-probability two: five dots."""
    drawn = curves_html(rows(1))
    assert drawn.count("<figure") == len(CURVES) == 4
    assert drawn.count("<circle") == 5


def test_values_that_are_no_numbers_are_left_out() -> None:
    bad = [
        {"step": 1, "loss": math.nan},
        {"step": 2, "loss": "<script>"},
        {"step": 3, "loss": None},
        {"step": 4, "loss": 0.5},
    ]
    assert series_of(CURVES[0], bad)[0].points == [(4.0, 0.5)]
    assert "<script" not in curves_html(bad)


def test_a_long_run_is_thinned_but_keeps_its_end() -> None:
    points = [(float(step), 0.0) for step in range(10_000)]
    kept = thinned(points, most=100)
    assert len(kept) <= 101
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_the_running_mean_of_a_constant_is_the_constant() -> None:
    """Without the correction for its start the first value would be 0.2 · 3 = 0.6."""
    assert all(math.isclose(y, 3.0) for _, y in smoothed([(x, 3.0) for x in range(9)]))


def test_the_level_of_nothing_learned_is_always_in_the_picture() -> None:
    low, high = span([5.0, 6.0], even=0.0)
    assert low < 0.0 < 6.0 < high
