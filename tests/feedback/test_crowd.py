"""How many are let in at a time: the rest is refused at once, verdicts last."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from feedback import api
from feedback.crowd import Crowd, is_labelers
from tests.awaiting import finish


def scope(method: str, path: str = "/api/v1/items") -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": []}


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class Behind:
    """An app whose requests stay inside until they are let go."""

    def __init__(self) -> None:
        self.go, self.inside = asyncio.Event(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(crowd: Crowd, *request: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and problem of an answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await crowd(scope(*request), nothing, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"] or b"{}")


def test_reading_is_refused_at_half_and_voting_at_the_whole() -> None:
    """Four places: the third reader is refused, the fifth vote is; who leaves makes room."""

    async def go() -> list[int]:
        behind = Behind()
        crowd = Crowd(behind, 4)
        asked = []
        for method in ("GET", "GET", "GET", "POST", "POST", "POST"):
            asked.append(asyncio.ensure_future(ask(crowd, method)))
            await asyncio.sleep(0)
        assert behind.inside == crowd.inside == 4
        status, headers, problem = await asked[2]
        assert (status, headers["retry-after"]) == (503, "1")
        assert (headers["x-content-type-options"], headers["cache-control"]) == (
            "nosniff", "no-store",
        )  # fmt: skip
        assert "Too many" in problem["detail"]
        elsewhere = asyncio.ensure_future(ask(crowd, "GET", "/api/v1/health"))
        behind.go.set()
        assert (await elsewhere)[0] == 200
        told = [(await one)[0] for one in asked]
        assert crowd.inside == 0
        return told

    assert finish(go()) == [200, 200, 503, 200, 200, 503]


def test_who_breaks_off_leaves_their_place() -> None:
    async def go() -> int:
        crowd = Crowd(Behind(), 1)
        asked = asyncio.ensure_future(ask(crowd, "POST", "/api/v1/votes"))
        await asyncio.sleep(0)
        assert crowd.inside == 1
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return crowd.inside

    assert finish(go()) == 0


def test_all_that_a_labelers_page_asks_is_counted(tmp_path: Path) -> None:
    """But the word that the server lives: who watches it asks also when it is full."""
    paths = {route.path for route in api.router(lambda _: None).routes}  # type: ignore[arg-type,attr-defined,return-value]
    assert {path for path in paths if not is_labelers(path)} == {"/api/v1/health"}
