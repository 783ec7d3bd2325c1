"""The labeler's way in and out: REST routes under /api/v1, for screens, products and load tests.

Routes are sync functions, so that a slow disk holds up one thread and not the server; verdicts that
come together share one. Who is asking comes from the cookie alone. Nothing that is sent before a
vote names a model, unless the labeler asks for the text of an answer in order to edit it. A verdict
is answered with 201 once it is durable; sent again with its id it gets the same answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, unquote
from weakref import WeakKeyDictionary

import orjson
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Message as Event
from starlette.types import Receive

from feedback.assignments import serve_items
from feedback.at_once import EventOf, Kept, Said, keep_all
from feedback.campaigns import labeler_name, sign_in
from feedback.collecting import STOPPED, given, in_campaign, of_labeler, reach
from feedback.front import Way
from feedback.gate import person_of
from feedback.lanes import Lane
from feedback.nudges import SITTING, Judged, Own, own
from feedback.ordering import LETTERS
from feedback.problems import RESPONSE, refuse_other_methods, said_no, said_why
from feedback.ranked import cast_ranking
from feedback.remarks import add_remark
from feedback.render import markdown_html, messages_html
from feedback.seen import MAX_ITEMS, MODES, RANK, Item, history
from feedback.values import one_of, shown
from feedback.votes import (
    REASONS,
    cast_rating,
    cast_vote,
    rating_of,
    save_edit,
    text_to_edit,
    vote_of,
)
from storage.errors import BadInput, UserError
from storage.records import Receipt, now
from storage.store import Store

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

PREFIX = "/api/v1"
COOKIE = "hone_labeler"
NO_STORE = {"Cache-Control": "no-store"}
COOKIE_SECONDS = 365 * 24 * 3600  # Choice: a year; the name is asked once.
MAX_BODY_BYTES = 1_000_000
LOW_STOCK = 20  # open comparisons under which generation is woken up; what it keeps in stock


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelerIn(_Body):
    name: StrictStr


class VerdictIn(_Body):
    """A vote or a rating: see `feedback.votes` for what each value may be."""

    id: StrictStr
    assignment: StrictStr
    revision: StrictInt
    verdict: StrictStr
    reasons: list[StrictStr] = []
    comment: StrictStr = ""
    seconds_spent: Any = None  # a number of seconds from 0, or null


class EditIn(_Body):
    id: StrictStr
    assignment: StrictStr
    revision: StrictInt
    side: StrictStr
    text: StrictStr
    seconds_spent: Any = None  # a number of seconds from 0, or null


class RemarkIn(_Body):
    """What is added to a vote; see `feedback.remarks`."""

    id: StrictStr
    vote: StrictStr
    strength: StrictStr = ""
    aspects: dict[StrictStr, StrictStr] = {}


class LimitedRoute(APIRoute):
    """A route that reads at most `MAX_BODY_BYTES` of a body, whatever its header says."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            return await handle(_limited(request))

        return limited


