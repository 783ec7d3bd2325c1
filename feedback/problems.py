"""How the API says no: problem details as RFC 9457 has them, `application/problem+json`.

`detail` is the sentence for a person, `type` the word for a program. Pure but for the response.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from storage.errors import UserError

if TYPE_CHECKING:
    from fastapi import APIRouter

MEDIA_TYPE = "application/problem+json"
KIND = "urn:hone:problem:"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"})
NOT_NOW = (429, 503)  # the answers that say when to come again
SOON = 1  # seconds, where nobody knows better

TITLES = {status.value: status.phrase for status in HTTPStatus}

SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "Why not, as RFC 9457 has it.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "which kind of problem, for a program"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong and what mends it"},
        "code": {"type": "string", "description": "by which the screens say it in other languages"},
    },
    "example": {
        "detail": "there is no response 'msg_1': log it first, or send prompt, response and model",
        "type": f"{KIND}not-found",
        "title": "Not Found",
        "status": 404,
    },
}
RESPONSE: Mapping[str, Any] = {
    "description": "Why not: see `detail`",
    "content": {MEDIA_TYPE: {"schema": SCHEMA}},
}


def problem(status: int, detail: str, type: str = "about:blank") -> dict[str, Any]:
    """Return a problem as JSON has it; half characters become question marks.

    Example:
        >>> problem(404, "there is no such thing")["title"]
        'Not Found'
    """
    title = TITLES.get(status, "Error")
    said = detail.encode("utf-8", "replace").decode("utf-8")
    return {"detail": said, "type": type, "title": title, "status": status}


def problem_of(error: UserError) -> dict[str, Any]:
    """Return the problem that an error is: its class is the type.

    Example:
        >>> from storage.errors import BadInput
        >>> problem_of(BadInput("no"))["type"]
        'urn:hone:problem:bad-input'
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
    code = {"code": error.code} if error.code else {}
    return {**problem(error.status, str(error), KIND + words), **code}


def said_no(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return the response of a problem that is no error of the domain."""
    return _response({**problem(status, detail), **more}, dict(headers or {}))


def said_why(error: UserError) -> JSONResponse:
    """Return the response of an error of the domain."""
    return _response(problem_of(error), when_again(error))


def when_again(error: UserError) -> dict[str, str]:
    """Return the header that says when it is worth trying again, where that is known or promised.

    Example:
        >>> from storage.errors import BadInput, Overloaded, TooMany
        >>> when_again(BadInput()), when_again(Overloaded()), when_again(TooMany())
        ({}, {'Retry-After': '2'}, {'Retry-After': '1'})
    """
    if error.retry_after is not None:
        return {"Retry-After": str(error.retry_after)}
    return {"Retry-After": str(SOON)} if error.status in NOT_NOW else {}


def _response(content: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    if content["status"] in NOT_NOW:
        headers.setdefault("Retry-After", str(SOON))
    return JSONResponse(content, content["status"], headers, MEDIA_TYPE)


def refuse_other_methods(router: APIRouter) -> None:
    """Answer 405 where a path of a router is asked by another method, for the page that stands
    behind the API would take the request, and say that it knows no such path."""
    methods: dict[str, set[str]] = {}
    for route in router.routes:
        methods.setdefault(route.path, set()).update(route.methods)  # type: ignore[attr-defined]
    for path, known in methods.items():
        allowed = ", ".join(sorted(known))

        async def refuse(request: Request, allowed: str = allowed) -> JSONResponse:
            said = f"{request.method} is not what this is for: use {allowed}."
            raise HTTPException(405, said, {"Allow": allowed})

        router.add_route(path, refuse, sorted(METHODS - known), include_in_schema=False)
