"""A web app that is made while others are served already; who asks for it waits. Knows no gradio.

The screens take seconds to import and to lay out, a vote needs none of that: after a restart votes
are taken at once. Should making it fail, everyone who waits gets an error, and the server ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send


class Later:
    """An ASGI app that stands for another until that one is made, and then hands everything on."""

    def __init__(
        self, make: Callable[[], FastAPI], failed: Callable[[], None], wait_seconds: float = 0.0
    ) -> None:
        """Make nothing yet: `lifespan` does.

        Args:
            make: Returns the app; runs in a thread of its own.
            failed: Called where `make` or the app's own start raised; `check` then tells what.
            wait_seconds: How long `make` waits, unless somebody asks for the app.
        """
        self._make, self._failed, self._wait_seconds = make, failed, wait_seconds
        self._app: Future[FastAPI] = Future()
        self._asked, self._over = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked.set()
        app = await asyncio.shield(asyncio.wrap_future(self._app))
        await app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Make the app in the background, and hold it open until the server ends."""
        task = asyncio.create_task(self._live())
        try:
            yield
        finally:
            self._over.set()
            await task

    def check(self) -> None:
        """Raise what went wrong while the app was made."""
        if self._app.done() and (error := self._app.exception()) is not None:
            raise error

    async def _live(self) -> None:
        try:
            await self._quiet()
            if self._over.is_set():
                return
            app = await asyncio.to_thread(self._make)
            async with app.router.lifespan_context(app):
                self._app.set_result(app)
                await self._over.wait()
        except Exception as error:  # noqa: BLE001  (the edge: who waits for the screens hears of it)
            if self._app.done():
                raise
            self._app.set_exception(error)
            self._failed()

    async def _quiet(self) -> None:
        """Wait a moment, so that whoever votes already goes first."""
        waiting = [asyncio.create_task(one.wait()) for one in (self._asked, self._over)]
        await asyncio.wait(waiting, timeout=self._wait_seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
