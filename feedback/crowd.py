"""How many requests are worked on at a time: who comes on top is told at once to come again soon.

Without it everybody waits for everybody, until nobody gets an answer in time. What waits in a
browser's outbox is safe, so a refusal costs nothing but a second.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Semaphore
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

from fastapi import HTTPException, Request

# Choice: fifty pages that ask at the same moment are all let in. With 40 instead of 100, of 600
# labelers those who are refused hear it after 0.2 s instead of 0.5, and fifty pages are refused.
MOST = 100
# Choice: items are chosen one request after the other (`assignments`) and then wait for the disk
# with others; each takes one of the forty threads, which votes need as well.
READERS = 12
SOON = "1"  # seconds; the page's outbox asks again after half a second, one, two, …


class Crowd:
    """Counts the requests inside. A server has one event loop; each loop has readers of its own."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.inside = most, 0
        self._readers: WeakKeyDictionary[AbstractEventLoop, Semaphore] = WeakKeyDictionary()

    async def admit(self, request: Request) -> AsyncIterator[None]:
        """Let a request in, or refuse it; a dependency of routes.

        Reading is refused at half of it, and of those inside a few go at a time: verdicts that
        were given come before new items.

        Raises:
            HTTPException: 503, too many are inside.
        """
        if self.inside >= (self.most if request.method == "POST" else self.most // 2):
            said = "Too many ask at this moment: it goes on by itself in a second or two."
            raise HTTPException(503, said, headers={"Retry-After": SOON})
        self.inside += 1
        try:
            if request.method == "POST":
                yield
            else:
                loop = asyncio.get_running_loop()
                async with self._readers.setdefault(loop, Semaphore(READERS)):
                    yield
        finally:
            self.inside -= 1
