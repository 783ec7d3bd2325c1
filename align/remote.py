"""Run a command inside the server that holds the data folder: the server's side.

`POST /api/v1/commands/{name}`, with the token from LOCK and the parameters as JSON, answers
with a stream of JSON lines: `{"progress": text}` while it works, then `{"result": {…}}`,
`{"error": sentence, "status": n}` for what the user can mend, or `{"bug": traceback}`. Empty lines
keep the stream alive. A client that goes away ends its command at the next progress; a training
that it started goes on. The client's side is `align/calls.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import json
import logging
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from align.commands import COMMANDS, Progress
from align.workspace import Workspace
from feedback.problems import said_no
from storage.errors import BadInput, NotFound, UserError

ALIVE_SECONDS = 1.0  # an empty line after this much silence, so that a dead client is noticed


class Detached(Exception):
    """The client of a command went away; ends the command at its next progress."""


def router(workspace: Workspace) -> APIRouter:
    """Return the one route through which the command line works inside this server."""
    routes = APIRouter(prefix="/api/v1/commands")

    @routes.post("/{name}", include_in_schema=False, response_model=None)
    async def run_command(name: str, request: Request) -> StreamingResponse | JSONResponse:
        if not allowed(request.headers.get("authorization", ""), workspace.token):
            return refusal("this needs the token from the data folder's LOCK file", 403)
        try:
            job = bound(name, await request.body(), workspace)
        except UserError as error:
            return refusal(str(error), error.status)
        return StreamingResponse(stream(job), media_type="application/x-ndjson")

    return routes


def allowed(header: str, token: str) -> bool:
    """Return whether an Authorization header carries the token, in constant time."""
    return hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


def refusal(sentence: str, status: int) -> JSONResponse:
    return said_no(status, sentence)


def bound(name: str, body: bytes, workspace: Workspace) -> Callable[[Progress], dict]:
    """Return the command as a function of its progress callback alone, its parameters checked.

    Raises:
        NotFound: no such command.
        BadInput: the body is no JSON object, or a parameter is missing or unknown.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise NotFound(f"there is no command {name!r}: there are {', '.join(COMMANDS)}")
    try:
        params = json.loads(body or b"{}")
        inspect.signature(command).bind(workspace, progress=print, **params)
    except ValueError as error:
        raise BadInput(f"the parameters of {name!r} are not JSON ({error})") from error
    except TypeError as error:
        raise BadInput(f"the parameters of {name!r} do not fit: {error}") from error
    return lambda progress: command(workspace, progress=progress, **params)


async def stream(job: Callable[[Progress], dict]) -> AsyncIterator[bytes]:
    """Run the job in a thread of its own; yield its progress and its outcome as JSON lines."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    gone = threading.Event()

    def progress(text: str) -> None:
        if gone.is_set():
            raise Detached
        loop.call_soon_threadsafe(lines.put_nowait, {"progress": text})

    def finished(future: Future[dict]) -> None:
        line = outcome(future)
        if not gone.is_set():
            loop.call_soon_threadsafe(lines.put_nowait, line)

    executor = ThreadPoolExecutor(1, thread_name_prefix="hone-command")
    executor.submit(job, progress).add_done_callback(finished)
    executor.shutdown(wait=False)
    try:
        while True:
            try:
                line = await asyncio.wait_for(lines.get(), ALIVE_SECONDS)
            except TimeoutError:
                yield b"\n"
                continue
            yield json.dumps(line).encode() + b"\n"
            if "progress" not in line:
                return
    finally:
        gone.set()


def outcome(future: Future[dict]) -> Mapping[str, Any]:
    """Return the last line of a stream: the result, the user's error, or the bug (also logged)."""
    error = future.exception()
    if error is None:
        return {"result": future.result()}
    if isinstance(error, UserError):
        return {"error": str(error), "status": error.status}
    if isinstance(error, Detached):
        return {"error": "the command line went away", "status": 499}
    logging.getLogger("hone").error("a command met a bug", exc_info=error)
    return {"bug": "".join(traceback.format_exception(error))}
