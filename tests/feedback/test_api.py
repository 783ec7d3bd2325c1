"""The REST routes: what a page gets and sends, what is refused, and many pages at once."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feedback.api import COOKIE, LOW_STOCK, install_errors, router, ways
from feedback.campaigns import set_collecting
from feedback.collecting import make, set_state
from feedback.front import Front
from storage.records import Assignment, Labeler, Remark, Vote
from storage.store import Store
from tests.feedback.stock import MODELS, fill, stock

VOTE = {"id": "8c1f0b1e-8f6c-4f0e-9d6c-0a3f7e2b1c4d", "assignment": "x", "revision": 0}


class Woken:
    """Stands for generation: counts how often it was woken."""

    def __init__(self) -> None:
        self.times = 0
        self.says: str | None = None

    def wake(self) -> None:
        self.times += 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture(params=["front", "router"])
def app(store: Store, woken: Woken, request: pytest.FixtureRequest) -> FastAPI:
    """Return the routes as the app has them, and without what takes verdicts before the router."""
    made = FastAPI()
    install_errors(made)
    if request.param == "front":
        made.add_middleware(Front, ways=ways(lambda _: store))
    made.include_router(router(lambda _: store, lambda: woken.says, woken.wake))
    return made


def signed_in(app: FastAPI, name: str = "ada") -> TestClient:
    client = TestClient(app, raise_server_exceptions=False)
    assert client.post("/api/v1/labeler", json={"name": name}).status_code == 200
    return client


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return signed_in(app)


def items(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/items", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def send(client: TestClient, item: dict[str, Any], verdict: str, **more: Any):
    body = {
        "id": str(uuid.uuid4()),
        "assignment": item["assignment"],
        "revision": item["revision"],
        "verdict": verdict,
    }
    return client.post("/api/v1/votes", json=body | more)


def test_the_server_says_that_it_is_there(app):
    assert TestClient(app).get("/api/v1/health").json() == {"status": "ok"}


def test_a_name_is_asked_once_and_kept_in_a_cookie_that_scripts_cannot_read(app, store):
    client = TestClient(app)
    assert client.get("/api/v1/labeler").json() == {"name": None}
    answer = client.post("/api/v1/labeler", json={"name": "  Žofie O’Brien; 李 "})
    assert answer.json() == {"name": "Žofie O’Brien; 李"}
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/api/v1/labeler").json() == {"name": "Žofie O’Brien; 李"}
    assert [x.id for x in store.rows(Labeler)] == ["Žofie O’Brien; 李"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "name has 0 characters: use 1 to 80"),
        ("   ", "name has 0 characters"),
        ("x" * 81, "name has 81 characters"),
        ("a\nb", "control character U+000A"),
        ("a\x00", "control character U+0000"),
        ("a\u202eb", "control character U+202E"),
        ("sim-1", "kept for simulated and imported labelers"),
        ("Imported", "kept for simulated and imported labelers"),
        (7, "name is 7"),
        (None, "name is None"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(app, name, says):
    answer = TestClient(app).post("/api/v1/labeler", json={"name": name})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_the_name_of_an_imported_labeler_is_taken(app, store):
    store.add([Labeler("judge 7", "import")])
    answer = TestClient(app).post("/api/v1/labeler", json={"name": "judge 7"})
    assert answer.status_code == 409
    assert "use another name" in answer.json()["detail"]


@pytest.mark.parametrize("cookie", ["", "sim-1", "%00", "%ff", "x" * 500])
def test_nobody_is_served_without_a_name(app, cookie):
    client = TestClient(app, cookies={COOKIE: cookie} if cookie else None)
    for answer in (
        client.get("/api/v1/items"),
        client.get("/api/v1/history"),
        client.post(
            "/api/v1/votes", json={"id": "", "assignment": "", "revision": 0, "verdict": ""}
        ),
    ):
        assert answer.status_code == 401
        assert "POST /api/v1/labeler" in answer.json()["detail"]


def test_a_known_cookie_is_enough_after_the_data_folder_was_changed(app, store):
    stock(store, 1)
    client = TestClient(app, cookies={COOKIE: "ada"})
    assert len(items(client)) == 1
    assert [x.id for x in store.rows(Labeler)] == ["ada"]


def test_an_item_has_safe_html_plain_text_and_no_model(client, store):
    fill(store, [("<script>alert(1)</script> **bold**", "plain <b>b</b>")])
    answer = client.get("/api/v1/items")
    (item,) = answer.json()["items"]
    assert set(item) == {
        "assignment", "mode", "revision", "edit_revision", "prompt", "left", "right",
    }  # fmt: skip
    assert item["prompt"][0]["role"] == "user"
    both = item["left"]["html"] + item["right"]["html"]
    assert "<script>" not in both
    assert "<b>" not in both
    assert "<strong>bold</strong>" in both
    assert {item["left"]["text"], item["right"]["text"]} == {
        "<script>alert(1)</script> **bold**",
        "plain <b>b</b>",
    }
    assert not any(model in answer.text for model in MODELS)
    assert answer.headers["cache-control"] == "no-store"


def test_a_name_in_an_answer_is_sent_only_to_whom_edits_it(app, client, store):
    fill(store, [("I'm ChatGPT, made by OpenAI.", "I am a bridge.")])
    answer = client.get("/api/v1/items")
    (item,) = answer.json()["items"]
    assert "ChatGPT" not in answer.text
    assert "OpenAI" not in answer.text
    sides = {item[side]["text"]: side for side in ("left", "right")}
    assert set(sides) == {None, "I am a bridge."}
    masked = sides[None]
    assert "made by [hidden]" in item[masked]["html"]
    path = f"/api/v1/items/{item['assignment']}/text"
    asked = client.get(path, params={"side": masked})
    assert asked.json() == {"text": "I'm ChatGPT, made by OpenAI."}
    assert asked.headers["cache-control"] == "no-store"
    for refused in (
        signed_in(app, "bob").get(path, params={"side": masked}),
        client.get("/api/v1/items/nothing/text"),
    ):
        assert refused.status_code == 404
        assert "ChatGPT" not in refused.text
    assert TestClient(app).get(path).status_code == 401
    assert client.get(path, params={"side": "up"}).status_code == 422


def test_a_repeat_and_a_gold_item_are_sent_like_any_other(client, store):
    made = stock(store, 3)
    sign = ("default", "ada")
    store.add([
        Assignment(kind, *sign, comparison.id, "", "a", kind, "screen")
        for comparison, kind in zip(made, ("plain", "repeat", "gold"), strict=True)
    ])  # fmt: skip
    served = {item["assignment"]: item for item in items(client, n=3)}
    assert set(served) == {"plain", "repeat", "gold"}
    assert {frozenset(item) for item in served.values()} == {frozenset(served["plain"])}
    assert not any({"repeat", "gold"} & {str(v) for v in item.values()} for item in [
        {key: value for key, value in item.items() if key != "assignment"}
        for item in served.values()
    ])  # fmt: skip


def test_a_run_on_one_side_is_noted_once_and_not_when_it_is_taken_back(client, store):
    stock(store, 20)
    told = []
    for _ in range(17):
        (item,) = items(client, n=1)
        told.append(send(client, item, "left").json()["own"])
    assert [own["note"] is not None for own in told] == [False] * 15 + [True, False]
    assert told[15]["note"]["kind"] == "side"
    assert [own["streak"] for own in told] == list(range(1, 18))
    undone = send(client, item | {"revision": 1}, "undone").json()["own"]
    assert (undone["note"], undone["streak"]) == (None, 16)
    assert client.get("/api/v1/items").json()["own"]["note"] is None


def test_a_vote_is_acknowledged_once_it_is_durable_with_the_progress(client, store):
    stock(store, 3)
    first, *_ = items(client)
    answer = send(client, first, "left", seconds_spent=2.5, reasons=["tone"], comment="well")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["saved"], body["repeated"]) == (True, False)
    assert body["progress"] == {
        "mine_total": 1, "mine_today": 1, "votes_total": 1, "ratings_total": 0,
        "comparisons_total": 3, "comparisons_open": 2,
    }  # fmt: skip
    (vote,) = store.rows(Vote)
    place = store.get(Assignment, first["assignment"])
    assert (vote.id, vote.verdict, vote.labeler) == (body["id"], place.left, "ada")


def test_the_same_vote_sent_again_gets_the_same_answer(client, store):
    stock(store, 1)
    (item,) = items(client)
    id = str(uuid.uuid4())
    first, again = (send(client, item, "left", id=id) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert [first.json()["repeated"], again.json()["repeated"]] == [False, True]


def test_a_second_tab_gets_a_conflict_in_words(client, store):
    stock(store, 1)
    (item,) = items(client)
    send(client, item, "left")
    answer = send(client, item, "right")
    assert answer.status_code == 409
    assert "reload" in answer.json()["detail"]


def test_a_vote_on_another_persons_assignment_is_refused(app, client, store):
    stock(store, 1)
    (item,) = items(client)
    answer = send(signed_in(app, "bob"), item, "left")
    assert answer.status_code == 404
    assert "given to somebody else" in answer.json()["detail"]
    assert store.rows(Vote) == []


def test_undo_after_a_reload(client, store):
    stock(store, 2)
    first, _ = items(client)
    send(client, first, "right")
    (done,) = client.get("/api/v1/history").json()["items"]
    assert (done["verdict"], done["revision"]) == ("right", 1)
    assert send(client, done, "undone").status_code == 201
    assert client.get("/api/v1/history").json() == {"items": []}
    again = items(client)[0]
    assert (again["assignment"], again["revision"]) == (first["assignment"], 2)
    assert send(client, again, "left").status_code == 201


def test_thumbs_and_edits_have_their_own_routes(client, store):
    stock(store, 1)
    item = items(client, mode="thumbs")[0]
    assert item["right"] is None
    body = {"id": str(uuid.uuid4()), "assignment": item["assignment"], "revision": 0}
    assert client.post("/api/v1/ratings", json=body | {"verdict": "up"}).status_code == 201
    assert len(store.frame("ratings")) == 1
    edit = body | {"side": "left", "text": "Better.", "id": str(uuid.uuid4())}
    assert client.post("/api/v1/edits", json=edit).status_code == 201
    assert client.post("/api/v1/edits", json=edit).json()["repeated"] is True
    assert len(store.frame("edits")) == 1
    (done,) = client.get("/api/v1/history", params={"mode": "thumbs"}).json()["items"]
    assert (done["verdict"], done["edit_revision"]) == ("up", 1)


def test_why_there_is_nothing_is_said_in_words(client, store, woken):
    assert "generate answers, or import" in client.get("/api/v1/items").json()["waiting"]
    woken.says = "generating 12 of 250"
    assert client.get("/api/v1/items").json()["waiting"] == "generating 12 of 250"
    stock(store, 1)
    answer = client.get("/api/v1/items").json()
    assert answer["waiting"] is None
    woken.says = None
    send(client, answer["items"][0], "left")
    assert "judged everything" in client.get("/api/v1/items").json()["waiting"]


def test_generation_is_woken_while_the_stock_is_low(client, store, woken):
    stock(store, LOW_STOCK + 4)
    served = items(client)
    assert woken.times == 0
    for item in served:
        send(client, item, "left")
    items(client)
    assert woken.times == 0
    for item in items(client, n=1):
        send(client, item, "left")
    items(client)
    assert woken.times == 1


def test_the_meters_show_the_length_bias_and_the_counts(client, store):
    stock(store, 2)
    for item in items(client):
        longer = max(("left", "right"), key=lambda side: len(item[side]["text"]))
        send(client, item, longer)
    meters = client.get("/api/v1/meters").json()
    assert (meters["length_bias"]["value"], meters["length_bias"]["n"]) == (1.0, 2)
    assert meters["counts"]["votes_total"] == 2
    assert meters["majority"] == {"pairs": 2, "labels": 4}


def test_the_meters_show_the_side_with_its_interval(client, store):
    """Left, left, right: 2 of 3 (Wilson 0.2077 to 0.9385); a tie is for no side."""
    stock(store, 4)
    for item, verdict in zip(items(client), ("left", "left", "right", "tie"), strict=True):
        send(client, item, verdict)
    meters = client.get("/api/v1/meters").json()
    side = meters["position_bias"]
    assert (side["value"], side["n"], side["severity"]) == (2 / 3, 3, "ok")
    assert (side["low"], side["high"]) == (
        pytest.approx(0.2077, abs=1e-4),
        pytest.approx(0.9385, abs=1e-4),
    )
    assert meters["majority"] == {"pairs": 3, "labels": 6}


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 422, "The body is missing"),
        ("{", 422, "The body is not JSON"),
        (b"\xff\xfe", 422, "The body is not JSON"),
        ("[" * 100_000, 400, "parsing"),
        ("[]", 422, "The body is []: send one JSON object."),
        ("null", 422, "The body is None: send one JSON object."),
        ('"\\ud800"', 422, "The body is '\\ud800'"),
        ("{}", 422, "id is missing: send it.; assignment is missing"),
        (VOTE | {"verdict": "left"}, 404, "no assignment 'x'"),
        (VOTE | {"verdict": "left", "revision": "0"}, 422, "revision is '0'"),
        (VOTE | {"verdict": "left", "revision": True}, 422, "revision is True"),
        (VOTE | {"verdict": 1}, 422, "verdict is 1"),
        (VOTE | {"verdict": "left", "id": "\ud800"}, 404, "no assignment"),
        (VOTE | {"verdict": "left", "assignment": "\ud800"}, 422, "surrogate"),
        (VOTE | {"verdict": "left", "winner": 1}, 422, "'winner' is not a field here"),
        (VOTE | {"verdict": "left", "\ud800": 1}, 422, "send one JSON object"),
    ],
)
def test_each_bad_body_gets_one_sentence(client, store, body, status, says):
    content = json.dumps(body) if isinstance(body, dict) else body
    answer = client.post(
        "/api/v1/votes", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert says in answer.json()["detail"]
    assert store.rows(Vote) == []


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"verdict": "best"}, 422, "verdict is 'best': use one of left, right"),
        ({"id": "1"}, 422, "make a new UUID"),
        ({"revision": -1}, 422, "revision is -1"),
        ({"revision": 10**30}, 422, "revision is 1000000000000000000000000000000"),
        ({"revision": 5}, 409, "0 is the next"),
        ({"reasons": ["nice"]}, 422, "one of reasons is 'nice'"),
        ({"comment": "x" * 10_001}, 422, "comment has 10,001 characters"),
        ({"seconds_spent": -1}, 422, "seconds_spent is -1"),
        ({"seconds_spent": "2"}, 422, "seconds_spent is '2': use a number of seconds"),
    ],
)
def test_each_bad_value_of_a_vote_is_named(client, store, change, status, says):
    stock(store, 1)
    (item,) = items(client)
    answer = send(client, item, **({"verdict": "left"} | change))
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert store.rows(Vote) == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"mode": "stars"}, "mode is 'stars'"),
        ({"n": "many"}, "n is 'many'"),
        ({"n": 0}, "n is '0'"),
        ({"n": 1000}, "n is '1000'"),
        ({"exclude": "x" * 10_001}, "exclude is"),
    ],
)
def test_each_bad_query_gets_one_sentence(client, query, says):
    answer = client.get("/api/v1/items", params=query)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(client, store):
    big = b'{"comment": "' + b"x" * 1_000_001 + b'"}'
    for content in (big, (big[i : i + 65_536] for i in range(0, len(big), 65_536))):
        answer = client.post(
            "/api/v1/votes", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert "more than 1,000,000 bytes" in answer.json()["detail"]
    assert store.rows(Vote) == []


# -- many at once -------------------------------------------------------------------------------


def test_fifty_pages_vote_at_once_and_nothing_is_lost_or_double(app, store):
    """50 people, every 20th vote sent twice (5 %), on 200 comparisons: 200 votes, each once."""
    stock(store, 200)
    set_collecting(store, shared=0)
    acknowledged: list[str] = []
    problems: list[str] = []
    lock = threading.Lock()

    def label(name: str) -> None:
        client, rng = signed_in(app, name), random.Random(name)
        while True:
            served = items(client, n=2)
            if not served:
                return
            for item in served:
                id = str(uuid.uuid4())
                for _ in range(2 if rng.random() < 0.05 else 1):
                    answer = send(client, item, rng.choice(["left", "right", "tie"]), id=id)
                    with lock:
                        if answer.status_code != 201:
                            problems.append(answer.text)
                        elif not answer.json()["repeated"]:
                            acknowledged.append(id)

    threads = [threading.Thread(target=label, args=(f"person {i}",)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = store.rows(Vote)
    assert problems == []
    assert len(votes) == 200
    assert Counter(vote.id for vote in votes) == Counter(acknowledged)
    assert set(Counter(vote.comparison for vote in votes).values()) == {1}
    assert set(Counter(vote.assignment for vote in votes).values()) == {1}


def test_a_labeler_learns_of_their_open_campaigns_and_gets_the_one_they_ask_for(client, store):
    stock(store, 3)
    make(store, "Poems", labelers=["ada"], reasons=["rhyme"], strengths=["slightly", "clearly"])
    make(store, "Secret", labelers=["bob"])
    listed = client.get("/api/v1/campaigns").json()["campaigns"]
    assert [(one["id"], one["done"], one["total"]) for one in listed] == [
        ("default", 0, 3),
        ("Poems", 0, 3),
    ]
    assert (listed[1]["reasons"], listed[1]["strengths"]) == (["rhyme"], ["slightly", "clearly"])
    for asked, got in (("Poems", "Poems"), ("Secret", "default"), ("", "default")):
        answer = client.get("/api/v1/items", params={"campaign": asked, "n": 1}).json()
        assert (answer["campaign"], answer["stopped"]) == (got, None)
        (place,) = store.rows(Assignment, id=answer["items"][0]["assignment"])
        assert place.campaign == got


def test_a_pause_is_told_and_what_is_on_the_screen_is_taken(client, store):
    stock(store, 2)
    (item,) = items(client, n=1)
    set_state(store, "default", "paused")
    answer = client.get("/api/v1/items").json()
    assert (answer["items"], answer["campaign"]) == ([], None)
    assert answer["stopped"] == "paused"
    assert send(client, item, "left").status_code == 201


def test_a_remark_is_added_to_ones_own_vote_alone(app, client, store):
    stock(store, 1)
    make(store, "Fine", strengths=["slightly", "clearly"])
    (item,) = items(client, n=1, campaign="Fine")
    vote = send(client, item, "left").json()["id"]
    body = {"id": str(uuid.uuid4()), "vote": vote, "strength": "clearly", "aspects": {}}
    assert client.post("/api/v1/remarks", json=body).status_code == 201
    assert [(one.vote, one.strength) for one in store.rows(Remark)] == [(vote, "clearly")]
    assert signed_in(app, "bob").post("/api/v1/remarks", json=body).status_code == 404
    assert client.post("/api/v1/remarks", json=body | {"strength": "very"}).status_code == 422
