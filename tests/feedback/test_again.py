"""Something is done again and again, until the block is over."""

from __future__ import annotations

import threading
from collections.abc import Callable

from feedback.again import again


def test_it_is_done_until_the_block_is_over_and_waiting_ends_with_it() -> None:
    done: list[int] = []
    thrice, told = threading.Event(), []

    def work(rest: Callable[[float], bool]) -> None:
        done.append(1)
        if len(done) >= 3:
            thrice.set()
            told.append(rest(60))

    with again("test", work, 0.001):
        assert thrice.wait(20)
    assert told == [True]  # sixty seconds ended at once
    assert not any(thread.name == "test" for thread in threading.enumerate())
