"""A client of any model behind an OpenAI-compatible address: vLLM, llama.cpp, Ollama, a provider.

The other end is a stranger: it may be slow, answer anything, and send without end. A reply is read
up to a size and a time, its text is nothing but text, and no redirect is followed, so that the key
goes to the address that was named and nowhere else. Knows no torch.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feedback.values import shown
from storage.errors import BadInput, UserError
from storage.records import Message

if TYPE_CHECKING:
    import httpx

KEY = "HONE_ENDPOINT_KEY"  # the environment variable that holds the key, if one is needed
# And the one that names the hosts that get it: who types an address is not always whose key it is.
HOSTS = "HONE_ENDPOINT_HOSTS"
OWN_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})  # which need no naming
EXAMPLE = "http://127.0.0.1:8000/v1#model"
TIMEOUT = 120.0  # seconds. Choice: a large model on a busy machine needs a minute for a long answer
CONNECT_SECONDS = 10.0  # Choice: a machine that is there answers at once, also across an ocean
LIST_SECONDS = 5.0  # Choice: the list of models only makes an error message better
MOST_BYTES = 4 * 2**20  # Choice: an answer of 4,096 tokens as events is about 1 MB
TRIES = 4  # Choice: with the pauses below, seven seconds of "not now" before a person hears of it
PAUSE = 1.0  # seconds before the second try, doubled each time
MOST_PAUSE = 20.0  # seconds. Choice: who asks for a longer pause is better asked again by a person
NOT_NOW = frozenset({429, 503})
POLL_SECONDS = 0.1  # how soon a stop is noticed while the model says nothing
WAITING = 64  # pieces of an answer read ahead of who shows them
LISTED = 10  # names of models in an error message
MOST_NAME = 200  # characters
CUT = frozenset({"length", "content_filter"})  # reasons to end that are not the model's own

Sleep = Callable[[float], None]


class EndpointFailed(UserError):
    """The model behind an address did not answer, or not in a way that can be used."""

    status = 424


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model that somebody else runs."""

    address: str  # "http://127.0.0.1:8000/v1"
    model: str  # the name under which it is served
    key: str = field(default="", repr=False)  # sent as a bearer token; never stored or shown

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that "http://host:8000/v1#model" names.

        Its key is HONE_ENDPOINT_KEY where the host is this computer or named, alone or with its
        port, in HONE_ENDPOINT_HOSTS ("api.example.com, gpu-1:8000"); others get none.

        Raises:
            BadInput: it is no such address, or it holds a password.
        """
        address, _, model = text.strip().partition("#")
        parts = _parts(address, text)
        if parts.username or parts.password:
            raise BadInput(
                "a name or password in an address is shown and stored with it: leave it out, and "
                f"give the key in the environment variable {KEY}."
            )
        named = model.strip() and model.isprintable() and len(model) <= MOST_NAME
        if parts.query or not named:
            raise BadInput(f"{shown(text)} does not name a model: write it as {EXAMPLE}.")
        key = os.environ.get(KEY, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise BadInput(f"the key in {KEY} has characters that no key has: set it again.")
        known = OWN_HOSTS | {one.strip().lower() for one in os.environ.get(HOSTS, "").split(",")}
        trusted = parts.hostname in known or parts.netloc.lower() in known
        return cls(address.strip().rstrip("/"), model.strip(), key if trusted else "")

    @property
    def name(self) -> str:
        """Return how it is shown: "model @ host:8000"."""
        return f"{self.model} @ {urlsplit(self.address).netloc}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or as much of it as is there."""

    text: str
    finished: bool  # it ended by itself; False: cut at `max_tokens`, or more is to come
    tokens: int | None  # of the answer; None where the model did not say


