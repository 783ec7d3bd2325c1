"""Answers what comes by the thousand before the app's other layers: finding a route among all, and
what the framework keeps ready for any of them, costs more than keeping a vote.

FastAPI's router has the same routes behind it: its document describes them, and it says what is
wrong with a body that is not what it has to be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback.problems import said_no, said_why
from storage.errors import UserError

# Returns the answer; or the body as it came, for the framework to say what is wrong with it.
Way = Callable[[Request], Awaitable[Response | bytes]]


class Front:
    """Takes the POSTs to some paths; everything else goes on."""

    def __init__(self, app: ASGIApp, ways: Mapping[str, Way]) -> None:
        self._app, self._ways = app, ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._ways.get(scope["path"]) if scope["type"] == "http" else None
        if way is None or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        try:
            answer = await way(Request(scope, receive))
        except UserError as error:
            answer = said_why(error)
        except HTTPException as error:
            answer = said_no(error.status_code, str(error.detail), error.headers)
        if isinstance(answer, bytes):
            return await self._app(scope, _again(answer, receive), send)
        return await answer(scope, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what hands on a body that was read, and then whatever follows it."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again
