"""Requests that wait for the store: all that came meanwhile go into the next commit together.

Lives in the server's event loop, so nothing here needs a lock. What waits is counted: more than is
stored in a moment is refused at once (`Overloaded`), for a queue that grows helps nobody. Nothing
that was acknowledged is lost thereby: who was refused, or waited in vain, sends the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from feedback.product.bodies import Item
from feedback.product.intake import Answer
from storage.errors import Overloaded

ROOM = 10_000  # items that wait. Choice: some two seconds of storing on two slow cores
AT_ONCE = 1_000  # items per turn. Choice: a commit of 50 to 100 ms, for which votes wait
PATIENCE_SECONDS = 10.0  # Choice: what a client waits for an answer before it asks again

Request = tuple[Sequence[Item], "asyncio.Future[list[Answer]]"]


class Lane:
    """One queue of requests, and the task that empties it while there is something in it."""

    def __init__(
        self,
        take: Callable[[Sequence[Item]], list[Answer]],
        room: int = ROOM,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Args: take: stores items; runs in a thread, one call at a time."""
        self._take, self._room, self._patience = take, room, patience
        self._requests: list[Request] = []
        self._waiting = 0  # items, those that are being stored among them
        self._task: asyncio.Task[None] | None = None

    async def send(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answers to a request's items once they are durable.

        Raises:
            Overloaded: too many wait, or it took too long; the items may be stored all the same.
            UserError: what `take` raised.
        """
        if self._waiting and self._waiting + len(items) > self._room:
            raise Overloaded(f"{self._waiting:,} items wait to be stored: send these again later.")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Answer]] = loop.create_future()
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
            turn = self._next()
            items = [item for request, _ in turn for item in request]
            try:
                answers = iter(await asyncio.to_thread(self._take, items))
            except Exception as error:  # noqa: BLE001  (each request answers for itself)
                for _, answer in turn:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for request, answer in turn:
                    got = list(islice(answers, len(request)))
                    if not answer.done():
                        answer.set_result(got)
            finally:
                self._waiting -= len(items)

    def _next(self) -> list[Request]:
        """Take the requests of the next turn: all, or as many as `AT_ONCE`, but one at least."""
        n = size = 0
        for request, _ in self._requests:
            if n and size + len(request) > AT_ONCE:
                break
            n, size = n + 1, size + len(request)
        turn, self._requests = self._requests[:n], self._requests[n:]
        return turn