def complete(
    endpoint: Endpoint,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    timeout: float = TIMEOUT,
    sleep: Sleep = time.sleep,
) -> Reply:
    """Return the model's whole answer.

    Args:
        timeout: seconds for one try.
        sleep: waits so many seconds before the next try, where the model says "not now".

    Raises:
        EndpointFailed: it cannot be reached, refuses, or answers what cannot be used.
    """
    body = _body(endpoint, messages, max_tokens, temperature, seed)
    with _answer(endpoint, body, timeout, sleep) as chunks:
        raw = b"".join(chunks)
    found = _object(endpoint, raw)
    choice = _choice(endpoint, found)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return Reply(_text(endpoint, text), choice.get("finish_reason") not in CUT, _tokens(found))


def stream(
    endpoint: Endpoint,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
    sleep: Sleep = time.sleep,
) -> Iterator[Reply]:
    """Yield the answer as it grows, each time all of it; the last one says how it ended.

    A stop, or a reader that goes away, ends the request too, so that nobody generates for nothing.

    Args:
        stopped: asked ten times a second; True ends it with what is there.
        timeout: seconds for one try, from the request to the last word.

    Raises:
        EndpointFailed: as `complete`; also if it breaks off in the middle.
    """
    body = _body(endpoint, messages, max_tokens, temperature, seed) | {"stream": True}
    with _aside(partial(_replies, endpoint, body, timeout, sleep)) as arrived:
        while not stopped():
            try:
                reply = arrived.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if reply is None:
                return
            if isinstance(reply, BaseException):
                raise reply
            yield reply