def _limited(request: Request) -> Request:
    """Return a request whose body is read as far as `MAX_BODY_BYTES`."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise HTTPException(413, _TOO_LARGE)
    return Request(request.scope, _counted(request.receive))


def _read(kind: type[BaseModel], content_type: str, raw: bytes) -> BaseModel | None:
    """Return what a body says; None where it is not JSON or not of this kind."""
    if content_type.partition(";")[0] != "application/json":
        return None
    try:
        return kind.model_validate(json.loads(raw))
    except (ValueError, RecursionError):  # of JSON, of UTF-8, and of pydantic
        return None


_TOO_LARGE = f"The request has more than {MAX_BODY_BYTES:,} bytes: send less at a time."


def _counted(receive: Receive) -> Receive:
    """Return `receive` that refuses to hand on more than `MAX_BODY_BYTES`."""
    got = 0

    async def counted() -> Event:
        nonlocal got
        event = await receive()
        got += len(event.get("body", b""))
        if got > MAX_BODY_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return event

    return counted


@dataclass(frozen=True)
class Routes:
    """The routes, and what they need of the app around them."""

    store_of: Callable[[Request], Store]
    waiting: Callable[[], str | None]
    wake: Callable[[], None]

    def sign_in(self, request: Request, body: LabelerIn, response: Response) -> dict[str, Any]:
        """Take a labeler's name and remember it in a cookie."""
        if person := person_of(request.scope):
            raise HTTPException(
                403, f"You are {person.name} here: log out to judge under another name."
            )
        name = sign_in(self.store_of(request), body.name).id
        response.set_cookie(
            COOKIE, quote(name), max_age=COOKIE_SECONDS, httponly=True, samesite="lax"
        )
        return {"name": name}

    def labeler(self, request: Request) -> dict[str, Any]:
        """Return who is asking, null when nobody has said so; and whether they logged in."""
        if person := person_of(request.scope):
            return {"name": person.name, "account": True}
        return {"name": _name(request)}

    def items(
        self,
        request: Request,
        mode: str = "pairs",
        n: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 4,
        exclude: Annotated[str, Query(max_length=10_000)] = "",
        campaign: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        """Return items to judge, the labeler's progress, and why there is nothing, if so.

        `campaign` is one of `GET /campaigns`; without it, or when it is closed, the first of them.
        """
        store, name = self.store_of(request), self._signed_in(request)
        one_of(mode, tuple(MODES), "mode")
        page_has = [id for id in exclude.split(",") if id]
        rng, fits = random.SystemRandom(), given(store, name, mode, campaign)
        where: dict[str, Any] = {"campaign": fits.campaign, "trial_left": fits.trial_left}
        items = serve_items(store, name, mode, n, rng, page_has, **where) if fits.campaign else []
        progress = _progress(store, name)
        if len(items) < n or progress["comparisons_open"] < LOW_STOCK:
            self.wake()
        answer = {
            "items": [_shown(item) for item in items],
            "progress": progress,
            "own": _own(store, name).as_json(),
            "waiting": None
            if items
            else STOPPED.get(fits.why) or self.waiting() or _nothing_left(progress),
            "campaign": fits.campaign.id if fits.campaign else None,
            "stopped": fits.why or None,
        }
        return _quiet(answer)

    def campaigns(self, request: Request, mode: str = "pairs") -> dict[str, Any]:
        """Return the campaigns that are open to the labeler: how far each is, what it asks for."""
        store, name = self.store_of(request), self._signed_in(request)
        one_of(mode, tuple(MODES), "mode")
        known = _counts(store, name)
        found = [
            (one, reach(store, one, mode, known["comparisons_open"], known["comparisons_total"]))
            for one in of_labeler(store, name, mode)
        ]
        return {
            "campaigns": [
                {
                    "id": one.id, "name": one.name, "done": far.done, "total": far.total,
                    "reasons": list(one.reasons or REASONS), "strengths": list(one.strengths),
                    "aspects": list(one.aspects),
                }
                for one, far in found
            ]
        }  # fmt: skip

    def remark(self, request: Request, body: RemarkIn) -> dict[str, Any]:
        """Add to a vote how clear it was, and what decided it; a later one takes its place."""
        store, name = self.store_of(request), self._signed_in(request)
        add_remark(store, name, **body.model_dump())
        return {"id": body.id, "saved": True}

    def history(
        self,
        request: Request,
        mode: str = "pairs",
        n: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 20,
    ) -> dict[str, Any]:
        """Return the labeler's last verdicts, newest first, to undo or change after a reload."""
        store, name = self.store_of(request), self._signed_in(request)
        items = history(store, name, mode, n)
        return {"items": [_shown(item) | {"verdict": item.verdict} for item in items]}

    def text(self, request: Request, assignment: str, side: str = "left") -> dict[str, str]:
        """Return an answer as it is stored, to edit it: names that were hidden stand in it."""
        store, name = self.store_of(request), self._signed_in(request)
        return {"text": text_to_edit(store, name, assignment, side)}

    def vote(self, request: Request, body: VerdictIn) -> dict[str, Any]:
        """Record a verdict on two answers."""
        store, name = self.store_of(request), self._signed_in(request)
        saved = _saved(store, name, cast_vote(store, name, **body.model_dump()))
        return _quiet(saved) if body.verdict == "undone" else saved

    def rank(self, request: Request, body: VerdictIn) -> dict[str, Any]:
        """Record an order of three or four answers, such as "B>A=C", as votes on each two of them.

        `assignment` is the ranking's. No note comes back: notes are about verdicts one by one.
        """
        store, name = self.store_of(request), self._signed_in(request)
        return _quiet(_saved(store, name, cast_ranking(store, name, **body.model_dump())))

    def rate(self, request: Request, body: VerdictIn) -> dict[str, Any]:
        """Record a thumb on one answer."""
        store, name = self.store_of(request), self._signed_in(request)
        saved = _saved(store, name, cast_rating(store, name, **body.model_dump()))
        return _quiet(saved) if body.verdict == "undone" else saved

    def edit(self, request: Request, body: EditIn) -> dict[str, Any]:
        """Record a corrected answer."""
        store, name = self.store_of(request), self._signed_in(request)
        return _quiet(_saved(store, name, save_edit(store, name, **body.model_dump())))

    def meters(self, request: Request) -> dict[str, Any]:
        """Return what is measured while people vote; moves with each and never reads them all.

        `length_bias` and `position_bias` are as `check --json` prints them, without findings: of
        the decided votes the share for the longer answer, and of those with recorded sides the
        share for the left one, each with its 95 % interval (Wilson) and n. `majority` is what the
        votes alone give to learn from, counted per comparison: `pairs`, and `labels`; a snapshot
        adds thumbs and edits and drops blank answers, repeats, and what remedies leave out.
        `counts` says how far the judging is, yours (`mine_*`) and everybody's.
        """
        from feedback.meters import live_majorities
        from feedback.quality import live_length_bias, live_position_bias  # no vote needs checks

        store = self.store_of(request)
        majority = live_majorities(store)
        return {
            "length_bias": live_length_bias(store).as_json(),
            "position_bias": live_position_bias(store).as_json(),
            "majority": {"pairs": majority.pairs, "labels": majority.labels},
            "counts": _progress(store, _name(request) or ""),
        }

    def health(self) -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok"}

    def posted(self) -> Sequence[tuple[str, type[BaseModel], Callable[..., dict[str, Any]]]]:
        """Return what labelers send all the time: the path, its body, and what keeps it."""
        return (
            ("/votes", VerdictIn, self.vote),
            ("/ratings", VerdictIn, self.rate),
            ("/rankings", VerdictIn, self.rank),
            ("/edits", EditIn, self.edit),
            ("/remarks", RemarkIn, self.remark),
        )

    def _signed_in(self, request: Request) -> str:
        """Return who is asking; add them where the data folder does not know them yet."""
        return sign_in(self.store_of(request), _known_name(request)).id


def router(
    store_of: Callable[[Request], Store],
    waiting: Callable[[], str | None] = lambda: None,
    wake: Callable[[], None] = lambda: None,
) -> APIRouter:
    """Return the routes; the app that takes them also needs `install_errors`.

    Args:
        store_of: The store that a request works on.
        waiting: Why there is nothing to label yet ("generating 12 of 250 …"), or None.
        wake: Called when few open comparisons are left, so that generation can start.
    """
    routes = Routes(store_of, waiting, wake)
    made = APIRouter(
        prefix=PREFIX,
        route_class=LimitedRoute,
        dependencies=[Depends(_unkept)],
        responses={"default": dict(RESPONSE)},
    )
    gets: tuple[tuple[str, Callable[..., dict[str, Any]]], ...] = (
        ("/labeler", routes.labeler),
        ("/items", routes.items),
        ("/items/{assignment}/text", routes.text),
        ("/history", routes.history),
        ("/campaigns", routes.campaigns),
        ("/meters", routes.meters),
    )
    for path, route in gets:
        made.add_api_route(path, route, methods=["GET"])
    made.add_api_route("/health", routes.health, methods=["GET"])
    made.add_api_route("/labeler", routes.sign_in, methods=["POST"])
    for path, _, keep in routes.posted():
        made.add_api_route(path, keep, methods=["POST"], status_code=201)
    refuse_other_methods(made)
    return made


def ways(store_of: Callable[[Request], Store]) -> dict[str, Way]:
    """Return what takes the verdicts of labelers and what goes with them, by path."""
    routes = Routes(store_of, lambda: None, lambda: None)
    found: dict[str, Way] = {
        f"{PREFIX}{path}": partial(_keep, kind, keep) for path, kind, keep in routes.posted()
    }
    together = Together(store_of)
    for path, event_of in (("/votes", vote_of), ("/ratings", rating_of)):
        found[f"{PREFIX}{path}"] = partial(together.keep, event_of)
    return found


async def _keep(
    kind: type[BaseModel], keep: Callable[..., dict[str, Any]], request: Request
) -> Response | bytes:
    raw = await _limited(request).body()
    body = _read(kind, request.headers.get("content-type", ""), raw)
    if body is None:
        return raw
    said = await run_in_threadpool(keep, request=request, body=body)
    return JSONResponse(said, 201, NO_STORE)


class Together:
    """Takes verdicts into a lane: what comes at the same time is kept together."""

    def __init__(self, store_of: Callable[[Request], Store]) -> None:
        self._store_of = store_of
        # A lane lives in an event loop; a server has one.
        self._lanes: WeakKeyDictionary[AbstractEventLoop, Lane[Said, Told]] = WeakKeyDictionary()

    async def keep(self, event_of: EventOf, request: Request) -> Response | bytes:
        """Answer a request with a verdict."""
        raw = await _limited(request).body()
        body = _read(VerdictIn, request.headers.get("content-type", ""), raw)
        if body is None:
            return raw
        said = Said(_known_name(request), event_of, body.model_dump())
        (answer,) = await self._lane(self._store_of(request)).send([said])
        if isinstance(answer, Exception):
            raise answer
        return Response(orjson.dumps(answer), 201, NO_STORE, "application/json")

    def _lane(self, store: Store) -> Lane[Said, Told]:
        loop = asyncio.get_running_loop()
        if loop not in self._lanes:
            take, tell = partial(keep_all, store), partial(_told, store)
            self._lanes[loop] = Lane(take, tell, patience=None)
        return self._lanes[loop]


Told = dict[str, Any] | Exception  # what is answered, or raised


def _told(store: Store, kept: Sequence[Kept | Exception]) -> list[Told]:
    """Return the acknowledgement of each verdict."""
    return [one if isinstance(one, Exception) else _acknowledged(store, one) for one in kept]


def _acknowledged(store: Store, kept: Kept) -> Told:
    try:
        saved = _saved(store, kept.labeler, kept.receipt)
    except Exception as error:  # noqa: BLE001  (each is answered for itself)
        return error
    return _quiet(saved) if kept.verdict == "undone" else saved


def no_such_path(request: Request) -> None:
    """Say that the API has no such path, before the page behind it answers."""
    raise HTTPException(404, f"There is no {shown(request.url.path)} here: see /api/openapi.json.")


def install_errors(app: FastAPI) -> None:
    """Let the app answer what goes wrong as a problem: `detail` is the sentence to show, `code` the
    word by which a labeler's page has it in other languages."""
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


def _user_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UserError)
    return said_why(error)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    """Return the first three things that are wrong with a request, as one sentence."""
    assert isinstance(error, RequestValidationError)
    return said_no(422, "; ".join(map(_wrong, error.errors()[:3])))


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return said_no(error.status_code, str(error.detail), error.headers)


