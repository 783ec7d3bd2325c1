"""The gate: which hosts and origins are let in, and the headers that every answer carries."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from feedback.gate import LOOPBACK, Gate, Reach, refusal
from tests.awaiting import finish


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "[::1]:7860", "localhost"])
def test_this_machine_is_let_in_by_each_of_its_names(host: str) -> None:
    assert refusal(Headers({"host": host}), LOOPBACK) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7860", "", "[::2]:1"]
)
def test_a_name_that_only_points_here_is_refused(host: str) -> None:
    """DNS rebinding: the page of another site, its name pointed at 127.0.0.1."""
    assert "not this app" in (refusal(Headers({"host": host}), LOOPBACK) or "")


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://127.0.0.1:7860", True),
        ("http://127.0.0.1:7861", False),
        ("http://localhost:7860", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_the_own_page_may_ask_with_an_origin(origin: str, welcome: bool) -> None:
    headers = Headers({"host": "127.0.0.1:7860", "origin": origin})
    assert (refusal(headers, LOOPBACK) is None) is welcome


def ask(headers: dict[str, str], method: str = "POST") -> httpx.Response:
    """Send one request through the gate to an app that says hello."""

    def hello(request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Gate(Starlette(routes=[Route("/", hello, methods=["GET", "POST"])]))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, "/", headers=headers)

    return finish(send())


def test_another_page_gets_403_with_a_sentence_and_no_cors_header() -> None:
    answer = ask({"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "https://evil.example" in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_forbids_frames_handlers_in_attributes_and_other_hosts() -> None:
    for headers in ({}, {"origin": "https://evil.example"}):
        answer = ask(headers)
        policy = answer.headers["content-security-policy"].split("; ")
        for rule in (
            "default-src 'self'",
            "script-src-attr 'none'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'self'",
            "frame-ancestors 'none'",
        ):
            assert rule in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


# Requests of other pages, names and frames

REACHED = Reach(LOOPBACK | {"hone.example.org"}, beyond=True, behind_proxy=True)
ELSEWHERE = [
    # method, Host, Origin, Sec-Fetch-Site, -Mode, -Dest, X-Forwarded-Proto
    *(("GET", host, "", "", "", "", "") for host in (
        "evil.example", "hone.example.org.evil.example", "xhone.example.org", "0.0.0.0:7860",
        "192.0.2.1", "[::2]", "[::1", "hone.example.org@evil.example", "",
    )),
    *((method, host, origin, "", "", "", "") for method in ("GET", "POST") for host, origin in (
        ("127.0.0.1:7860", "http://127.0.0.1:7861"),
        ("127.0.0.1:7860", "http://localhost:7860"),
        ("127.0.0.1:7860", "null"),
        ("127.0.0.1:7860", "http://127.0.0.1:7860.evil.example"),
        ("127.0.0.1:7860", "http://[::1"),
        ("hone.example.org", "https://evil.example"),
        ("hone.example.org", "https://www.hone.example.org"),
        ("hone.example.org", "https://hone.example.org.evil.example"),
        ("hone.example.org", "https://hone.example.org:8443"),
    )),
    *(("POST", "hone.example.org", origin, "", "", "", "https") for origin in (
        "http://hone.example.org", "file://hone.example.org", "ftp://hone.example.org",
    )),
    *(("GET", "hone.example.org", "", site, mode, dest, "") for site in ("cross-site", "same-site")
      for mode, dest in (
        ("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"),
        ("navigate", "iframe"), ("websocket", "websocket"),
    )),
    ("POST", "hone.example.org", "", "cross-site", "navigate", "document", ""),
    ("POST", "hone.example.org", "", "same-site", "navigate", "document", ""),
    ("GET", "hone.example.org", "", "odd", "", "", ""),
]  # fmt: skip
NAMES = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
         "x-forwarded-proto")  # fmt: skip


@pytest.mark.parametrize("combination", ELSEWHERE, ids=str)
def test_what_comes_from_elsewhere_is_refused(combination: tuple[str, ...]) -> None:
    assert len(ELSEWHERE) >= 40
    method, *values = combination
    headers = Headers({name: value for name, value in zip(NAMES, values, strict=True) if value})
    scheme = REACHED.scheme(headers)
    assert refusal(headers, REACHED.hosts, method=method, scheme=scheme) is not None


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("GET", ("127.0.0.1:7860",)),
        ("GET", ("HONE.example.org:443", "", "none", "navigate", "document", "https")),
        ("GET", ("hone.example.org", "", "cross-site", "navigate", "document")),  # a link in a mail
        ("POST", ("hone.example.org", "https://hone.example.org", "same-origin", "cors", "empty")),
        ("POST", ("hone.example.org", "https://hone.example.org", "", "", "", "https")),
        ("POST", ("localhost:1", "http://localhost:1", "same-origin", "navigate", "document")),
    ],
)
def test_the_own_page_a_link_and_a_program_are_let_in(method: str, values: tuple[str, ...]) -> None:
    found = {name: value for name, value in zip(NAMES, values, strict=False) if value}
    headers = Headers(found)
    scheme = REACHED.scheme(headers)
    assert refusal(headers, REACHED.hosts, method=method, scheme=scheme) is None


def test_what_only_a_proxy_may_say_is_believed_of_a_proxy_alone() -> None:
    headers = Headers({"x-forwarded-proto": "https", "x-forwarded-for": "1.1.1.1, 2.2.2.2"})
    scope = {"client": ("127.0.0.1", 5)}
    assert Reach().scheme(headers) is None
    assert Reach().address(scope, headers) == "127.0.0.1"
    assert REACHED.scheme(headers) == "https"
    assert REACHED.address(scope, headers) == "2.2.2.2"  # what a browser itself sent is before it
