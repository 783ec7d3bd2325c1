"""An app that is made while others are served: who asks waits; a failure ends everything, told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from align.later import Later


def web(rest: Later) -> FastAPI:
    app = FastAPI(lifespan=rest.lifespan)

    @app.get("/quick")
    async def quick() -> str:
        return "at once"

    app.mount("/", rest)
    return app


async def asked(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path)


def made(log: list[str], may_go_on: Callable[[], object] = lambda: None) -> Callable[[], FastAPI]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        log.append("started")
        yield
        log.append("ended")

    def make() -> FastAPI:
        may_go_on()
        app = FastAPI(lifespan=lifespan)

        @app.get("/page")
        async def page() -> str:
            return "the page"

        return app

    return make


def test_others_are_served_while_who_asks_for_the_app_waits() -> None:
    log: list[str] = []
    go_on = threading.Event()
    rest = Later(made(log, go_on.wait), failed=lambda: log.append("failed"), wait_seconds=600)

    async def visit() -> None:
        app = web(rest)
        async with rest.lifespan(app):
            page = asyncio.create_task(asked(app, "/page"))  # and so it does not wait 600 s
            assert (await asked(app, "/quick")).json() == "at once"
            assert not page.done()
            go_on.set()
            assert (await page).json() == "the page"
            assert (await asked(app, "/page")).json() == "the page"

    asyncio.run(visit())
    assert log == ["started", "ended"]
    rest.check()


def test_without_a_visitor_it_is_made_after_a_while() -> None:
    log: list[str] = []
    made_now = threading.Event()
    rest = Later(made(log, made_now.set), failed=lambda: None, wait_seconds=0.01)

    async def wait() -> None:
        async with rest.lifespan(FastAPI()):
            assert await asyncio.to_thread(made_now.wait, 10)

    asyncio.run(wait())
    assert log == ["started", "ended"]


def test_a_server_that_ends_at_once_makes_nothing() -> None:
    log: list[str] = []
    rest = Later(made(log), failed=lambda: log.append("failed"), wait_seconds=600)

    async def come_and_go() -> None:
        async with rest.lifespan(FastAPI()):
            pass

    asyncio.run(come_and_go())
    assert log == []
    rest.check()


def test_where_making_it_fails_the_server_is_told_and_who_waits_gets_the_error() -> None:
    log: list[str] = []

    def broken() -> FastAPI:
        raise RuntimeError("a screen met a bug")

    rest = Later(broken, failed=lambda: log.append("failed"))

    async def visit() -> None:
        app = web(rest)
        async with rest.lifespan(app):
            with pytest.raises(RuntimeError, match="a screen met a bug"):
                await asked(app, "/page")

    asyncio.run(visit())
    assert log == ["failed"]
    with pytest.raises(RuntimeError, match="a screen met a bug"):
        rest.check()
