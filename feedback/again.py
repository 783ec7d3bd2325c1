"""Do something again and again in a thread, for the time of a `with` block. Knows nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def again(
    name: str, work: Callable[[Callable[[float], bool]], None], seconds: float
) -> Iterator[None]:
    """Run `work` in a thread, with so many seconds between two times; wait for its end at the end.

    Args:
        work: gets what waits for so many seconds, and returns True at once where the block is over.
    """
    over = threading.Event()

    def go() -> None:
        while not over.is_set():
            work(over.wait)
            over.wait(seconds)

    thread = threading.Thread(target=go, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
