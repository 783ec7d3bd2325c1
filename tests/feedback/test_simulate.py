"""Simulated labelers: marked, spread, and with the taste that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.checks import CHECKS
from feedback.labelers import labeler_table
from feedback.quality import gather
from feedback.simulate import simulate_votes
from feedback.turns import room
from storage.errors import BadInput
from storage.records import Assignment, Labeler, Rating, Vote, now
from storage.store import Store
from tests.feedback.stock import comparison_records, fill, prompt_records, response_records, stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def share_shorter(store: Store) -> float:
    votes = store.frame("votes")
    return float(((votes["chars_a"] < votes["chars_b"]) == (votes["verdict"] == "a")).mean())


def share_left(store: Store) -> float:
    votes = store.frame("votes")
    return float((votes["verdict"] == votes["left"]).mean())


def test_they_are_marked_as_simulated_everywhere(store):
    stock(store, 6)
    result = simulate_votes(store, 6, labelers=2)
    assert result == {"votes": 6, "labelers": 2, "comparisons": 6}
    assert [(x.id, x.kind) for x in store.rows(Labeler)] == [
        ("sim-1", "simulated"),
        ("sim-2", "simulated"),
    ]
    assert {vote.source for vote in store.rows(Vote)} == {"simulated"}
    assert {place.source for place in store.rows(Assignment)} == {"simulated"}


@pytest.mark.parametrize(("prefer", "share"), [("shorter", 1.0), ("longer", 0.0)])
def test_without_noise_the_taste_decides_alone(store, prefer, share):
    stock(store, 60)
    simulate_votes(store, 60, prefer=prefer, noise=0.0)
    assert share_shorter(store) == share
    assert 0.25 < share_left(store) < 0.75


def test_noise_turns_its_share_of_the_votes_around(store):
    """300 votes, noise 0.2: 240 ± 4 * sqrt(300 * 0.2 * 0.8) = 240 ± 28 go to the shorter."""
    stock(store, 300)
    simulate_votes(store, 300, noise=0.2)
    assert abs(share_shorter(store) * 300 - 240) <= 28


def test_a_left_bias_of_one_always_takes_the_left(store):
    stock(store, 30)
    simulate_votes(store, 30, left_bias=1.0)
    assert share_left(store) == 1.0


def test_a_random_taste_is_a_coin(store):
    """200 coins: 100 ± 4 * sqrt(50) = 100 ± 28."""
    stock(store, 200)
    simulate_votes(store, 200, prefer="random")
    assert abs(share_shorter(store) * 200 - 100) <= 28


def test_every_comparison_gets_a_vote_before_any_gets_two(store):
    """10 comparisons, 4 votes, then 9: 6 unvoted ones first, then 3 get their second."""
    stock(store, 10)
    simulate_votes(store, 4, labelers=2)
    assert set(store.frame("comparisons")["votes"]) == {0, 1}
    simulate_votes(store, 9, labelers=2, seed=1)
    assert Counter(store.frame("comparisons")["votes"]) == {1: 7, 2: 3}


def test_nobody_judges_the_same_comparison_twice(store):
    stock(store, 5)
    simulate_votes(store, 15, labelers=3)
    given = Counter((place.labeler, place.comparison) for place in store.rows(Assignment))
    assert len(given) == 15
    assert room(store, labelers=3) == 0


def test_too_little_to_judge_is_said_with_the_number(store):
    with pytest.raises(BadInput, match="0 comparisons to judge, room for 0 votes"):
        simulate_votes(store, 1)
    stock(store, 3)
    assert room(store) == 3
    with pytest.raises(BadInput, match="3 comparisons to judge, room for 3 votes. Make more with"):
        simulate_votes(store, 4)
    assert store.rows(Vote) == []


def test_what_cannot_be_judged_is_left_out(store):
    fill(store, [("", "an answer"), ("same", "same"), ("one", "other")])
    assert room(store) == 1


def test_the_same_seed_gives_the_same_verdicts(tmp_path):
    kept = []
    for name in ("one", "two"):
        with Store.open(tmp_path / name) as store:
            stock(store, 40)
            simulate_votes(store, 20, seed=5)
            simulate_votes(store, 20, seed=5)
            votes = store.frame("votes").sort_values("comparison")
            kept.append(
                list(zip(votes["comparison"], votes["verdict"], votes["vote"], strict=True))
            )
    assert kept[0] == kept[1]
    assert len({vote for *_, vote in kept[0]}) == 40


def test_thumbs_go_up_for_what_is_shorter_than_the_median_of_its_prompt(store):
    """Two answers: their median is the mean, so the shorter is up, the longer down. One answer of
    its own: compared with the median of all, which is 7: (3 + 11) / 2 of 1, 3, 11, 20."""
    fill(store, [("x" * 11, "x" * 20)])
    prompt, records = prompt_records(1)
    alone, more = response_records(prompt, "x" * 3, "m")
    other, others = prompt_records(2)
    third, thirds = response_records(other, "x", "m")
    store.add([*records, *more, *others, *thirds])
    result = simulate_votes(store, 4, thumbs=True, noise=0.0)
    assert result == {"votes": 4, "labelers": 1, "comparisons": 4}
    ratings = store.frame("ratings").set_index("chars")["verdict"]
    assert ratings.to_dict() == {1: "up", 3: "up", 11: "up", 20: "down"}
    assert {rating.source for rating in store.rows(Rating)} == {"simulated"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 0}, "votes is 0: use a whole number from 1"),
        ({"n": 2.5}, "votes is 2.5"),
        ({"labelers": 0}, "labelers is 0"),
        ({"labelers": 10**9}, "labelers is 1000000000"),
        ({"prefer": "nicer"}, "prefer is 'nicer': use one of shorter, longer, friendly, random"),
        ({"noise": 1.5}, "noise is 1.5: use a share from 0 to 1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"left_bias": -1}, "left_bias is -1"),
        ({"left_bias": 0.5, "thumbs": True}, "a thumb has no sides"),
        (
            {"faulty": ["lazy"]},
            "faulty is 'lazy': use one of noisy, left, left70, tie, random",
        ),
        ({"faulty": ["left"], "thumbs": True}, "faulty is 'left', but a faulty labeler votes"),
    ],
)
def test_settings_out_of_range_are_named(store, change, says):
    settings = {"n": 1} | change
    with pytest.raises(BadInput, match=says):
        simulate_votes(store, settings.pop("n"), **settings)


def test_faulty_labelers_are_named_after_their_fault_and_the_checks_find_them(store):
    """Seven people, 60 votes each; always left, always tie and copying are found by these."""
    stock(store, 120)
    result = simulate_votes(store, 420, labelers=4, faulty=["left", "copying", "tie"])
    assert result["labelers"] == 7
    columns = gather(store)
    table = labeler_table(columns).set_index("labeler")
    assert table.loc["sim-left-1", "left_share"] == 1.0
    assert "left" in table.loc["sim-left-1", "flags"]
    assert "copying" in table.loc["sim-copying-1", "flags"]
    assert table.loc["sim-tie-1", "ties_share"] == 1.0
    assert "same" in table.loc["sim-tie-1", "flags"]
    honest = table.loc[[f"sim-{n}" for n in range(1, 5)]]
    assert set(honest["flags"]) == {()}
    subjects = {f.subject for f in CHECKS["labeler_quality"](columns).findings}
    assert subjects == {f"labeler sim-{fault}-1" for fault in ("left", "copying", "tie")}


def test_they_vote_at_the_pace_of_people_and_never_in_the_future(store):
    stock(store, 20)
    simulate_votes(store, 40, labelers=2, faulty=["fast"])
    votes = store.frame("votes")
    assert votes["created_at"].max() <= now()
    for labeler, own in votes.groupby("labeler"):
        gaps = own["created_at"].diff().dt.total_seconds().dropna()
        assert (gaps >= own["seconds_spent"].iloc[1:].to_numpy() - 0.1).all(), labeler
    assert (votes.loc[votes["labeler"] == "sim-fast-1", "seconds_spent"] < 1).all()


def test_progress_is_told(store):
    comparison, records = comparison_records(0, "one", "other")
    store.add(records)
    said: list[str] = []
    simulate_votes(store, 1, progress=said.append)
    assert said == ["1 of 1 simulated votes"]
