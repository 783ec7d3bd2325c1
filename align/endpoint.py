"""An OpenAI-compatible endpoint of our own: the base and every finished run by name, and
"promoted" for whichever of them was promoted last.

A convenience, so that a product's tests can talk to what was just trained; no serving engine: one
request at a time, and none while a run trains. `GET /v1/models` and `POST /v1/chat/completions`,
whole or as server-sent events. It stands behind the gate like everything: this machine alone, or
with a key for `read`, and no page of another site. What would change the answer and is not done
here is refused by name.

Source: OpenAI's API reference, "Chat completions", as vLLM and llama.cpp serve it.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from align import runs, sides
from align.wire import GenerateRequest, Piece, check_conversation
from feedback.ages import sampler
from feedback.texts import check_text
from storage.errors import BadInput, Busy, NotFound, UserError
from storage.records import Message

if TYPE_CHECKING:
    from align.workspace import Workspace

MOST_BYTES = 4_000_000  # Choice: the longest conversation, a million characters, as JSON
MOST_MESSAGES = 1_000
USUAL_TOKENS = 512  # Choice: of an answer whose length nobody limits; some 40 s on two cores
MOST_TOKENS = 32_768
RETRY_SECONDS = 5  # Choice: about one answer of the embedded model
PROMOTED = "promoted"  # a name that stays the same from round to round
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TAKEN = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
    ]
)
# Say nothing about the text of the answer.
IGNORED = frozenset(
    [
        "user",
        "metadata",
        "store",
        "service_tier",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
    ]
)
# May be sent with the one value that changes nothing.
HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([], ""),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}


class Refused(UserError):
    """A request that cannot be answered, as OpenAI's clients expect to be told."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None,
        retry: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.param, self.code, self.retry = status, param, code, retry


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose values are all checked."""

    model: str  # "base", or a run's id
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stream: bool
    usage: bool  # a stream says at its end how many tokens it had


def read(body: bytes) -> Asked:
    """Return what a request asks for.

    Raises:
        Refused: it is no JSON object, misses something, or asks for what is not done here.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"The request is not JSON ({type(error).__name__}).") from error
    if not isinstance(found, dict):
        raise Refused("The request is not a JSON object.")
    _refuse_unknown(found)
    model = found.get("model")
    if not isinstance(model, str) or not model:
        raise Refused("model is missing: GET /v1/models lists them.", param="model")
    most = "max_completion_tokens" if found.get("max_completion_tokens") else "max_tokens"
    options = found.get("stream_options") or {}
    if not isinstance(options, dict):
        raise Refused("stream_options has to be an object.", param="stream_options")
    return Asked(
        model=model,
        messages=_messages(found.get("messages")),
        max_tokens=int(_number(found, most, 1, MOST_TOKENS, USUAL_TOKENS, whole=True)),
        temperature=_number(found, "temperature", 0, 2, 1.0),
        top_p=_number(found, "top_p", 1e-6, 1, 1.0),
        seed=int(_number(found, "seed", 0, 2**48, secrets.randbelow(2**31), whole=True)),
        stream=_flag(found, "stream"),
        usage=options.get("include_usage") is True,
    )


