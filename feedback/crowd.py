"""How many requests are worked on at a time: who comes on top is told at once to come again soon.

Without it everybody waits for everybody, until nobody gets an answer in time. What waits in a
browser's outbox is safe, so a refusal costs nothing but a second. It stands in front of everything
else, for what costs most of a small request is its way through the framework.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Semaphore
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from feedback.gate import HEADERS
from feedback.problems import said_no

# Choice: fifty pages that ask at the same moment are all let in. With 40 instead of 100, of 600
# labelers those who are refused hear it after 0.2 s instead of 0.5, and fifty pages are refused.
MOST = 100
# Choice: items are chosen one request after the other (`assignments`) and then wait for the disk
# with others; each takes one of the forty threads, which votes need as well.
READERS = 12
API = "/api/v1/"
LABELERS = frozenset({
    "labeler", "items", "history", "campaigns", "meters",
    "votes", "ratings", "rankings", "edits", "remarks",
})  # fmt: skip
"""What a labeler's page asks for: the first parts of paths behind `API`."""
SOON = "1"  # seconds; the page's outbox asks again after half a second, one, two, …
FULL = said_no(
    503,
    "Too many ask at this moment: it goes on by itself in a second or two.",
    {**HEADERS, "Retry-After": SOON, "Cache-Control": "no-store"},
)


class Crowd:
    """Counts the requests inside. A server has one event loop; each loop has readers of its own."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self.app, self.most, self.inside = app, most, 0
        self._readers: WeakKeyDictionary[AbstractEventLoop, Semaphore] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it with 503.

        Reading is refused at half of it, and of those inside a few go at a time: verdicts that
        were given come before new items.
        """
        if scope["type"] != "http" or not is_labelers(scope["path"]):
            return await self.app(scope, receive, send)
        writes = scope["method"] == "POST"
        if self.inside >= (self.most if writes else self.most // 2):
            return await FULL(scope, receive, send)
        self.inside += 1
        try:
            if writes:
                await self.app(scope, receive, send)
            else:
                loop = asyncio.get_running_loop()
                async with self._readers.setdefault(loop, Semaphore(READERS)):
                    await self.app(scope, receive, send)
        finally:
            self.inside -= 1


def is_labelers(path: str) -> bool:
    """Say whether a path is one that a labeler's page asks.

    Example:
        >>> is_labelers("/api/v1/items/17/text"), is_labelers("/api/v1/health")
        (True, False)
    """
    return path.startswith(API) and path[len(API) :].partition("/")[0] in LABELERS
