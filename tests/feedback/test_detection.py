"""The benchmark of detection counts what the labeler table counts, and keeps its promises."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.detection import (
    MOMENT,
    RESULT,
    crowd,
    evenings,
    is_gold,
    tables,
    tie_in_crowds,
)
from feedback.checks.columns import GOLD, Columns
from feedback.faulty import FAULTS, honest
from feedback.labelers import labeler_table
from feedback.signals import flags


@pytest.mark.parametrize("fault", [honest, FAULTS["left70"], FAULTS["length"], FAULTS["fast"]])
def test_the_sums_of_an_evening_are_those_of_the_labeler_table(fault):
    """Three labelers, 120 votes: the table of sums after the last vote is the frames' own."""
    people, votes = 3, 120
    seen = evenings(fault, people, votes, 7)
    one, at = (grid.ravel() for grid in np.indices((people, votes)))
    names = [f"{o}-{seen.item[a]}" for o, a in zip(one, at, strict=True)]
    frame = pd.DataFrame(
        {
            "vote": [f"v{n}" for n in range(len(one))],
            "comparison": names,
            "labeler": one.astype(str),
            "verdict": seen.verdict.ravel(),
            "left": seen.left.ravel(),
            "kind": np.where(seen.item[at] == at, "plain", "repeat"),
            "chars_a": seen.chars[:, :, 0].ravel(),
            "chars_b": seen.chars[:, :, 1].ravel(),
            "seconds_spent": seen.seconds.ravel(),
            "created_at": MOMENT + pd.to_timedelta(at, unit="min"),
        }
    )
    gold = frame[is_gold(votes)[at]].assign(better=seen.better.ravel()[is_gold(votes)[at]])
    known = gold[["comparison", "better"]].set_axis(list(GOLD), axis=1)
    whole = labeler_table(replace(Columns.empty(), votes=frame, gold=known))
    summed = tables(seen)[-1].iloc[:people]
    for name in ("left", "longer"):
        np.testing.assert_array_equal(summed[f"{name}_n"], whole[f"{name}_n"])
        np.testing.assert_allclose(summed[f"{name}_share"], whole[f"{name}_share"])
    columns = ["fast_share", "timed_n", "gold_accuracy", "gold_n", "consistency", "repeats_n"]
    columns += ["streak_evidence"]
    np.testing.assert_allclose(summed[columns], whole[columns].astype(float))
    if fault is not honest and fault is not FAULTS["length"]:  # whose flag needs a crowd
        assert flags(summed) == whole["flags"].tolist()


def test_a_crowd_judges_every_comparison_twice_and_nobody_before_the_last_vote():
    votes = crowd(["", "random", "left"], 60, 1).votes
    assert set(votes["comparison"].value_counts()) == {2}
    assert set(votes["labeler"].value_counts()) == {60}


def test_who_always_says_tie_is_found_in_a_crowd_by_the_thirtieth_vote():
    assert set(crowd(["tie", ""], 40, 1).votes.groupby("labeler")["verdict"].nunique()) == {1, 2}
    first = tie_in_crowds(1, 3)["votes_for_50_percent"]
    assert 17 <= first <= 30


def test_the_figures_in_the_results_keep_the_promises():
    """Always left within 30 votes; guessing in 75 % after 20 gold items; honest in at most 1 %."""
    told = json.loads(RESULT.read_text("utf-8"))
    evening = told["evening_looked_at_after_every_vote"]
    share = {
        kind: {f["by_vote"]: f["share"] for f in one["found"]} for kind, one in evening.items()
    }
    assert min(one["simulations"] for one in evening.values()) >= 300
    assert evening["honest"]["simulations"] >= 2_000
    assert share["honest"][400] <= 0.01
    assert share["left"][30] == 1.0
    assert told["random_by_gold_alone"]["gold_items"] == 20
    assert told["random_by_gold_alone"]["share"] >= 0.75
    assert share["poison"][400] < 0.1
    assert "no check here finds them" in told["not_found"]
