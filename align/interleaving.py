"""Read several slow iterators at once: what each gives comes as soon as it is there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import TypeVar

T = TypeVar("T")
WAITING = 64  # pieces read ahead of who shows them
LOOK_SECONDS = 0.1  # how soon a reader that went away is noticed
Source = Callable[[Callable[[], bool]], Generator[T, None, None]]


def merged(sources: Sequence[Source[T]]) -> Iterator[T]:
    """Yield what the sources give, in the order in which it comes; each runs in its own thread.

    Args:
        sources: functions that get `stopped` and return a generator. Once `stopped()` is true it
            should end; it is closed at its next piece in any case.

    Raises:
        What a source raised; the others are then told to stop, as when the reader goes away.
    """
    arrived: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(WAITING)
    stop = threading.Event()

    def give(piece: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                return arrived.put((piece, error), timeout=LOOK_SECONDS)

    def run(source: Source[T]) -> None:
        try:
            with closing(source(stop.is_set)) as pieces:
                for piece in pieces:
                    give(piece)
                    if stop.is_set():
                        return
            give(None)
        except BaseException as error:  # noqa: BLE001  (raised again where it is read)
            give(None, error)

    for source in sources:
        threading.Thread(target=run, args=(source,), name="hone-side", daemon=True).start()
    try:
        yield from _read(arrived, len(sources))
    finally:
        stop.set()


def _read(arrived: queue.Queue[tuple[T | None, BaseException | None]], left: int) -> Iterator[T]:
    while left:
        piece, error = arrived.get()
        if error is not None:
            raise error
        if piece is None:
            left -= 1
        else:
            yield piece
