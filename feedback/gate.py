"""The gate in front of everything: who may ask (Host, Origin), what a browser may do (headers).

Plain ASGI, so that it also stands before Gradio's own routes. Without accounts the app is for this
machine alone: a page of another site must not reach it, neither by its Origin nor by a host name
that it points at 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

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
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Gate:
    """Refuse requests that come by another name or from another page; add the security headers."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        why = refusal(Headers(scope=scope), self.hosts)
        if why and scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": why})

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = JSONResponse({"detail": why}, status_code=403) if why else self.app
        return await answer(scope, receive, with_headers)


def refusal(headers: Headers, hosts: Collection[str]) -> str | None:
    """Return why a request with these headers is refused, or None where it is welcome.

    A request without an Origin is one that no page of another site can make with effect: a
    navigation, a same-origin GET, the command line.

    Example:
        >>> refusal(Headers({"host": "127.0.0.1:7860"}), LOOPBACK) is None
        True
        >>> refusal(Headers({"host": "evil.example"}), LOOPBACK)
        "the host 'evil.example' is not this app: open the address that it printed"
    """
    host = headers.get("host", "")
    if (urlsplit(f"//{host}").hostname or "") not in hosts:
        return f"the host {host!r} is not this app: open the address that it printed"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"requests from {origin!r} are refused: use the app's own page"
    return None
