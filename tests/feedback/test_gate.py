"""The gate: which hosts and origins are let in, and the headers that every answer carries."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from feedback.gate import LOOPBACK, Gate, refusal
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