def _bug(_: Request, error: Exception) -> JSONResponse:
    """Say that it is our fault; the server's log has the traceback."""
    return said_no(500, "This is a bug in Hone: the server's log says where.")


def _wrong(problem: dict[str, Any]) -> str:
    """Return one problem with a request in words: the field, what it is, what it has to be."""
    where = [str(part) for part in problem["loc"][1:]]
    if problem["type"] == "json_invalid":
        return "The body is not JSON: send one JSON object."
    if problem["type"] == "missing":
        return f"{'.'.join(where) or 'The body'} is missing: send it."
    if problem["type"] == "extra_forbidden":
        return f"{_printable(shown('.'.join(where)))} is not a field here: leave it out."
    value = _printable(shown(problem.get("input")))
    if not where:
        return f"The body is {value}: send one JSON object."
    return f"{_printable('.'.join(where))} is {value}: {problem['msg']}."


def _printable(text: str) -> str:
    """Return a text that can be sent: half characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


async def _unkept(response: Response) -> None:
    """Keep answers out of every cache: items and progress are one person's and of one moment.

    Async, though it waits for nothing: FastAPI would hand it to a thread otherwise.
    """
    response.headers.update(NO_STORE)


def _name(request: Request) -> str | None:
    """Return who logged in, else the name in the cookie; None where that could not be a name."""
    if person := person_of(request.scope):
        return person.name
    cookie = request.cookies.get(COOKIE, "")
    try:
        return labeler_name(unquote(cookie, errors="strict")) if cookie else None
    except (BadInput, UnicodeDecodeError):
        return None


def _known_name(request: Request) -> str:
    name = _name(request)
    if name is None:
        raise HTTPException(401, "Nobody is signed in: send your name to POST /api/v1/labeler.")
    return name


def _pandas_is_there() -> bool:
    """Say whether counts that move with each vote can be kept: before the page has brought pandas
    in, which takes seconds, the database is asked after each of the first few votes."""
    return "pandas" in sys.modules


def _progress(store: Store, name: str) -> dict[str, int]:
    return in_campaign(store, name, _counts(store, name))


def _counts(store: Store, name: str) -> dict[str, int]:
    if not _pandas_is_there():
        (counts,) = store.lines("progress", labeler=name)
        return counts
    from feedback.judging import progress

    return asdict(progress(store, name, now()))


def _shown(item: Item) -> dict[str, Any]:
    """Return an item as the page gets it: safe HTML to show and the plain text to edit.

    Where names are hidden, the text is null: the page asks for it when the labeler edits it.
    """

    def answer(side: str, text: str) -> dict[str, str | None]:
        return {"html": markdown_html(text), "text": None if side in item.masked else text}

    ranked = {name: answer("", text) for name, text in zip(LETTERS, item.answers, strict=False)}
    sides = {
        "left": answer("left", item.left),
        "right": answer("right", item.right) if item.mode == "pairs" else None,
    }
    return {
        "assignment": item.assignment,
        "mode": item.mode,
        "revision": item.revision,
        "edit_revision": item.edit_revision,
        "prompt": messages_html(item.prompt),
        **(ranked if item.mode == RANK else sides),
    }


def _saved(store: Store, name: str, receipt: Receipt) -> dict[str, Any]:
    """Return the acknowledgement of what the store has made durable."""
    return {
        "id": receipt.id,
        "saved": True,
        "repeated": receipt.repeated,
        "progress": _progress(store, name),
        "own": _own(store, name).as_json(),
    }


def _quiet(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without a note: nothing new was judged."""
    return answer | {"own": answer["own"] | {"note": None}}


def _own(store: Store, name: str) -> Own:
    """Return what a labeler sees of their own judging."""
    at = now()
    if not _pandas_is_there():
        rows = store.lines("own_verdicts", labeler=name, since=at - SITTING)
        judged = [
            Judged(row["verdict"], row["seconds_spent"], row["chars"], row["created_at"])
            for row in rows
        ]
        return own(judged, at)
    from feedback.judging import lately

    return own(lately(store, name, at), at)


def _nothing_left(progress: dict[str, int]) -> str:
    """Return why there is nothing to judge, when nothing is being made."""
    if progress["comparisons_total"]:
        return "You have judged everything there is. Generate or import more, or come back later."
    return "There is nothing to judge yet: generate answers, or import a file."
