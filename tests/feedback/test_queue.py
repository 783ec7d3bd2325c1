"""The queue's choice, on small frames that can be checked by eye."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from feedback.queue import Candidate, candidates_of, choose, draw_kinds, mix


def candidates(*rows: tuple[str, str, int]) -> list[Candidate]:
    frame = pd.DataFrame(rows, columns=["comparison", "prompt", "votes"])
    return candidates_of(frame.assign(room=1))


def test_nothing_open_gives_nothing():
    assert choose(candidates(), 4, random.Random(0)) == []
    assert choose(candidates(("c1", "p1", 0)), 0, random.Random(0)) == []


def test_items_without_a_vote_come_before_items_with_one():
    rows = candidates(("c1", "p1", 1), ("c2", "p2", 0), ("c3", "p3", 2), ("c4", "p4", 0))
    for seed in range(20):
        chosen = choose(rows, 4, random.Random(seed))
        assert set(chosen[:2]) == {"c2", "c4"}
        assert chosen[2:] == ["c1", "c3"]


def test_one_prompt_does_not_come_twice_while_another_waits():
    """p1 has three items, p2 and p3 one each: the first three are of three prompts."""
    rows = candidates(
        ("c1", "p1", 0), ("c2", "p1", 0), ("c3", "p1", 0), ("c4", "p2", 0), ("c5", "p3", 0)
    )
    prompt_of = {row.item: row.prompt for row in rows}
    for seed in range(20):
        chosen = choose(rows, 5, random.Random(seed))
        assert {prompt_of[id] for id in chosen[:3]} == {"p1", "p2", "p3"}
        assert [prompt_of[id] for id in chosen[3:]] == ["p1", "p1"]


def test_chance_decides_among_equals():
    rows = candidates(*((f"c{i}", f"p{i}", 0) for i in range(10)))
    firsts = {choose(rows, 1, random.Random(seed))[0] for seed in range(200)}
    assert len(firsts) == 10


def test_a_numpy_generator_serves_as_well():
    assert choose(candidates(("c1", "p1", 0)), 1, np.random.default_rng(0)) == ["c1"]


def test_responses_are_chosen_by_their_own_columns():
    frame = pd.DataFrame({"response": ["r1", "r2"], "prompt": ["p1", "p2"], "ratings": [3, 0]})
    rows = candidates_of(frame.assign(room=1), item="response", done="ratings")
    chosen = choose(rows, 2, random.Random(0))
    assert chosen == ["r2", "r1"]


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("pq"), st.integers(0, 3)),
        unique_by=lambda row: row[0],
    ),
    n=st.integers(0, 10),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_the_rows_does_not_matter_and_nothing_repeats(rows, n, seed, order):
    shuffled = rows[:]
    order.shuffle(shuffled)
    chosen = choose(candidates(*rows), n, random.Random(seed))
    assert chosen == choose(candidates(*shuffled), n, random.Random(seed))
    assert len(chosen) == min(n, len(rows)) == len(set(chosen))


def test_contested_items_come_first_then_the_smallest_margin_then_the_least_judged():
    """c4 is contested; c2's margin 0.1 beats c1's 2.0; c3 and c5 have none: the less judged c5."""
    frame = pd.DataFrame(
        [
            ("c1", "p1", 0, False, 2.0),
            ("c2", "p2", 3, False, 0.1),
            ("c3", "p3", 1, False, np.nan),
            ("c4", "p4", 2, True, np.nan),
            ("c5", "p5", 0, False, np.nan),
        ],
        columns=["comparison", "prompt", "votes", "contested", "margin"],
    )
    rows = candidates_of(frame.assign(room=1))
    for seed in range(5):
        assert choose(rows, 5, random.Random(seed)) == ["c4", "c2", "c1", "c5", "c3"]


def test_kinds_are_drawn_by_their_shares():
    """Of 10,000 draws 10 % repeats and 20 % gold: within 4 standard deviations (30 and 40)."""
    drawn = Counter(draw_kinds(10_000, 0.1, 0.2, random.Random(0)))
    assert abs(drawn["repeat"] - 1000) <= 120
    assert abs(drawn["gold"] - 2000) <= 160
    assert draw_kinds(3, 0, 0, random.Random(0)) == ["plain"] * 3


def test_each_kind_takes_its_own_items_and_a_new_one_where_it_has_none_left():
    extra = {"repeat": ["r1"], "gold": ["g1"]}
    kinds = ["repeat", "plain", "repeat", "gold", "gold"]
    assert mix(kinds, ["n1", "n2", "n3"], extra) == [
        ("r1", "repeat"), ("n1", "plain"), ("n2", "plain"), ("g1", "gold"), ("n3", "plain"),
    ]  # fmt: skip


def test_with_nothing_new_nothing_comes_and_nothing_comes_twice():
    """g1 is new as well: shown as gold it is not shown again."""
    extra = {"repeat": ["r1", "r2"], "gold": ["g1"]}
    assert mix(["repeat", "gold"], [], extra) == []
    assert mix(["gold", "plain", "repeat"], ["g1", "n1"], extra) == [
        ("g1", "gold"), ("n1", "plain"),
    ]  # fmt: skip