def _refuse_unknown(found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if name in TAKEN or name in IGNORED or value is None:
            continue
        if name not in HARMLESS or not any(_same(value, one) for one in HARMLESS[name]):
            raise Refused(
                f"{name[:80]} is not supported here: leave it out.",
                param=name[:80], code="unsupported_parameter",
            )  # fmt: skip


def _same(value: Any, harmless: Any) -> bool:
    """Return whether they are equal, 0 and False not being the same."""
    return value == harmless and isinstance(value, bool) == isinstance(harmless, bool)


def _flag(found: Mapping[str, Any], name: str) -> bool:
    value = found.get(name)
    if value not in (None, True, False):
        raise Refused(f"{name} has to be true or false.", param=name)
    return bool(value)


def _number(
    found: Mapping[str, Any], name: str, least: float, most: float, usual: float, *,
    whole: bool = False,
) -> float:  # fmt: skip
    value = found.get(name)
    if value is None:
        return usual
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise Refused(f"{name} has to be {kind} from {least:g} to {most:g}.", param=name)
    return value


def _messages(found: Any) -> tuple[Message, ...]:
    """Return the conversation; a text in parts is put together."""
    if not isinstance(found, list) or not 0 < len(found) <= MOST_MESSAGES:
        raise Refused(f"messages has to be a list of 1 to {MOST_MESSAGES:,}.", param="messages")
    messages = tuple(_message(n, one) for n, one in enumerate(found))
    try:
        check_conversation(messages)
    except BadInput as error:
        raise Refused(str(error), param="messages") from error
    return messages


def _message(number: int, found: Any) -> Message:
    where = f"messages[{number}]"
    role = found.get("role") if isinstance(found, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(ROLES)
        raise Refused(f"{where} needs a role of {known}.", param=f"{where}.role")
    content = found.get("content")
    if isinstance(content, list) and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)
    try:
        text = check_text(content, f"{where}.content")
    except BadInput as error:
        raise Refused(f"{error}.", param=f"{where}.content") from error
    return {"role": ROLES[role], "content": text}


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def error_body(error: UserError) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    kind = "rate_limit_error" if error.status == 429 else kind
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def _answer(error: UserError) -> JSONResponse:
    retry = getattr(error, "retry", None)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    return JSONResponse(error_body(error), error.status, headers)


@dataclass
class Endpoint:
    """The models of one data folder behind the two routes."""

    workspace: Workspace
    turn: threading.Lock  # held while a request is answered

    def models(self) -> Response:
        """List what was promoted, the base, and every finished run, the newest first."""
        done = [one for one in runs.list_runs(self.workspace.data) if one.adapter is not None]
        return JSONResponse(
            {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": 0, "owned_by": "hone"}
                    for name in (PROMOTED, sides.BASE, *(one.run for one in done))
                ],
            }
        )

    async def complete(self, request: Request) -> Response:
        """Answer a conversation, whole or as it grows."""
        try:
            asked = read(await _body(request))
            pieces = await run_in_threadpool(self.begin, asked)
            told = Told(asked, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))
            if asked.stream:
                return StreamingResponse(events(told, pieces), media_type="text/event-stream")
            return JSONResponse(await run_in_threadpool(whole, told, pieces))
        except UserError as error:
            return _answer(error)

    def begin(self, asked: Asked) -> Generator[Piece, None, None]:
        """Return the answer as it grows, its first piece being there; it is our turn until it ends.

        Raises:
            Refused: no such model, the conversation is too long for it, another request is being
                answered, or a run trains.
        """
        adapter, model = self._chosen(asked.model)
        if (going := runs.going_run(self.workspace.data)) is not None:
            left = int(going.seconds_left or 60)
            sentence = f"{runs.busy_sentence(going)}."
            raise Refused(sentence, status=503, code="training", retry=max(1, left))
        if not self.turn.acquire(blocking=False):
            raise Refused(
                "Another request is being answered; one at a time here.",
                status=429, code="busy", retry=RETRY_SECONDS,
            )  # fmt: skip
        pieces = self._pieces(asked, adapter, model)
        try:
            first = next(pieces)
        except Busy as error:
            raise Refused(str(error), status=503, code="busy", retry=RETRY_SECONDS) from error
        return _behind(first, pieces)

    def _chosen(self, name: str) -> tuple[Any, Any]:
        """Return a model's adapter and its base."""
        if name == PROMOTED:
            name = sampler(self.workspace.store) or sides.BASE
        try:
            if name == sides.BASE:
                return None, sides.usual_base(self.workspace.data)
            adapter = runs.load_adapter(self.workspace.data, name)
            return adapter, runs.model_of(self.workspace.data, name)
        except NotFound as error:
            raise Refused(
                f"There is no model {name[:80]!r}: GET /v1/models lists them.",
                status=404, param="model", code="model_not_found",
            ) from error  # fmt: skip

    def _pieces(self, asked: Asked, adapter: Any, model: Any) -> Generator[Piece, None, None]:
        """Yield the answer; gives the turn back at the end, also when nobody reads on."""
        sampling = (asked.max_tokens, asked.temperature, asked.top_p)
        request = GenerateRequest(asked.messages, asked.seed, *sampling, adapter)
        try:
            with closing(self.workspace.client.stream_each([request], model=model)) as pieces:
                for piece in pieces:
                    if piece.cut:
                        raise Refused(
                            f"The conversation is {piece.cut:,} tokens too long for this model.",
                            param="messages", code="context_length_exceeded",
                        )  # fmt: skip
                    yield piece
        finally:
            self.turn.release()


