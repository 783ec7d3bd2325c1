"""Slow iterators read at once: order of arrival, errors, a reader that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

import pytest

from align.interleaving import merged

Stopped = Callable[[], bool]


def test_what_comes_first_is_given_first() -> None:
    """The slow one speaks only after the quick one was read."""
    read = threading.Event()

    def slow(stopped: Stopped) -> Generator[str, None, None]:
        assert read.wait(10)
        yield "slow"

    def quick(stopped: Stopped) -> Generator[str, None, None]:
        yield "quick"

    pieces = merged([slow, quick])
    assert next(pieces) == "quick"
    read.set()
    assert list(pieces) == ["slow"]


def test_an_error_is_raised_and_stops_the_other() -> None:
    ended = threading.Event()

    def endless(stopped: Stopped) -> Generator[int, None, None]:
        try:
            while not stopped():
                yield 1
        finally:
            ended.set()

    def broken(stopped: Stopped) -> Generator[int, None, None]:
        yield 2
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(merged([endless, broken]))
    assert ended.wait(10)


def test_a_reader_that_goes_away_closes_the_sources() -> None:
    closed = threading.Event()

    def endless(stopped: Stopped) -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    pieces = merged([endless])
    assert next(pieces) == 1
    pieces.close()
    assert closed.wait(10)
