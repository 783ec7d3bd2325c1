"""The gate in front of everything: who may ask for what, from where, and what a browser may do.

Plain ASGI, so that it also stands before Gradio's own routes. A page of another site must not reach
the app, neither by its Origin nor by a host name that it points here. Without accounts the app is
for this machine alone, and whoever reaches it may do all. With accounts every request is that of
somebody: `feedback.roles` says what each may do, and what it does not name is a lead's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback.problems import said_no
from feedback.roles import COMMANDS, LABEL, LOG_IN, OPEN, Rule, may, rule_of
from storage.errors import UserError

if TYPE_CHECKING:
    from feedback.accounts import Person

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
COOKIE = "hone_session"
PERSON = "hone.person"  # where the scope of a request says who asks
ADDRESS = "hone.address"  # and from which address

# Gradio builds its page with inline scripts and `new Function`; handlers in attributes, pages of
# others in frames, and anything from another host are not needed and not allowed.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "script-src-attr 'none'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# Our own pages (log-in, invitation, the labeler's) need neither inline scripts nor `eval`.
OWN_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Known(Protocol):
    """What the gate asks of `accounts.People`."""

    @property
    def in_force(self) -> bool: ...
    def by_session(self, token: str) -> Person | None: ...
    def by_key(self, key: str) -> Person | None: ...
    def is_due(self, token: str) -> bool: ...
    def seen(self, token: str) -> None: ...


@dataclass(frozen=True)
class Reach:
    """By which names the app is reached, and from where."""

    hosts: frozenset[str] = LOOPBACK
    beyond: bool = False  # from other machines: nobody comes in without an account
    behind_proxy: bool = False  # what it says of scheme and address is true

    def scheme(self, headers: Headers) -> str | None:
        """Return "http" or "https" as the browser sees it; None where nobody says so."""
        said = headers.get("x-forwarded-proto", "") if self.behind_proxy else ""
        return said if said in ("http", "https") else None

    def address(self, scope: Scope, headers: Headers) -> str:
        """Return from which address a request comes; of several that a proxy names the nearest."""
        if self.behind_proxy and (said := headers.get("x-forwarded-for", "")):
            return said.rpartition(",")[2].strip()
        return str((scope.get("client") or ("",))[0])


HERE = Reach()


class Gate:
    """Refuse who may not ask, and requests that come from elsewhere; add the security headers."""

    def __init__(self, app: ASGIApp, reach: Reach = HERE, people: Known | None = None) -> None:
        """Stand before an app; `people` is None where it is for this machine alone."""
        self.app, self.reach, self.people = app, reach, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        scheme = self.reach.scheme(headers)
        if scheme is not None:
            scope = {**scope, "scheme": scheme}
        scope = {**scope, ADDRESS: self.reach.address(scope, headers)}
        method = scope.get("method", "GET")
        rule = rule_of(method, scope["path"])
        why = refusal(headers, self.reach.hosts, method=method, scheme=scheme)
        answer: Response | None = said_no(403, why) if why else None
        if answer is None:
            scope, answer = await self._admitted(scope, headers, rule)
        if answer is not None and scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": why or ""})

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                found.update(HEADERS)
                if rule.own:
                    found["Content-Security-Policy"] = OWN_POLICY
                    found.setdefault("Cache-Control", "no-store")
            await send(message)

        return await (answer or self.app)(scope, receive, with_headers)

    async def _admitted(
        self, scope: Scope, headers: Headers, rule: Rule
    ) -> tuple[Scope, Response | None]:
        """Return the scope with who asks in it, and the answer to somebody who may not."""
        if self.people is None or not (self.people.in_force or self.reach.beyond):
            return scope, None
        bearer = bearer_of(headers)
        if rule.role == COMMANDS and bearer is not None:
            return scope, None  # the route compares it with the folder's own token
        person = await self._person(scope, headers, bearer)
        if person is not None:
            scope = {**scope, PERSON: person}
        if rule.role == OPEN:
            return scope, None
        if person is None:
            return scope, unknown(scope, headers)
        if may(person, rule):
            return scope, None
        return scope, forbidden(scope, headers, person)

    async def _person(self, scope: Scope, headers: Headers, bearer: str | None) -> Person | None:
        """Return who asks: by a key where one is shown, else by the browser's session."""
        assert self.people is not None
        if bearer is not None:
            return self.people.by_key(bearer)
        token = session_of(scope, headers)
        person = self.people.by_session(token) if token else None
        if person is not None and self.people.is_due(token):
            with suppress(UserError):  # a full disk: whoever is in stays in
                await asyncio.to_thread(self.people.seen, token)
        return person


