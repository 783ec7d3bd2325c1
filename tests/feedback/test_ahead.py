"""One thing ahead: in order, an error in its place, no thread left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from feedback.ahead import ahead


def test_things_come_in_order_and_one_is_made_ahead() -> None:
    made: list[int] = []
    second = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    got = ahead(numbers())
    assert next(got) == 0
    assert second.wait(10)  # nobody asked for it yet
    assert [0, *got] == made == [0, 1, 2, 3]


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    got: list[int] = []
    with pytest.raises(ValueError, match="no third"):
        got.extend(ahead(broken()))
    assert got == [1, 2]


def test_whoever_stops_early_leaves_no_thread() -> None:
    got = ahead(iter(range(1_000)))
    next(got)
    got.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]
