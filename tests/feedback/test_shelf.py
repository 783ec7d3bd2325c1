"""Open items of a large stock are looked up once for everybody, and each is given as often as it
may be."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from feedback.queue import Candidate
from feedback.shelf import FRESH_SECONDS, Shelf

MOST = 4
NEVER = (True, True, True, math.inf, 0)


class Store:
    """Items with room; counts the looks, and what each labeler had."""

    def __init__(self, room: dict[str, int]) -> None:
        self.room, self.looks, self.at, self.takes = room, [], 0.0, 0.0
        self.had: dict[str, set[str]] = {}
        self.shelf = Shelf(lambda: self.at)

    def ask(self, labeler: str, n: int = 1) -> list[str]:
        def look(who: str) -> list[Candidate]:
            self.looks.append(who)
            left = [(id, n) for id, n in self.room.items() if n and id not in self.had.get(who, ())]
            self.at += self.takes
            return [Candidate(id, "p", NEVER, n) for id, n in left[:MOST]]

        mine = self.had.setdefault(labeler, set())
        found = self.shelf.items("pairs", look, labeler, mine, n=n, most=MOST)
        given = [one.item for one in found][:n]
        self.shelf.give("pairs", given)
        mine |= set(given)
        for id in given:
            self.room[id] -= 1
        return given


def test_who_asks_soon_after_others_is_given_from_one_look() -> None:
    store = Store({f"c{i}": 1 for i in range(9)})
    given = [store.ask(name)[0] for name in ("ada", "bob", "cid")]
    store.at = FRESH_SECONDS / 2
    given += store.ask("dan")
    assert store.looks == ["ada", ""]
    assert given == ["c0", "c1", "c2", "c3"]
    store.at = FRESH_SECONDS
    assert store.ask("eve") == ["c4"]
    assert store.looks == ["ada", "", ""]


def test_what_is_given_out_is_looked_up_anew() -> None:
    store = Store({f"c{i}": 1 for i in range(9)})
    given = [store.ask(name)[0] for name in "abcdefghi"]
    assert sorted(given) == sorted(store.had[name].pop() for name in "abcdefghi")
    assert max(Counter(given).values()) == 1


def test_each_is_given_as_often_as_it_may_be_and_to_nobody_twice() -> None:
    store = Store({f"c{i}": 2 for i in range(9)})
    given = Counter(id for name in "abc" for _ in range(3) for id in store.ask(name))
    assert max(given.values()) == 2
    assert all(len(had) == 3 for had in store.had.values())


@pytest.mark.parametrize("items", [0, 1, MOST - 1])
def test_a_small_stock_is_looked_through_each_time(items: int) -> None:
    """A freed item shows at once."""
    store = Store({f"c{i}": 1 for i in range(items)})
    for _ in range(3):
        store.ask("ada")
    assert store.looks == ["ada"] * 3


def test_who_asks_seldom_costs_one_look() -> None:
    store = Store({f"c{i}": 1 for i in range(30)})
    for _ in range(5):
        store.ask("ada")
        store.at += FRESH_SECONDS
    assert store.looks == ["ada"] * 5


def test_looking_takes_a_tenth_of_the_time_at_most() -> None:
    """Where a look takes half a second, what it finds serves for five."""
    store = Store({f"c{i}": 1 for i in range(99)})
    store.takes = 0.5
    for second in range(10):
        store.at = max(store.at, float(second))
        store.ask(f"labeler {second}")
    looks = len(store.looks)
    store.takes = 0.0
    assert store.looks[:2] == ["labeler 0", ""]
    assert looks <= 5


def test_a_stock_that_is_given_out_is_filled_for_everybody() -> None:
    store = Store({f"c{i}": 1 for i in range(30)})
    given = [store.ask(f"labeler {n}")[0] for n in range(12)]
    assert len(set(given)) == 12
    assert store.looks == ["labeler 0", "", "", ""]
