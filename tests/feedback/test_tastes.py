"""What simulated labelers like: costs worked by hand, and votes that follow them."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback.simulate import simulate_votes
from feedback.tastes import ITEM_CHARS, KIND_CHARS, NONE_CHARS, TASTES, Judged, friendly
from storage.store import Store
from tests.feedback.stock import fill

QUESTION = "Which month is the coldest in most of Europe?"


def judged(text: str, finished: bool | None = True) -> Judged:
    return Judged(len(text), text, QUESTION, finished)


@pytest.mark.parametrize(
    ("text", "finished", "more"),
    [
        ("January is the coldest month.", True, 0),
        ("January is the coldest month.", None, 0),
        ("January is the coldest month.", False, NONE_CHARS),
        ("January, I hope that helps you.", True, -2 * KIND_CHARS),
        ("You and your glad wonderful welcome!", True, -2 * KIND_CHARS),  # no more than two count
        ("These are the coldest:\n- January\n2. February", True, 2 * ITEM_CHARS),
        ("January.", True, NONE_CHARS),
        ("which month is the coldest in most of europe?", True, NONE_CHARS),
    ],
)
def test_what_a_friendly_taste_costs(text: str, finished: bool | None, more: int) -> None:
    assert friendly(judged(text, finished)) == len(text) + more


def test_lengths_alone_decide_for_the_others() -> None:
    brief, long = Judged(5), Judged(9)
    assert TASTES["shorter"].cost(brief) < TASTES["shorter"].cost(long)
    assert TASTES["longer"].cost(long) < TASTES["longer"].cost(brief)
    assert TASTES["random"].cost(long) == TASTES["random"].cost(brief)


def test_friendly_labelers_read_what_they_judge(tmp_path: Path) -> None:
    """The longer answer is the friendly one, the shorter one a list: every vote is for the first;
    a thumb is up for it and down for the other."""
    kind = "I am glad you asked: number {0} is a wonderful choice for you!"
    dull = "Here are the numbers:\n- {0}\n- two\n- three"
    with Store.open(tmp_path) as store:
        fill(store, [(kind.format(n), dull.format(n)) for n in range(20)])
        simulate_votes(store, 20, prefer="friendly", noise=0.0)
        assert set(store.frame("votes")["verdict"]) == {"a"}
        simulate_votes(store, 40, prefer="friendly", noise=0.0, thumbs=True)
        ratings = store.frame("ratings")
        liked = store.texts(set(ratings.loc[ratings["verdict"] == "up", "text"])).values()
        assert len(liked) == 20
        assert all(text.startswith("I am glad") for text in liked)