def models(endpoint: Endpoint) -> list[str]:
    """Return the names of the models that the address serves; none where it does not say."""
    try:
        with _asked(endpoint, "GET", "/models", None, LIST_SECONDS) as (status, _, chunks):
            found = _object(endpoint, b"".join(chunks)) if status == 200 else {}
    except EndpointFailed:
        return []
    rows = found.get("data")
    names = (
        [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    )
    return [name for name in names if isinstance(name, str)]


@contextmanager
def _aside(make: Callable[[_Line], Iterator[Reply]]) -> Iterator[queue.Queue]:
    """Run an iterator in a thread of its own; give what it yields, an error, or None at the end.

    Leaving the block hangs up, whatever the thread waits for.
    """
    arrived: queue.Queue[Reply | BaseException | None] = queue.Queue(WAITING)
    line = _Line()

    def give(what: Reply | BaseException | None) -> None:
        while not line.over.is_set():
            with suppress(queue.Full):
                return arrived.put(what, timeout=POLL_SECONDS)

    def run() -> None:
        try:
            for reply in make(line):
                give(reply)
            give(None)
        except BaseException as error:  # noqa: BLE001  (raised again where it is read)
            give(error)

    threading.Thread(target=run, name="hone-endpoint", daemon=True).start()
    try:
        yield arrived
    finally:
        line.hang_up()


class _Line:
    """The connection of a request, so that another thread can end it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.socket: socket.socket | None = None

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """Take the connection as soon as it stands, and again inside TLS: long before headers come.

        Source: https://www.encode.io/httpcore/extensions/#trace
        """
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self.socket = told["return_value"].get_extra_info("socket")
            if self.over.is_set():
                self.hang_up()

    def hang_up(self) -> None:
        self.over.set()
        if self.socket is not None:
            with suppress(OSError):  # it is closed already
                self.socket.shutdown(socket.SHUT_RDWR)


def _replies(
    endpoint: Endpoint, body: Mapping[str, Any], timeout: float, sleep: Sleep, line: _Line
) -> Iterator[Reply]:
    """Yield the growing answer of a stream of server-sent events."""
    text, tokens, reason, done = "", None, None, False
    with _answer(endpoint, body, timeout, sleep, line) as chunks:
        for data in _events(chunks):
            if data == "[DONE]":
                done = True
                break
            event = _object(endpoint, data)
            tokens = _tokens(event) or tokens
            if event.get("choices") == []:
                continue  # the figures at the end come without a choice
            choice = _choice(endpoint, event)
            reason = choice.get("finish_reason") or reason
            delta = choice.get("delta")
            more = delta.get("content") if isinstance(delta, dict) else choice.get("text")
            if more:
                text += _text(endpoint, more)
                yield Reply(text, False, tokens)
    if not done and reason is None:
        raise EndpointFailed(
            f"{endpoint.name} broke off after {len(text):,} characters of its answer: ask again."
        )
    yield Reply(text, reason not in CUT, tokens)


def _events(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the data of each whole server-sent event; half a one at the end is left out.

    Source: WHATWG HTML, "Server-sent events", section 9.2.6.
    """
    waiting: list[bytes] = []  # the pieces of a line whose end is still to come
    data: list[str] = []
    for chunk in chunks:
        waiting.append(chunk)
        if b"\n" not in chunk:
            continue
        *lines, rest = b"".join(waiting).split(b"\n")
        waiting = [rest]
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
            elif not line and data:
                yield "\n".join(data)
                data = []


@contextmanager
def _answer(
    endpoint: Endpoint,
    body: Mapping[str, Any],
    timeout: float,
    sleep: Sleep,
    line: _Line | None = None,
) -> Iterator[Iterator[bytes]]:
    """Ask, again where the answer is "not now", and give the body of a good answer in pieces."""
    for attempt in range(1, TRIES + 1):
        if line and line.over.is_set():
            raise EndpointFailed(f"{endpoint.name} was not waited for.")
        with _asked(endpoint, "POST", "/chat/completions", body, timeout, line) as found:
            status, headers, chunks = found
            if status == 200:
                yield chunks
                return
            said = b"".join(chunks)
        if status not in NOT_NOW or attempt == TRIES:
            raise _refused(endpoint, status, said)
        sleep(_pause(attempt, headers.get("retry-after", "")))


@contextmanager
def _asked(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    timeout: float,
    line: _Line | None = None,
) -> Iterator[tuple[int, Mapping[str, str], Iterator[bytes]]]:
    """Send one request; give the status, the headers and the body, read within size and time."""
    import httpx

    headers = {"accept-encoding": "identity"}  # so that few bytes cannot become many
    if endpoint.key:
        headers["authorization"] = f"Bearer {endpoint.key}"
    until = time.monotonic() + timeout
    limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
    parts = urlsplit(endpoint.address)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")  # no proxy reaches those
    tls = parts.scheme == "https"  # reading the certificates takes longer than a short answer
    url = endpoint.address + path
    told = {"trace": line.trace} if line else {}
    try:
        with (
            httpx.Client(timeout=limits, trust_env=not local, verify=tls) as client,
            client.stream(method, url, json=body, headers=headers, extensions=told) as response,
        ):
            if response.headers.get("content-encoding", "identity") != "identity":
                raise EndpointFailed(
                    f"{endpoint.name} sends its answer compressed, which was not asked for: turn "
                    "compression off there."
                )
            yield response.status_code, response.headers, _within(endpoint, response, until)
    except httpx.TimeoutException as error:
        raise _too_slow(endpoint, timeout) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EndpointFailed(
            f"{endpoint.address} cannot be reached ({type(error).__name__}): check the address, "
            "and that the model's server runs."
        ) from error
    except TimeoutError as error:
        raise _too_slow(endpoint, timeout) from error


def _within(endpoint: Endpoint, response: httpx.Response, until: float) -> Iterator[bytes]:
    """Yield the body up to `MOST_BYTES`, and until then."""
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > MOST_BYTES:
            raise EndpointFailed(
                f"{endpoint.name} sent more than {MOST_BYTES // 2**20} MB for one answer: nothing "
                "of it was kept; check what runs there."
            )
        if time.monotonic() > until:
            raise TimeoutError
        yield chunk


def _too_slow(endpoint: Endpoint, timeout: float) -> EndpointFailed:
    return EndpointFailed(
        f"{endpoint.name} did not finish its answer within {timeout:g} seconds: ask for fewer "
        "tokens, or try again when it has less to do."
    )


def _refused(endpoint: Endpoint, status: int, said: bytes) -> EndpointFailed:
    """Return what a status other than 200 means, and what to do about it."""
    if status in (401, 403) and not endpoint.key:
        return EndpointFailed(
            f"{endpoint.address} asks for a key and got none ({status}): set {KEY}, name "
            f"{urlsplit(endpoint.address).hostname} in {HOSTS}, and start again."
        )
    if status in (401, 403):
        return EndpointFailed(
            f"{endpoint.address} refuses the key ({status}): set {KEY} to one that it accepts and "
            "start again."
        )
    if status == 404:
        if names := models(endpoint):
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            listed = ", ".join(shown(name) for name in names[:LISTED])
            return EndpointFailed(
                f"{endpoint.address} has no model {shown(endpoint.model)}: it has {listed}{more}."
            )
        return EndpointFailed(
            f"{endpoint.address} has no model {shown(endpoint.model)}, or is not the address of an "
            f"OpenAI-compatible server (404): mostly it ends in /v1, as in {EXAMPLE}."
        )
    if 300 <= status < 400:
        return EndpointFailed(
            f"{endpoint.address} sends one elsewhere ({status}), and the key goes nowhere else: "
            "give the address where the model really is."
        )
    if status in NOT_NOW:
        return EndpointFailed(
            f"{endpoint.name} has too much to do ({status}, {TRIES} tries): try again later."
        )
    found: object = None
    with suppress(ValueError, RecursionError):
        found = json.loads(said)
    reason = _reason(found)
    told = f", and says {shown(reason)}" if reason else ""
    return EndpointFailed(
        f"{endpoint.name} answered {status} instead of text{told}: look into its log."
    )


def _reason(found: object) -> str:
    """Return the message of an error's JSON, where it has one."""
    error = found.get("error", found) if isinstance(found, dict) else {}
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def _pause(attempt: int, asked: str) -> float:
    """Return how many seconds to wait after a try; the server's wish counts up to `MOST_PAUSE`."""
    wish = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0.0
    return min(max(PAUSE * 2 ** (attempt - 1), wish), MOST_PAUSE)


def _body(
    endpoint: Endpoint,
    messages: Sequence[Message],
    max_tokens: int,
    temperature: float,
    seed: int,
) -> dict[str, Any]:
    return {
        "model": endpoint.model,
        "messages": [{"role": one["role"], "content": one["content"]} for one in messages],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed % 2**31,  # some servers keep it in 32 bits
    }


def _object(endpoint: Endpoint, raw: bytes | str) -> dict[str, Any]:
    """Return the JSON object that was sent."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unusable(endpoint, "no JSON") from error
    if not isinstance(found, dict):
        raise _unusable(endpoint, "JSON without an answer")
    if "error" in found and not found.get("choices"):
        raise _unusable(endpoint, f"an error, {shown(_reason(found))}")
    return found


def _choice(endpoint: Endpoint, found: Mapping[str, Any]) -> dict[str, Any]:
    choices = found.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise _unusable(endpoint, "JSON without an answer")
    return choices[0]


def _text(endpoint: Endpoint, content: object) -> str:
    """Return an answer's text as it can be stored; a model that only thought has said nothing."""
    if content is None:
        return ""
    if not isinstance(content, str):
        raise _unusable(endpoint, f"an answer that is no text, but {type(content).__name__}")
    return content.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _tokens(found: Mapping[str, Any]) -> int | None:
    usage = found.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**31 else None


def _unusable(endpoint: Endpoint, what: str) -> EndpointFailed:
    return EndpointFailed(
        f"{endpoint.name} sent {what}: check that the address is that of an OpenAI-compatible "
        "server."
    )


def _parts(address: str, text: str) -> Any:
    """Return the parts of an http or https address."""
    try:
        parts = urlsplit(address.strip())
        parts.port  # noqa: B018  (refuses a port that is none)
    except ValueError as error:
        raise BadInput(f"{shown(text)} is no address ({error}): write it as {EXAMPLE}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{shown(text)} is no http or https address: write it as {EXAMPLE}.")
    return parts
