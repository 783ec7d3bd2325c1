"""Requests that wait together, and how much a key may send: by a clock and a store of our own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from feedback.lanes import Lane
from feedback.product.allowance import Meter
from feedback.product.bodies import Item
from storage.errors import Overloaded, StoreError
from tests.awaiting import finish


class Slow:
    """Stands for the store: takes a turn only when it is let."""

    def __init__(self) -> None:
        self.turns: list[list[Any]] = []
        self.let = threading.Event()
        self.error: Exception | None = None

    def take(self, items: Sequence[Item]) -> list[Any]:
        self.turns.append(list(items))
        self.let.wait(5)
        if self.error:
            raise self.error
        return [f"got {item}" for item in items]


def sent(lane: Lane, *items: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(lane.send(items))


def test_what_comes_meanwhile_goes_together_and_each_gets_its_own_answers() -> None:
    async def go() -> None:
        slow = Slow()
        lane = Lane(slow.take)
        first = sent(lane, 1)
        await asyncio.sleep(0.01)
        others = [sent(lane, 2, 3), sent(lane, 4)]
        await asyncio.sleep(0)
        slow.let.set()
        assert [await first, *[await one for one in others]] == [
            ["got 1"], ["got 2", "got 3"], ["got 4"],
        ]  # fmt: skip
        assert slow.turns == [[1], [2, 3, 4]]

    finish(go())


def test_more_than_there_is_room_for_is_refused_at_once_and_never_what_waits() -> None:
    async def go() -> None:
        slow = Slow()
        lane = Lane(slow.take, room=3)
        waiting = [sent(lane, 1), sent(lane, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="3 items wait"):
            await lane.send([4])  # type: ignore[list-item]
        slow.let.set()
        assert [await one for one in waiting] == [["got 1"], ["got 2", "got 3"]]
        assert await lane.send([1, 2, 3, 4, 5])  # type: ignore[list-item]  (nothing waits: it may)

    finish(go())


def test_who_waits_too_long_is_sent_away_and_the_lane_goes_on() -> None:
    async def go() -> None:
        slow = Slow()
        lane = Lane(slow.take, patience=0.5)
        with pytest.raises(Overloaded, match="send the same again"):
            await lane.send([1])  # type: ignore[list-item]
        lane._patience = 30.0
        slow.let.set()
        assert await lane.send([2]) == ["got 2"]  # type: ignore[list-item]

    finish(go())


def test_an_error_of_the_store_reaches_everybody_of_its_turn_and_nobody_after() -> None:
    async def go() -> None:
        slow = Slow()
        lane = Lane(slow.take)
        slow.error = StoreError("full")
        slow.let.set()
        for one in [sent(lane, 1), sent(lane, 2)]:
            with pytest.raises(StoreError, match="full"):
                await one
        slow.error = None
        assert await lane.send([3]) == ["got 3"]  # type: ignore[list-item]

    finish(go())


def test_while_answers_are_made_the_next_are_taken() -> None:
    async def go() -> None:
        slow, telling, tell = Slow(), threading.Event(), threading.Event()
        slow.let.set()

        def told(stored: Sequence[str]) -> list[str]:
            if "got 1" in stored:
                telling.set()
                assert tell.wait(5)
            if "got 3" in stored:
                raise ZeroDivisionError
            return [f"told {one}" for one in stored]

        lane = Lane(slow.take, told)
        first = sent(lane, 1)
        await asyncio.to_thread(telling.wait, 5)
        assert await lane.send([2]) == ["told got 2"]  # type: ignore[list-item]
        with pytest.raises(ZeroDivisionError):
            await lane.send([3])  # type: ignore[list-item]
        tell.set()
        assert await first == ["told got 1"]
        assert slow.turns == [[1], [2], [3]]

    finish(go())


def test_a_meter_fills_again_and_is_each_names_own() -> None:
    """60 a minute is one a second: after 60 at once, two more take two seconds."""
    now = [0.0]
    meter = Meter(60, lambda: now[0])
    assert meter.take("a", 60) == 0
    assert (meter.take("a", 2), meter.take("b", 2)) == (2, 0)
    now[0] = 2.0
    assert (meter.take("a", 2), meter.take("a", 1)) == (0, 1)
    now[0] = 1000.0
    assert meter.take("a", 90) == 0  # more than a minute's: once, and paid for afterwards
    assert meter.take("a", 1) == 31
