"""How many are let in at a time: the rest is refused at once, verdicts last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import HTTPException
from starlette.requests import Request

from feedback.crowd import Crowd
from tests.awaiting import finish


def request(method: str) -> Request:
    return Request({"type": "http", "method": method, "path": "/", "headers": []})


def test_reading_is_refused_at_half_and_voting_at_the_whole() -> None:
    """Four places: the third reader is refused, the fifth vote is; who leaves makes room."""

    async def go() -> list[str]:
        crowd, inside, told = Crowd(4), list[AsyncIterator[None]](), list[str]()
        for method in ("GET", "GET", "GET", "POST", "POST", "POST"):
            visit = crowd.admit(request(method))
            try:
                await anext(visit)
                inside.append(visit)
                told.append("in")
            except HTTPException as error:
                told.append(f"{error.status_code} {(error.headers or {})['Retry-After']}")
        for visit in inside:
            with pytest.raises(StopAsyncIteration):
                await anext(visit)
        assert crowd.inside == 0
        return told

    assert finish(go()) == ["in", "in", "503 1", "in", "in", "503 1"]


def test_who_breaks_off_leaves_their_place() -> None:
    async def go() -> int:
        crowd = Crowd(1)
        visit = crowd.admit(request("POST"))
        await anext(visit)
        with pytest.raises(asyncio.CancelledError):
            await visit.athrow(asyncio.CancelledError())  # type: ignore[attr-defined]
        return crowd.inside

    assert finish(go()) == 0
