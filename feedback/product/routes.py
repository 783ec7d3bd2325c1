"""REST for a product: log responses; send thumbs, comparisons and corrections; take an export.

One item or a list of them. An item is acknowledged (201, or `saved` in a list) once it is durable;
the same id again gets the same answer, so whoever got none sends the same again. Of a list each
item counts for itself: one that is refused (207) must not keep a hundred others out.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from feedback.front import Way
from feedback.gate import person_of
from feedback.lanes import Lane
from feedback.problems import RESPONSE, problem_of, refuse_other_methods
from feedback.product import bodies
from feedback.product.allowance import USUAL, Allowance, Meter
from feedback.product.bodies import Item, Parse
from feedback.product.described import (
    CHOICE,
    CORRECTION,
    EXPORTED,
    MAX_ITEMS,
    SHOWN,
    THUMB,
    answers,
    body,
)
from feedback.product.export import export
from feedback.product.intake import Answer, Intake, needs_prompts
from storage.errors import BadInput, Overloaded, TooMany, UserError
from storage.store import Store

MAX_BODY_BYTES = 8_000_000  # Choice: a thousand responses of the length of a page
IN_A_THREAD = 50_000  # bytes of a body whose reading would hold others up. Choice: about 2 ms
WRITER_ROOM = 500  # commands of others. Choice: some four commits; then labelers go first
NO_STORE = {"Cache-Control": "no-store"}

Parsed = list[Item | BadInput]


class Doors:
    """The lanes and meters of one app."""

    def __init__(self, store_of: Callable[[Request], Store], allowance: Allowance = USUAL) -> None:
        self._store_of = store_of
        self._requests = Meter(allowance.requests, time.monotonic)
        self._items = Meter(allowance.items, time.monotonic)
        self._lanes: dict[bool, Lane[Item, Answer]] = {}

    async def take(self, request: Request, parse: Parse) -> Response:
        """Answer a request with one item or a list of them."""
        store, person = self._store_of(request), person_of(request.scope)
        name = person.name if person else ""
        _check("requests", self._requests.take(name, 1))
        raw = await _body(request)
        if len(raw) > IN_A_THREAD:
            is_list, parsed = await asyncio.to_thread(_parsed, raw, parse)
        else:
            is_list, parsed = _parsed(raw, parse)
        _check("items", self._items.take(name, len(parsed)))
        good = [item for item in parsed if not isinstance(item, BadInput)]
        got = iter(await self._stored(store, good) if good else ())
        return _answer(
            is_list, parsed, [i if isinstance(i, BadInput) else next(got) for i in parsed]
        )

    async def _stored(self, store: Store, items: Sequence[Item]) -> Sequence[Answer]:
        if (others := store.waiting()) > WRITER_ROOM:
            raise Overloaded(f"{others} commands of others wait: send these again later.")
        logs = needs_prompts(items)
        if logs not in self._lanes:
            self._lanes[logs] = Lane(_intake(store).take)
        return await self._lanes[logs].send(items)


PARSES: Mapping[str, Parse] = {
    "/api/v1/responses": bodies.response,
    "/api/v1/feedback": bodies.thumb,
    "/api/v1/comparisons": bodies.choice,
    "/api/v1/corrections": bodies.correction,
}


def ways(doors: Doors) -> dict[str, Way]:
    """Return what takes a product's items, by path."""
    return {path: partial(doors.take, parse=parse) for path, parse in PARSES.items()}


def _intake(store: Store) -> Intake:
    made: Intake = store.companions.setdefault(Intake, Intake(store))
    return made


def router(store_of: Callable[[Request], Store], doors: Doors) -> APIRouter:
    """Return the routes; the app that takes them also needs `api.install_errors`."""
    made = APIRouter(prefix="/api/v1", tags=["product"])

    async def log_response(request: Request) -> Response:
        """Log what a model answered, under the product's own id."""
        return await doors.take(request, bodies.response)

    async def send_feedback(request: Request) -> Response:
        """Send a thumb for a response. Of one user on one response the newest counts."""
        return await doors.take(request, bodies.thumb)

    async def send_comparison(request: Request) -> Response:
        """Send which of two responses to one prompt a user took."""
        return await doors.take(request, bodies.choice)

    async def send_correction(request: Request) -> Response:
        """Send a response as a user corrected it; it counts as better than the original."""
        return await doors.take(request, bodies.correction)

    for path, route, item in (
        ("/responses", log_response, SHOWN),
        ("/feedback", send_feedback, THUMB),
        ("/comparisons", send_comparison, CHOICE),
        ("/corrections", send_correction, CORRECTION),
    ):
        made.add_api_route(
            path,
            route,
            methods=["POST"],
            status_code=201,
            response_class=JSONResponse,
            response_model=None,
            responses=answers(),
            openapi_extra=body(item),
        )
    made.add_api_route(
        "/export",
        partial(export, store_of),
        methods=["GET"],
        response_class=Response,
        responses={200: EXPORTED, "default": dict(RESPONSE)},
    )
    refuse_other_methods(made)
    return made


async def _body(request: Request) -> bytes:
    """Return the whole body, at most `MAX_BODY_BYTES` of it."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise HTTPException(
                413, f"The request has more than {MAX_BODY_BYTES:,} bytes: send less at a time."
            )
        parts.append(part)
    return b"".join(parts)


def _parsed(raw: bytes, parse: Parse) -> tuple[bool, Parsed]:
    """Return whether a list came, and each item or why it is none.

    Raises:
        BadInput: the body as a whole is not what it has to be.
    """
    try:
        value = _json(raw)
    except (ValueError, RecursionError):
        raise BadInput("The body is not JSON: send one JSON object, or a list of them.") from None
    if not isinstance(value, list):
        return False, [parse(value)]
    if not 0 < len(value) <= MAX_ITEMS:
        raise BadInput(f"The list has {len(value):,} items: send 1 to {MAX_ITEMS:,} at a time.")
    parsed: Parsed = []
    for one in value:
        try:
            parsed.append(parse(one))
        except BadInput as error:
            parsed.append(error)
    return True, parsed


def _json(raw: bytes) -> Any:
    """Return what a body says; orjson reads it in a third of the time, but not all that is JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)


def _check(what: str, wait: int) -> None:
    if wait:
        error = TooMany(f"This key sends too many {what}: go on in {wait} s.")
        error.retry_after = wait
        raise error


def _answer(is_list: bool, parsed: Parsed, got: Sequence[Answer]) -> Response:
    if not is_list:
        if isinstance(got[0], UserError):
            raise got[0]
        return _said(_saved(parsed[0], got[0]), 201)
    results = [_saved(item, answer) for item, answer in zip(parsed, got, strict=True)]
    refused = sum(isinstance(answer, UserError) for answer in got)
    content = {"saved": len(got) - refused, "refused": refused, "results": results}
    return _said(content, 207 if refused else 201)


def _said(content: Mapping[str, Any], status: int) -> Response:
    return Response(orjson.dumps(content), status, NO_STORE, "application/json")


def _saved(item: Item | BadInput, answer: Answer) -> dict[str, Any]:
    named = {} if isinstance(item, BadInput) else {"id": item.id}
    if isinstance(answer, UserError):
        return {**named, **problem_of(answer)}
    return {**named, "saved": True, "repeated": answer.repeated}
