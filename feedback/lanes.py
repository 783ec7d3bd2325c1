"""Requests that wait for the store: all that came meanwhile go into the next commit together.

Lives in the server's event loop, so nothing here needs a lock. What waits is counted: more than is
stored in a moment is refused at once (`Overloaded`), for a queue that grows helps nobody. Nothing
that was acknowledged is lost thereby: who was refused, or waited in vain, sends the same again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from storage.errors import Overloaded

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Turn = Sequence[tuple[Sequence[Item], "asyncio.Future[Sequence[Answer]]"]]  # requests

ROOM = 10_000  # items that wait. Choice: some two seconds of storing on two slow cores
AT_ONCE = 1_000  # items per turn. Choice: a commit of 50 to 100 ms, for which votes wait
# Choice: with sixteen clients that answer at once this stores 610 votes a second instead of 460, in
# two thirds of the processor time; 30 ms are no better, and 10 ms over before all are back.
GATHER_SECONDS = 0.02
AGAIN = 0.9  # of those of the last turn
LOOK_SECONDS = 0.001
PATIENCE_SECONDS = 10.0  # Choice: what a client waits for an answer before it asks again


class Lane(Generic[Item, Answer]):
    """One queue of requests, and the task that empties it while there is something in it."""

    def __init__(
        self,
        take: Callable[[Sequence[Item]], Sequence[Any]],
        tell: Callable[[Sequence[Any]], Sequence[Answer]] | None = None,
        room: int = ROOM,
        patience: float | None = PATIENCE_SECONDS,
    ) -> None:
        """Stand before what stores items; both parts of that run in threads.

        Args:
            take: stores items, one call at a time, and says what became of each.
            tell: makes the answers of that, while the next are taken already; None: it is them.
            patience: seconds; None waits for ever.
        """
        self._take, self._tell, self._room, self._patience = take, tell, room, patience
        self._requests: list[tuple[Sequence[Item], asyncio.Future[Sequence[Answer]]]] = []
        self._last = 1  # requests that there were for the turn before
        self._waiting = 0  # items, those that are being stored among them
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def send(self, items: Sequence[Item]) -> Sequence[Answer]:
        """Return the answers to a request's items once they are durable.

        Raises:
            Overloaded: too many wait, or it took too long; the items may be stored all the same.
            UserError: what `take` raised.
        """
        if self._waiting and self._waiting + len(items) > self._room:
            raise Overloaded(f"{self._waiting:,} items wait to be stored: send these again later.")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Answer]] = loop.create_future()
        self._requests.append((items, answer))
        self._waiting += len(items)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        try:
            return await asyncio.wait_for(answer, self._patience)
        except TimeoutError:
            raise Overloaded(
                f"storing took more than {self._patience:g} s: send the same again later."
            ) from None

    async def _run(self) -> None:
        while self._requests:
            await self._gather()
            turn = self._next()
            items = [item for request, _ in turn for item in request]
            try:
                stored = await asyncio.to_thread(self._take, items)
            except Exception as error:  # noqa: BLE001  (each request answers for itself)
                _fail(turn, error)
            else:
                telling = asyncio.get_running_loop().create_task(self._answer(turn, stored))
                self._telling.add(telling)
                telling.add_done_callback(self._telling.discard)
            finally:
                self._waiting -= len(items)

    async def _answer(self, turn: Turn[Item, Answer], stored: Sequence[Any]) -> None:
        try:
            answers = await asyncio.to_thread(self._tell, stored) if self._tell else stored
        except Exception as error:  # noqa: BLE001  (as above)
            return _fail(turn, error)
        each = iter(answers)
        for request, answer in turn:
            got = list(islice(each, len(request)))
            if not answer.done():
                answer.set_result(got)

    async def _gather(self) -> None:
        """Wait a moment for about as many requests as came the last time.

        A commit takes nearly as long with one as with sixteen, and whoever was answered just now is
        likely to ask again: so one that comes before the others waits for them. Alone, nobody does.
        """
        until = time.monotonic() + GATHER_SECONDS
        while len(self._requests) < AGAIN * self._last and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        self._last = len(self._requests)

    def _next(self) -> Turn[Item, Answer]:
        """Take the requests of the next turn: all, or as many as `AT_ONCE`, but one at least."""
        n = size = 0
        for request, _ in self._requests:
            if n and size + len(request) > AT_ONCE:
                break
            n, size = n + 1, size + len(request)
        turn, self._requests = self._requests[:n], self._requests[n:]
        return turn


def _fail(turn: Turn[Any, Any], error: Exception) -> None:
    for _, answer in turn:
        if not answer.done():
            answer.set_exception(error)
