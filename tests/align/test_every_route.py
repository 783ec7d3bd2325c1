"""Every route and every event of the whole app, as nobody, as a labeler and as a lead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount

from align import screens
from align.later import Later
from align.web import build_web
from align.workspace import Workspace
from feedback.accounts import LEAD, Person, people_of
from feedback.gate import PERSON, Reach
from feedback.roles import COMMANDS, LABELER, OPEN, may, rule_of
from feedback.screens.parts import ask
from storage.records import Session
from storage.tables import TABLES
from tests.awaiting import finish
from tests.feedback.stock import MODELS, stock

LONG = "correct horse battery"
ANN, LEA = Person("ann", "labeler"), Person("Lea", "lead")
OPEN_ROUTES = {
    ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"), ("GET", "/invite/{token}"),
    ("POST", "/invite/{token}"), ("GET", "/api/v1/health"), ("GET", "/static/hone/{name}"),
}  # fmt: skip
LABELERS_ROUTES = {
    ("GET", "/label"), ("GET", "/rate"), ("GET", "/api/v1/labeler"), ("POST", "/api/v1/labeler"),
    ("GET", "/api/v1/items"), ("GET", "/api/v1/items/{assignment}/text"),
    ("GET", "/api/v1/history"), ("GET", "/api/v1/guideline"), ("POST", "/api/v1/votes"),
    ("POST", "/api/v1/rankings"),
    ("POST", "/api/v1/ratings"), ("POST", "/api/v1/edits"), ("GET", "/api/v1/campaigns"),
    ("POST", "/api/v1/remarks"),
}  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FILLED = {"name": "door.css"}  # what stands for a part of a path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace.open(tmp_path_factory.mktemp("routes") / "data") as opened:
        stock(opened.store, 3)
        people = people_of(opened.store)
        people.add("Lea", "lead", LONG, by="root")
        people.add("ann", "labeler", LONG, by="root")
        yield opened


@pytest.fixture(scope="module")
def inner(workspace: Workspace) -> FastAPI:
    """Return the app of the screens, made inside an event loop: where Gradio finds none it makes
    some, and leaves them open."""

    async def make() -> FastAPI:
        return screens.build_screens(workspace)

    return finish(make())


@pytest.fixture(scope="module")
def blocks(inner: FastAPI) -> gr.Blocks:
    (mounted,) = (route.app for route in inner.routes if isinstance(route, Mount))
    return mounted.get_blocks()


@pytest.fixture(scope="module")
def app(workspace: Workspace, inner: FastAPI) -> FastAPI:
    return build_web(workspace, Later(lambda: inner, lambda: None), Reach())


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[FastAPI]:
    with TestClient(app, base_url="http://127.0.0.1"):
        yield app


def client_of(app: FastAPI, name: str | None) -> TestClient:
    client = TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)
    if name:
        assert client.post("/login", data={"name": name, "password": LONG}).status_code == 303
    return client


def templates(app: Any) -> Iterator[str]:
    """Yield the path of every route, of mounted apps too."""
    for route in app.routes:
        if isinstance(route, Mount):
            if hasattr(route.app, "routes"):
                yield from (route.path + path for path in templates(route.app))
        elif hasattr(route, "original_router"):  # what FastAPI keeps of an included router
            yield from templates(route.original_router)
        elif hasattr(route, "path"):
            yield route.path


def routes(app: FastAPI, inner: FastAPI) -> list[tuple[str, str, str]]:
    """Return each method on each path: method, template, path with its parts filled in."""
    found = sorted({*templates(app), *templates(inner)})
    assert len(found) > 80
    assert {"/config", "/gradio_api/queue/join", "/gradio_api/cancel", "/v1/models"} <= set(found)
    filled = [
        (path, re.sub(r"{(\w+)(:\w+)?}", lambda part: FILLED.get(part[1], "x"), path))
        for path in found
    ]
    return [(method, path, real) for path, real in filled for method in METHODS]


def test_every_route_has_the_role_that_it_should_have(app: FastAPI, inner: FastAPI) -> None:
    got: dict[str, set[tuple[str, str]]] = {}
    for method, path, real in routes(app, inner):
        got.setdefault(rule_of(method, real).role, set()).add((method, path))
    assert got[OPEN] == OPEN_ROUTES
    assert got[LABELER] == LABELERS_ROUTES
    assert got[COMMANDS] == {("POST", "/api/v1/commands/{name}")}
    assert len(got[LEAD]) > 500
    for method, _, real in routes(app, inner):
        rule = rule_of(method, real)
        assert may(LEA, rule) == (rule.role != COMMANDS)
        assert may(ANN, rule) == (rule.role in (OPEN, LABELER))


def test_nobody_gets_401_everywhere_but_at_the_open_doors(
    served: FastAPI, inner: FastAPI, workspace: Workspace
) -> None:
    client = client_of(served, None)
    walked = 0
    for method, path, real in routes(served, inner):
        if (method, path) in OPEN_ROUTES:
            continue
        answer = client.request(method, real)
        assert answer.status_code == 401, (method, real)
        assert "Hone" not in answer.text
        walked += 1
    assert walked > 500


def test_a_labeler_gets_403_everywhere_but_at_their_own(served: FastAPI, inner: FastAPI) -> None:
    client = client_of(served, "ann")
    for method, path, real in routes(served, inner):
        if (method, path) in OPEN_ROUTES | LABELERS_ROUTES:
            continue
        answer = client.request(method, real)
        assert answer.status_code == 403, (method, real)
        assert method == "HEAD" or answer.text.startswith('{"detail":"This is for leads')


def test_paths_that_only_look_open_are_not(served: FastAPI) -> None:
    client = client_of(served, None)
    for path in ("/login/", "/login/x", "/invite/", "/invite/x/y", "/static/hone/", "//login",
                 "/static/hone/x/../../../config", "/static/hone/%2e%2e/config", "/login%0a",
                 "/static/hone/..%2f..%2fconfig", "/api/v1/health/", "/LOGIN", "/login;x",
                 "/static/hone/label.js%00", "/label/../config", "/gradio_api/file=/etc/passwd",
                 "/static/fonts/x", "/invite/%E2%80%AE", "/api/v1/health%20"):  # fmt: skip
        assert client.get(path).status_code == 401, path


def test_every_event_has_a_role_and_is_refused_to_others(blocks: gr.Blocks) -> None:
    asked = {id: one.fn for id, one in blocks.fns.items() if one.fn is not None}
    assert len(asked) > 50
    assert {id: getattr(fn, "role", None) for id, fn in asked.items()} == dict.fromkeys(asked, LEAD)


def test_no_event_runs_for_nobody_or_a_labeler(
    served: FastAPI, blocks: gr.Blocks, workspace: Workspace
) -> None:
    before = {kind: workspace.store.count(kind) for kind in TABLES}
    for name, refused in ((None, 401), ("ann", 403)):
        client = client_of(served, name)
        for id in blocks.fns:
            body = {"fn_index": id, "data": [], "session_hash": "x", "trigger_id": None}
            for path in ("queue/join", "run/predict", "api/predict", f"call/{id}", "cancel"):
                answer = client.post(f"/gradio_api/{path}", json=body)
                assert answer.status_code == refused, (path, id)
    after = {kind: workspace.store.count(kind) for kind in TABLES}
    assert after == before | {Session: before[Session] + 1}  # ann's, and nothing else


def test_the_second_door_calls_no_handler_for_a_labeler() -> None:
    """Should the gate ever let somebody through, the wrapper around each handler does not."""
    called: list[str] = []

    def handler(what: str, *, by: str) -> str:
        called.append(f"{by} {what}")
        return what

    asked = ask(handler)
    for person, runs in ((ANN, False), (Person("bot", "lead", ("lead",)), False), (LEA, True)):
        request = gr.Request(SimpleNamespace(scope={PERSON: person}))  # type: ignore[arg-type]
        if runs:
            assert asked(request, "it") == "it"
        else:
            with pytest.raises(gr.Error, match="for leads"):
                asked(request, "it")
    assert asked(None, "alone") == "alone"
    assert called == ["Lea it", "lead alone"]


def test_a_lead_has_the_page_and_a_labeler_none_of_it(served: FastAPI) -> None:
    lead = client_of(served, "Lea")
    config = lead.get("/config")
    assert config.status_code == 200
    assert "Quality" in config.text
    assert "Promote" in config.text
    assert lead.get("/api/v1/news", params={"of": "votes"}).status_code == 200
    labeler = client_of(served, "ann")
    shown = labeler.get("/label").text + labeler.get("/api/v1/items").text
    hidden = ("Quality", "Promote", "gradio", "Lea", *MODELS)
    assert [word for word in hidden if word in shown] == []


def test_a_command_needs_the_folders_token(served: FastAPI, workspace: Workspace) -> None:
    client = client_of(served, "Lea")
    path = "/api/v1/commands/runs"
    assert client.post(path).status_code == 403  # not even a lead's browser
    right = {"authorization": f"Bearer {workspace.token}"}
    assert client_of(served, None).post(path, headers=right).status_code == 200
    wrong = {"authorization": "Bearer x"}
    assert client_of(served, None).post(path, headers=wrong).status_code == 403


def test_a_key_opens_what_its_scope_says_and_a_labelers_session_none_of_it(
    served: FastAPI, workspace: Workspace
) -> None:
    people, client = people_of(workspace.store), client_of(served, None)
    sent, taken = ("POST", "/api/v1/feedback"), ("GET", "/api/v1/export?format=votes")
    for scope, opens in (("feedback", {sent}), ("read", {taken}), ("lead", {sent, taken})):
        shown = {"authorization": f"Bearer {people.add_key(scope, [scope], by='Lea')}"}
        for method, path in (sent, taken):
            answer = client.request(method, path, headers=shown, content=b"3")
            assert (answer.status_code == 403) == ((method, path) not in opens), (scope, path)
            assert method == "GET" or answer.headers["content-type"] == "application/problem+json"
    for method, path in (sent, taken):
        assert client_of(served, "ann").request(method, path).status_code == 403


def test_the_api_answers_for_itself_where_it_has_no_such_path_or_method(served: FastAPI) -> None:
    client = client_of(served, "Lea")
    for method, path, status in (
        ("GET", "/api/v1/nothing", 404),
        ("PUT", "/api/v1/votes", 405),
        ("GET", "/api/v1/responses", 405),
        ("POST", "/api/x", 404),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status), path
        assert answer.headers["content-type"] == "application/problem+json"