def refusal(
    headers: Headers, hosts: Collection[str], *, method: str = "GET", scheme: str | None = None
) -> str | None:
    """Return why a request with these headers is refused, or None where it is welcome.

    A request without an Origin is one that no page of another site can make with effect: a
    navigation, a same-origin GET, the command line. Where the browser says which site asks
    (Sec-Fetch-Site), another one may only lead here, by a link.

    Args:
        scheme: that of the app as the browser sees it, where it is known.

    Example:
        >>> refusal(Headers({"host": "127.0.0.1:7860"}), LOOPBACK) is None
        True
        >>> refusal(Headers({"host": "evil.example"}), LOOPBACK)
        "the host 'evil.example' is not this app: open the address that it printed"
    """
    host = headers.get("host", "")
    if _name(host) not in hosts:
        return f"the host {host!r} is not this app: open the address that it printed"
    origin = headers.get("origin")
    if origin is not None and not _is_own(origin, host, scheme):
        return f"requests from {origin!r} are refused: use the app's own page"
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return None
    if method == "GET" and _is_link(headers):
        return None
    return "requests from a page of another site are refused: use the app's own page"


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return ""


def _is_own(origin: str, host: str, scheme: str | None) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.netloc.lower() == host.lower() and scheme in (None, parts.scheme)


def _is_link(headers: Headers) -> bool:
    """Say whether the browser opens this as a page in a tab, not in a frame or for a script."""
    mode, dest = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest", "document")
    return mode == "navigate" and dest == "document"


def unknown(scope: Scope, headers: Headers) -> Response:
    """Return the answer to nobody: the log-in page for a person, 401 for a program."""
    if scope["type"] == "http" and wants_page(scope, headers):
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{LOG_IN}?next={quote(wanted, safe='')}", 303)
    said = "Nobody is logged in: open the app and log in, or send a key as a Bearer token."
    return said_no(401, said, {"WWW-Authenticate": "Bearer"}, log_in=LOG_IN)


def forbidden(scope: Scope, headers: Headers, person: Person) -> Response:
    """Return the answer to somebody who may not: their own page, or 403 with the reason."""
    if person.scopes is None:
        if scope["type"] == "http" and wants_page(scope, headers):
            return RedirectResponse(LABEL, 303)
        return said_no(403, "This is for leads: ask one to do it.")
    scopes = ", ".join(person.scopes)
    said = f"This key is for {scopes}: use one whose scope fits, and paths under /api/v1 or /v1."
    return said_no(403, said)


def wants_page(scope: Scope, headers: Headers) -> bool:
    """Say whether a browser asks for a page to show."""
    return scope.get("method") == "GET" and "text/html" in headers.get("accept", "")


def bearer_of(headers: Headers) -> str | None:
    """Return what an Authorization header shows, "" where it is of another kind, None without."""
    said = headers.get("authorization")
    if said is None:
        return None
    kind, _, shown = said.partition(" ")
    return shown.strip() if kind.lower() == "bearer" else ""


def cookie_name(scope: Scope) -> str:
    """Return the session cookie's name: behind TLS one that no other host can set."""
    return f"__Host-{COOKIE}" if scope["scheme"] in ("https", "wss") else COOKIE


def session_of(scope: Scope, headers: Headers) -> str:
    """Return the session's token in the cookie, or ""."""
    try:
        found: Any = SimpleCookie(headers.get("cookie", "")).get(cookie_name(scope))
    except CookieError:
        return ""
    return found.value if found is not None else ""


def person_of(scope: Scope) -> Person | None:
    """Return who makes a request; None where there are no accounts, or at an open door."""
    person: Person | None = scope.get(PERSON)
    return person
