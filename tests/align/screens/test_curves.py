"""The curves: what is drawn of metrics.jsonl, and that nothing of it can break the page."""

from __future__ import annotations

import math

from align.screens.curves import (
    CURVES,
    curves_html,
    probe_words,
    series_of,
    smoothed,
    span,
    thinned,
)


def rows(n: int) -> list[dict]:
    names = ("loss", "margin", "accuracy", "logp_chosen", "logp_rejected")
    return [{"step": step, **{name: 1.0 / step for name in names}} for step in range(1, n + 1)]


def test_no_row_gives_no_picture() -> None:
    assert curves_html([]) == ""


def test_one_row_is_a_dot_in_each_picture_that_has_a_value() -> None:
    """Loss, margin and accuracy have one line so far, log-probability two: five dots. What a
    judgement brings is not there yet."""
    drawn = curves_html(rows(1))
    assert drawn.count("<figure") == len(CURVES) == 6
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


def probe(step: int, length: float, repeating: float, unfinished: float) -> dict:
    return {
        "step": step, "probe_prompts": 8, "probe_length": length, "probe_repeating": repeating,
        "probe_unfinished": unfinished, "eval_kl": 0.1,
    }  # fmt: skip


def test_probe_answers_are_told_in_counts_with_those_before_training() -> None:
    """Of eight: a quarter repeats = 2; an eighth does not end = 7 do, half before = 4."""
    start = probe(0, 60.2, 0.0, 0.5)
    assert probe_words([start]) == (
        "8 short probe answers after step 0: 60 tokens on average, 0 repeat themselves, "
        "4 stop by themselves."
    )
    later = probe_words([start, *rows(4), probe(4, 31.0, 0.25, 0.125)])
    assert "after step 4: 31 tokens on average (60 before training)" in later
    assert "2 repeat themselves (0 before training), 7 stop by themselves (4 before" in later


def test_probes_that_are_no_numbers_are_not_told() -> None:
    assert probe_words([{**probe(0, 1.0, 0.0, 0.0), "probe_length": "<script>"}]) == ""
    assert "<script" not in curves_html([{**probe(0, 1.0, 0.0, 0.0), "step": "<script>"}])
