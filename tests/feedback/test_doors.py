"""Log in, accept an invitation, log out: what a browser and a program get."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feedback import api, doors
from feedback.accounts import WRONG, People, people_of
from feedback.gate import HERE, OWN_POLICY, Gate, Reach
from feedback.roles import rule_of
from storage.errors import DiskFull, StoreError, UserError
from storage.records import Labeler, Vote
from storage.store import Store
from tests.feedback.stock import MODELS, stock

LONG = "correct horse battery"
PAGE = {"accept": "text/html,*/*;q=0.8"}
PROXY = Reach(frozenset({"hone.example.org"}), beyond=True, behind_proxy=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def people(store: Store) -> People:
    found = people_of(store)
    found.add("Lea", "lead", LONG, by="root")
    found.add("ann", "labeler", LONG, by="root")
    return found


def app(store: Store, reach: Reach = HERE) -> FastAPI:
    """Return gate, doors and REST; instead of the screens something that only leads may see."""
    made = FastAPI()
    people = people_of(store)
    made.add_middleware(Gate, reach=reach, people=people)
    api.install_errors(made)
    made.include_router(doors.router(people))
    made.include_router(api.router(lambda request: store))
    made.add_api_route("/{rest:path}", lambda rest: {"secret": "canary"}, methods=["GET", "POST"])
    return made


def browser(store: Store, reach: Reach = HERE, base: str = "http://127.0.0.1") -> TestClient:
    return TestClient(app(store, reach), base_url=base, follow_redirects=False)


def log_in(client: TestClient, name: str, password: str = LONG, **more: str) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password, **more}, headers=PAGE)


def test_without_accounts_nobody_is_asked(store: Store) -> None:
    client = browser(store)
    assert client.get("/").json() == {"secret": "canary"}
    assert client.post("/api/v1/labeler", json={"name": "ann"}).json() == {"name": "ann"}
    answer = client.get("/login", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    for path, mode in (("/label", "pairs"), ("/rate", "thumbs")):
        answer = client.get(path, headers=PAGE)
        assert (answer.status_code, f'mode="{mode}"' in answer.text) == (200, True)
        assert "/logout" not in answer.text


def test_reached_from_elsewhere_nobody_comes_in_even_without_accounts(store: Store) -> None:
    client = browser(store, Reach(beyond=True))
    assert client.get("/").status_code == 401


def test_nobody_gets_the_log_in_page_or_401(people: People, store: Store) -> None:
    client = browser(store)
    answer = client.get("/deep?run=r-1", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Fdeep%3Frun%3Dr-1",
    )
    for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/api/v1/items"), ("PUT", "/login")):
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert answer.json()["log_in"] == "/login"
        assert "canary" not in answer.text
    assert client.get("/api/v1/health").json() == {"status": "ok"}


def test_the_log_in_page_is_small_and_runs_no_script(people: People, store: Store) -> None:
    answer = browser(store).get("/login", params={"next": '"><script>alert(1)</script>'})
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert answer.headers["content-security-policy"] == OWN_POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert [name for name in ("Lea", "ann") if name in answer.text] == []


def test_a_lead_comes_to_where_they_wanted_and_a_labeler_to_their_page(
    people: People, store: Store
) -> None:
    for name, wanted, got in (
        ("lea", "", "/"),
        ("Lea", "/?run=r-1", "/?run=r-1"),
        ("Lea", "//evil.example", "/"),
        ("Lea", "https://evil.example/", "/"),
        ("Lea", "/\\evil.example", "/"),
        ("Lea", "/\t/evil.example", "/"),
        ("ann", "/?run=r-1", "/label"),
        ("ann", "/rate", "/rate"),
    ):
        answer = log_in(browser(store), name, next=wanted)
        assert (answer.status_code, answer.headers["location"]) == (303, got)


def test_the_cookie_is_for_this_app_alone_and_behind_tls_for_tls_alone(
    people: People, store: Store
) -> None:
    plain = log_in(browser(store), "ann").headers["set-cookie"]
    assert re.match(
        r"hone_session=[\w-]{43}; HttpOnly; Max-Age=5184000; Path=/; SameSite=lax$", plain
    )
    client = browser(store, PROXY, "https://hone.example.org")
    client.headers["x-forwarded-proto"] = "https"
    answer = log_in(client, "ann")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-hone_session=")
    assert cookie.endswith("; SameSite=lax; Secure")
    assert client.get("/label").status_code == 200


def test_a_wrong_password_says_so_and_many_have_to_wait(people: People, store: Store) -> None:
    client = browser(store)
    for name in ("Lea", "nobody"):
        answer = log_in(client, name, "wrong password")
        assert answer.status_code == 401
        assert WRONG in answer.text
        assert f'value="{name}"' in answer.text
        assert "wrong password" not in answer.text
        assert "set-cookie" not in answer.headers
    answers = [log_in(client, "Lea", "wrong password") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert "try again in" in answers[-1].text
    assert ["retry-after" in answer.headers for answer in answers] == [False, False, True]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_who_logs_out_or_is_ended_is_nobody(people: People, store: Store) -> None:
    client, other = browser(store), browser(store)
    for one in (client, other):
        log_in(one, "ann")
        assert one.get("/label").status_code == 200
    token = client.cookies["hone_session"]
    assert client.post("/logout").headers["location"] == "/login"
    assert "hone_session" not in client.cookies
    assert browser(store).get("/label", cookies={"hone_session": token}).status_code == 401
    people.end("ann", by="Lea")
    assert other.get("/label").status_code == 401
    assert other.get("/label", headers=PAGE).headers["location"] == "/login?next=%2Flabel"


def test_an_invitation_becomes_an_account_once(people: People, store: Store) -> None:
    path = f"/invite/{people.invite('<b>bo</b>', 'labeler', by='Lea')}"
    client = browser(store)
    shown = client.get(path)
    assert "&lt;b&gt;bo&lt;/b&gt;" in shown.text
    assert "<b>bo</b>" not in shown.text
    for password, again, says in (("short", "short", "5 characters"), (LONG, "x", "differ")):
        answer = client.post(path, data={"password": password, "again": again})
        assert answer.status_code == 422
        assert says in answer.text
    answer = client.post(path, data={"password": LONG, "again": LONG})
    assert (answer.status_code, answer.headers["location"]) == (303, "/label")
    assert client.get("/api/v1/labeler").json() == {"name": "<b>bo</b>", "account": True}
    assert "&lt;b&gt;bo&lt;/b&gt;" in client.get("/label").text
    for answer in (browser(store).get(path), browser(store).get("/invite/x")):
        assert answer.status_code == 404
        assert "each one works once" in answer.text


@pytest.mark.parametrize(
    ("trouble", "status"), [(DiskFull("the disk is full"), 507), (StoreError("closed"), 503)]
)
def test_an_invitation_that_cannot_be_kept_says_that_it_is_not_the_forms_fault(
    people: People, store: Store, monkeypatch: pytest.MonkeyPatch, trouble: UserError, status: int
) -> None:
    path = f"/invite/{people.invite('bo', 'labeler', by='Lea')}"

    def fails(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(people, "accept", fails)
    answer = browser(store).post(path, data={"password": LONG, "again": LONG})
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "5")
    assert 'role="alert"' in answer.text


def test_a_labeler_votes_under_the_accounts_name_alone(people: People, store: Store) -> None:
    stock(store, 2)
    client = browser(store)
    log_in(client, "ann")
    client.cookies.set("hone_labeler", "Lea")  # what names people where there are no accounts
    assert client.get("/api/v1/labeler").json() == {"name": "ann", "account": True}
    answer = client.post("/api/v1/labeler", json={"name": "Lea"})
    assert answer.status_code == 403
    assert "log out" in answer.json()["detail"]
    item, *_ = client.get("/api/v1/items").json()["items"]
    body = {"id": "8c1f0b1e-8f6c-4f0e-9d6c-0a3f7e2b1c4d", "assignment": item["assignment"],
            "revision": 0, "verdict": "left"}  # fmt: skip
    assert client.post("/api/v1/votes", json=body).status_code == 201
    assert [vote.labeler for vote in store.rows(Vote)] == ["ann"]
    assert [labeler.id for labeler in store.rows(Labeler)] == ["ann"]


def test_a_labeler_is_told_nothing_of_others_or_of_models(people: People, store: Store) -> None:
    stock(store, 3)
    store.add([Labeler("Zoe Canary", "person")])
    client = browser(store)
    log_in(client, "ann")
    got = []
    for path in ("/label", "/rate", "/api/v1/labeler", "/api/v1/items", "/api/v1/history",
                 "/static/hone/label.js", "/static/hone/colours.css"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200
        got.append(answer.text)
    for path in ("/", "/config", "/gradio_api/info", "/api/v1/meters", "/api/v1/tables/x.csv"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert client.get(path, headers=PAGE).headers["location"] == "/label"
        got.append(answer.text)
    canaries = ("canary", "Canary", "Lea", *MODELS)
    assert [word for word in canaries for text in got if word in text] == []


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        ("read", {"/api/v1/meters", "/v1/models", "/api/openapi.json"}),
        ("feedback", {"/api/v1/items", "/api/v1/labeler", "/api/v1/history"}),
        ("lead", {"/api/v1/meters", "/v1/models", "/api/openapi.json", "/api/v1/items",
                  "/api/v1/labeler", "/api/v1/history"}),
    ],
)  # fmt: skip
def test_a_key_opens_what_its_scope_says(
    people: People, store: Store, scope: str, opens: set[str]
) -> None:
    client = browser(store)
    client.headers["authorization"] = f"Bearer {people.add_key('bot', [scope], by='Lea')}"
    paths = ("/api/v1/meters", "/v1/models", "/api/openapi.json", "/api/v1/items",
             "/api/v1/labeler", "/api/v1/history", "/", "/config", "/label", "/gradio_api/info",
             "/api/v1/commands/x")  # fmt: skip
    got = {path for path in paths if client.get(path).status_code == 200}
    assert got == opens
    refused = client.get("/config")
    assert f"This key is for {scope}" in refused.json()["detail"]
    people.revoke("bot", by="Lea")
    assert {client.get(path).status_code for path in paths} == {401}


def test_a_false_key_opens_nothing_even_beside_a_session(people: People, store: Store) -> None:
    client = browser(store)
    log_in(client, "Lea")
    assert client.get("/").status_code == 200
    for shown in ("Bearer hone_x", "Bearer ", "Basic TGVhOng=", "é".encode()):
        assert client.get("/", headers={"authorization": shown}).status_code == 401


def test_every_file_that_the_pages_load_is_there(store: Store) -> None:
    client = browser(store)
    for name in (*doors.ASSETS, *doors.FONTS, doors.COLOURS):
        path = f"/static/hone/{name}"
        assert rule_of("GET", path).role == "open"
        assert client.get(path).status_code == 200
    assert client.get("/static/hone/label.py").status_code in (200, 404)
    assert "def " not in client.get("/static/hone/label.py").text


@pytest.mark.parametrize(
    "cookie", ["hone_session=é", "hone_session=", "a\x01=b", "=;=;", "x" * 9000]
)
def test_an_odd_cookie_is_nobodys(people: People, store: Store, cookie: str) -> None:
    headers = {"cookie": cookie.encode("latin-1")}
    assert browser(store).get("/label", headers=headers).status_code == 401


def test_a_form_of_many_fields_is_refused(people: People, store: Store) -> None:
    answer = log_in(browser(store), "Lea", **{f"field{n}": "" for n in range(20)})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:hone:problem:bad-input")
    assert "more than 20 fields" in answer.json()["detail"]


def test_a_long_form_is_refused(people: People, store: Store) -> None:
    assert log_in(browser(store), "Lea", "x" * 2_000_000).status_code == 413
