"""When a run is judged, when it stops early, whose weights it publishes: on made-up losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.keeping import (
    ENOUGH,
    JUDGED_TIMES,
    best_step,
    gives_up,
    judged_steps,
    keeps_best,
    losses_of,
    published,
    thinned,
)

# Held-out losses after steps 0, 5, …, 30: lowest at 15, then three that are higher.
TURNING = [0.693, 0.65, 0.61, 0.60, 0.62, 0.61, 0.64]


def rows(losses: list[float]) -> list[dict[str, Any]]:
    return [{"step": 5 * k, "eval_loss": loss} for k, loss in enumerate(losses)]


@given(st.integers(1, 60), st.integers(1, 12))
def test_a_run_is_judged_at_every_epochs_end_and_four_times_where_it_has_four_steps(
    per_epoch: int, epochs: int
) -> None:
    steps = per_epoch * epochs
    found = judged_steps(steps, per_epoch)
    assert list(found) == sorted(set(found))
    assert {0, *range(per_epoch, steps + 1, per_epoch)} <= set(found)
    assert len(found) - 1 >= min(JUDGED_TIMES, steps)
    assert len(found) - 1 <= max(2 * JUDGED_TIMES, epochs)


def test_every_so_many_steps_if_asked_for_and_always_at_the_end() -> None:
    assert judged_steps(10, 5, every=4) == (0, 4, 8, 10)
    assert judged_steps(10, 5, every=99) == (0, 10)


@given(st.integers(1, 30), st.integers(0, 40))
def test_thinning_keeps_both_ends_and_the_count(n: int, most: int) -> None:
    judged = tuple(range(0, 5 * n + 1, 5))
    found = thinned(judged, most)
    assert (found[0], found[-1]) == (judged[0], judged[-1])
    assert set(found) <= set(judged)
    assert len(found) <= max(2, most)


def test_three_judgements_without_gain_end_the_run_and_step_15_is_kept() -> None:
    """Patience 3: after step 25 two are no better than step 15's 0.60, after step 30 three."""
    losses = losses_of(rows(TURNING))
    assert not gives_up(losses[:-1], 3)
    assert gives_up(losses, 3)
    assert not gives_up(losses, 0)
    found = published(rows(TURNING), done=30, steps=40, patience=3, kept=[5, 10, 15])
    assert (found.step, found.done, found.stopped) == (15, 30, True)
    assert found.words == (
        "stopped early at step 30 of 40: held-out loss was not below the 0.600 of step 15 in the "
        "3 judgements after it; the adapter is that of step 15"
    )


def test_the_last_step_is_published_where_the_last_is_wanted() -> None:
    found = published(rows(TURNING), done=30, steps=40, patience=3, kept=())
    assert found.step == 30
    assert found.words.endswith("; the adapter is that of step 30")
    whole = published(rows(TURNING), done=30, steps=30, patience=0, kept=())
    assert whole.words == "the adapter is that of step 30, the last"


def test_without_an_early_stop_the_best_step_is_published_with_its_loss() -> None:
    found = published(rows(TURNING), done=30, steps=30, patience=0, kept=[15])
    assert (found.step, found.stopped) == (15, False)
    assert "step 15 of 30: held-out loss was lowest there (0.600; 0.640 at the end)" in found.words


def test_kept_weights_that_are_gone_leave_the_next_best() -> None:
    """Step 15's folder was lost; of steps 10 (0.61) and 30 (0.64) the first has the lower loss."""
    assert published(rows(TURNING), done=30, steps=30, patience=0, kept=[10]).step == 10


def test_the_start_is_never_published_but_counts_for_giving_up() -> None:
    """Losses only rise from 0.69 on: two judgements are enough for a patience of two."""
    worse = rows([0.69, 0.70, 0.72])
    assert best_step(losses_of(worse)) == 5
    assert gives_up(losses_of(worse), 2)
    found = published(worse, done=10, steps=40, patience=2, kept=[5])
    assert found.step == 5
    assert "0.690 before the first step" in found.words


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    broken = rows([0.69, 0.6, math.nan, math.nan])
    assert best_step(losses_of(broken)) == 5
    assert gives_up(losses_of(broken), 2)
    assert best_step(losses_of(rows([0.69, math.nan]))) is None
    assert best_step([]) is None


@pytest.mark.parametrize(
    ("keep", "pairs", "best"),
    [
        ("best", 1, True), ("best", 0, False), ("last", 500, False),
        ("auto", ENOUGH, True), ("auto", ENOUGH - 1, False),
    ],
)  # fmt: skip
def test_auto_keeps_the_best_where_there_are_pairs_enough(
    keep: str, pairs: int, best: bool
) -> None:
    assert keeps_best(keep, pairs) is best
