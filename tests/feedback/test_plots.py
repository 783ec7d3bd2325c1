"""The tables behind the quality screen's pictures, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from feedback import plots
from feedback.screens import charts


def votes(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["verdict", "chars_a", "chars_b"])


def test_lengths_are_counted_by_how_much_longer_the_longer_answer_is() -> None:
    """105 : 100 is 5 % (won), 100 : 130 is 30 % (b won: longer), 150 : 120 is 25 % (b: shorter);
    a quarter longer belongs to the class from 25 %. An empty answer has no ratio: the last class.
    Ties, skips and equal lengths count nowhere."""
    table = plots.win_rate_by_length(
        votes(
            ("a", 105, 100),
            ("b", 100, 130),
            ("b", 150, 120),
            ("a", 10, 0),
            ("tie", 9, 1),
            ("a", 7, 7),
            ("skip", 1, 2),
        )  # fmt: skip
    )
    assert table[["longer_by_from", "longer_by_to", "votes", "longer_won"]].values.tolist() == [
        [0.0, 0.1, 1, 1],
        [0.25, 0.5, 2, 1],
        [3.0, np.inf, 1, 1],
    ]
    assert table["share"].tolist() == [1.0, 0.5, 1.0]
    assert table["low"].iloc[0] == pytest.approx(0.2065, abs=1e-4)


def at(*times: str) -> pd.DataFrame:
    return pd.DataFrame({"created_at": pd.to_datetime(list(times), utc=True)})


def test_time_takes_the_smallest_step_that_gives_few_bars() -> None:
    """Two hours and a half in ten minutes are 15 steps and one: 10:00 … 12:30."""
    table = plots.votes_over_time(at("2026-01-01 10:03", "2026-01-01 12:31"), at())
    assert len(table) == 16
    assert table["votes"].tolist() == [1, *[0] * 14, 1]
    assert table["thumbs"].tolist() == [0] * 16
    days = plots.votes_over_time(at("2026-01-01 23:00"), at("2026-01-20 01:00"))
    assert [str(day)[:10] for day in days["start"]][:2] == ["2026-01-01", "2026-01-02"]
    assert len(days) == 20
    assert plots.votes_over_time(at(), at()).empty


def test_agreement_counts_couples_of_votes_on_one_comparison() -> None:
    """p: a, a, b on one comparison are three couples, one of which agrees; with a, a on another:
    2 of 4. q has one vote and a repeat of it: nobody to agree with."""
    frame = pd.DataFrame(
        [("p", "c1", "a", "plain"), ("p", "c1", "a", "plain"), ("p", "c1", "b", "plain"),
         ("p", "c2", "a", "gold"), ("p", "c2", "a", "plain"), ("p", "c2", "skip", "plain"),
         ("q", "c3", "a", "plain"), ("q", "c3", "a", "repeat")],
        columns=["prompt", "comparison", "verdict", "kind"],
    )  # fmt: skip
    for name in frame:  # names may be codes
        for table in (frame, frame.assign(**{name: frame[name].astype("category")})):
            found = plots.agreement_by_prompt(table)
            assert found.values.tolist() == [["p", 4, 2, 0.5]]
    fifths = plots.prompts_by_agreement(found)
    assert fifths["prompts"].tolist() == [0, 0, 1, 0, 0]
    assert plots.prompts_by_agreement(found.assign(share=1.0))["prompts"].tolist()[-1] == 1


def test_every_picture_says_in_words_what_it_shows_and_what_it_needs() -> None:
    none = charts.win_rate_chart(plots.win_rate_by_length(votes()))
    assert "needs votes between answers of unlike length" in none
    drawn = charts.win_rate_chart(plots.win_rate_by_length(votes(("a", 105, 100))))
    assert "0–10 %: 100% of 1" in drawn
    assert drawn.count("<circle") == 1
    over = charts.time_chart(plots.votes_over_time(at("2026-01-01 10:03"), at("2026-01-01 10:03")))
    assert "2 from 10:03 to 10:03" in over
    frame = pd.DataFrame({"share": []})
    assert "needs two people" in charts.agreement_chart(plots.prompts_by_agreement(frame))