def _behind(first: Piece, rest: Generator[Piece, None, None]) -> Generator[Piece, None, None]:
    with closing(rest):
        yield first
        yield from rest


@dataclass(frozen=True, slots=True)
class Told:
    """What every part of an answer repeats."""

    asked: Asked
    id: str
    created: int  # seconds since 1970

    def part(self, kind: str, choices: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.asked.model,
            "choices": list(choices), **more,
        }  # fmt: skip


def usage(piece: Piece) -> dict[str, int]:
    """Return the tokens of the prompt, of the answer, and of both."""
    total = piece.asked + piece.tokens
    counts = {"prompt_tokens": piece.asked, "completion_tokens": piece.tokens}
    return {**counts, "total_tokens": total}


def whole(told: Told, pieces: Generator[Piece, None, None]) -> dict[str, Any]:
    """Return the complete answer."""
    with closing(pieces):
        piece = deque(pieces, maxlen=1).pop()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": piece.text},
        "finish_reason": "stop" if piece.finished else "length",
    }
    return told.part("chat.completion", [choice], usage=usage(piece))


async def events(told: Told, pieces: Generator[Piece, None, None]) -> AsyncIterator[bytes]:
    """Yield the answer as server-sent events; a reader that goes away ends it."""
    sent = ""
    try:
        yield _event(_chunk(told, {"role": "assistant", "content": ""}))
        async for piece in iterate_in_threadpool(pieces):
            more = piece.text[len(sent) :]
            if more and piece.text.startswith(sent) or piece.done and more:
                yield _event(_chunk(told, {"content": more}))
                sent = piece.text
        yield _event(_chunk(told, {}, "stop" if piece.finished else "length"))
        if told.asked.usage:
            yield _event(told.part("chat.completion.chunk", [], usage=usage(piece)))
        yield b"data: [DONE]\n\n"
    except UserError as error:  # the status has been sent: only the stream itself can tell
        yield _event(error_body(error))
    finally:
        pieces.close()


def _chunk(told: Told, delta: Mapping[str, str], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return told.part("chat.completion.chunk", [choice])


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode("ascii") + b"\n\n"


async def _body(request: Request) -> bytes:
    """Return the body, at most `MOST_BYTES` of it, whatever its header says."""
    got = bytearray()
    async for chunk in request.stream():
        got += chunk
        if len(got) > MOST_BYTES:
            raise Refused(f"The request has more than {MOST_BYTES:,} bytes.", status=413)
    return bytes(got)


def router(workspace: Workspace) -> APIRouter:
    """Return the routes; the app that takes them stands behind the gate."""
    served = Endpoint(workspace, threading.Lock())
    routes = APIRouter(prefix="/v1")
    made: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("GET", "/models", served.models),
        ("POST", "/chat/completions", served.complete),
    )
    for method, path, handler in made:
        routes.add_api_route(
            path, handler, methods=[method], include_in_schema=False, response_model=None
        )
    return routes
