"""Feedback from a product over REST: what is stored, what is refused, and what counts of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from align.webhook import signature
from feedback.api import install_errors
from feedback.checks.imbalance import imbalance
from feedback.front import Front
from feedback.live import live_feedback, preferences_of
from feedback.product import routes
from feedback.product.allowance import Allowance, Meter
from feedback.product.bodies import choice, correction, response, thumb
from feedback.product.described import CHOICE, CORRECTION, EXAMPLES, SHOWN, THUMB
from feedback.product.pseudonyms import Pseudonyms
from feedback.quality import gather
from feedback.selection import select
from feedback.snapshots import SnapshotSettings
from storage.errors import BadInput, StoreError
from storage.records import (
    ANONYMOUS,
    Assignment,
    Audit,
    Edit,
    Logged,
    Rating,
    Response,
    Vote,
    digest,
)
from storage.store import Store

EGG = {"id": "msg_1", "prompt": "How do I boil an egg?", "response": "Eight minutes.", "model": "m"}
OTHER = {**EGG, "id": "msg_2", "response": "Ask a hen.", "model": "n"}
UP = {"id": "fb_1", "response_id": "msg_1", "verdict": "up"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def app_of(store: Store, allowance: Allowance = routes.USUAL) -> TestClient:
    app, doors = FastAPI(), routes.Doors(lambda _: store, allowance)
    app.add_middleware(Front, ways=routes.ways(doors))
    install_errors(app)
    app.include_router(routes.router(lambda _: store, doors))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(store: Store) -> TestClient:
    made = app_of(store)
    assert made.post("/api/v1/responses", json=[EGG, OTHER]).status_code == 201
    return made


def send(client: TestClient, what: str, body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/v1/{what}", json=body)
    return answer.status_code, answer.json()


def test_a_thumb_is_a_rating_of_the_response_that_has_the_products_id(
    store: Store, client: TestClient
) -> None:
    said = {**UP, "user": "ann@example.org", "reasons": ["tone"], "comment": "nice"}
    assert send(client, "feedback", said) == (201, {"id": "fb_1", "saved": True, "repeated": False})
    (rating,) = store.rows(Rating)
    logged = store.get(Logged, "msg_1")
    assert logged is not None
    assert (rating.response, rating.verdict, rating.source) == (logged.response, "up", "product")
    assert (rating.reasons, store.texts([rating.comment])) == (("tone",), {rating.comment: "nice"})
    assert rating.labeler == Pseudonyms(store.data).of("ann@example.org")
    journal = "".join(path.read_text("utf-8") for path in (store.data / "journal").iterdir())
    assert "ann@example.org" not in journal


def test_the_same_again_gets_the_same_answer_and_something_else_a_conflict(
    store: Store, client: TestClient
) -> None:
    fix = {"id": "fix_1", "response_id": "msg_1", "text": "Eight to ten."}
    chosen = {"id": "c_1", "a": "msg_1", "b": "msg_2", "verdict": "a"}
    for what, body, changed in (
        ("responses", EGG, {"response": "Nine minutes."}),
        ("feedback", UP, {"verdict": "down"}),
        ("feedback", {**UP, "id": "fb_2", "comment": "a"}, {"comment": "b"}),
        ("comparisons", chosen, {"verdict": "tie"}),
        ("comparisons", chosen, {"a": "msg_2", "b": "msg_1"}),
        ("corrections", fix, {"text": "Twelve."}),
    ):
        send(client, what, body)
        assert send(client, what, body) == (
            201,
            {"id": body["id"], "saved": True, "repeated": True},
        )
        status, told = send(client, what, {**body, **changed})
        assert (status, told["type"]) == (409, "urn:hone:problem:conflict")
        assert body["id"] in told["detail"]
    assert (store.count(Rating), store.count(Vote), store.count(Edit)) == (2, 1, 1)
    assert store.verify() == []


def test_the_words_of_what_is_refused_are_not_stored(store: Store, client: TestClient) -> None:
    """No event would tell whose they are, so nobody could erase them."""
    fix = {"id": "fix_1", "response_id": "msg_1", "text": "Eight to ten."}
    send(client, "feedback", {**UP, "comment": "first"})
    send(client, "corrections", fix)
    for what, body in (
        ("feedback", {**UP, "comment": "second"}),
        ("corrections", {**fix, "text": "Twelve."}),
        ("corrections", [{**fix, "id": "f", "text": text} for text in ("Nine.", "Thirteen.")]),
    ):
        send(client, what, body)
    kept = [digest(text) for text in ("first", "Eight to ten.", "Nine.")]
    lost = [digest(text) for text in ("second", "Twelve.", "Thirteen.")]
    assert set(store.texts([*kept, *lost])) == set(kept)
    corrections = {one.id for one in store.rows(Response) if one.source == "edit"}
    assert {one.corrected for one in store.rows(Edit)} == corrections


def test_of_a_batch_each_item_counts_for_itself(store: Store, client: TestClient) -> None:
    status, told = send(
        client,
        "feedback",
        [UP, {**UP, "id": "x", "response_id": "never"}, UP, {**UP, "verdict": "down"}, 3],
    )
    assert (status, told["saved"], told["refused"]) == (207, 2, 3)
    first, unknown, again, other, odd = told["results"]
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert (unknown["id"], unknown["status"], other["status"]) == ("x", 404, 409)
    assert "log it first" in unknown["detail"]
    assert odd["detail"] == "an item is 3: send a JSON object."
    assert store.count(Rating) == 1


def test_a_response_may_come_along_with_what_is_said_of_it(store: Store) -> None:
    client = app_of(store)
    along = {name: EGG[name] for name in ("prompt", "response", "model")}
    assert send(client, "feedback", {**UP, **along})[0] == 201
    assert send(client, "feedback", {**UP, "id": "fb_2", **along, "user": "u"})[0] == 201
    assert send(client, "feedback", {**UP, "id": "fb_3", **along, "response": "No."})[0] == 409
    assert (store.count(Rating), store.count(Logged), store.count(Response)) == (2, 1, 1)
    status, told = send(client, "feedback", {**UP, "id": "fb_4", "model": "m"})
    assert (status, told["detail"][:20]) == (422, "prompt is missing: s")


@pytest.mark.parametrize(("a", "b", "verdict", "left"), [
    ("msg_1", "msg_2", "a", "b"), ("msg_2", "msg_1", "b", "a"),
])  # fmt: skip
def test_a_comparison_keeps_who_won_and_what_stood_left(
    store: Store, client: TestClient, a: str, b: str, verdict: str, left: str
) -> None:
    """Both rows say: msg_1 won, msg_2 stood on the left; the second names them the other way."""
    send(client, "comparisons", {"id": "0", "a": "msg_1", "b": "msg_2", "verdict": "tie"})
    said = {"id": "1", "a": a, "b": b, "verdict": verdict, "left": left}
    assert send(client, "comparisons", said)[0] == 201
    (row,) = store.frame("votes").query("verdict != 'tie'").to_dict("records")
    assert (row["verdict"], row["left"], row["source"]) == ("a", "b", "product")
    assert (row["model_a"], row["model_b"]) == ("m", "n")
    assert {place.source for place in store.rows(Assignment)} == {"product"}


def test_answers_to_different_prompts_and_a_correction_that_corrects_nothing_are_refused(
    client: TestClient,
) -> None:
    send(client, "responses", {**EGG, "id": "msg_3", "prompt": "And how fry one?"})
    status, told = send(client, "comparisons",
                        {"id": "1", "a": "msg_1", "b": "msg_3", "verdict": "a"})  # fmt: skip
    assert (status, "different prompts" in told["detail"]) == (422, True)
    same = {"id": "1", "response_id": "msg_1", "text": EGG["response"]}
    status, told = send(client, "corrections", same)
    assert (status, "says already" in told["detail"]) == (422, True)


@pytest.mark.parametrize(("parse", "body", "why"), [
    (response, {**EGG, "id": ""}, "id is ''"),
    (response, {**EGG, "id": "a\nb"}, "without line breaks"),
    (response, {**EGG, "id": "x" * 201}, "1 to 200 characters"),
    (response, {**EGG, "model": " "}, "name the model"),
    (response, {**EGG, "prompt": []}, "the prompt is empty"),
    (response, {**EGG, "prompt": 3}, "prompt is 3"),
    (response, {**EGG, "response": "\ud800"}, "half a character"),
    (response, {**EGG, "respnse": "x"}, "'respnse' is not a field here"),
    (response, {"id": "x"}, "is missing: send it"),
    (thumb, {**UP, "verdict": "sideways"}, "use one of up, down, none"),
    (thumb, {**UP, "user": 7}, "user is 7"),
    (thumb, {**UP, "reasons": "tone"}, "use a list"),
    (choice, {"id": "1", "a": "x", "b": "x", "verdict": "a"}, "a and b are both 'x'"),
    (choice, {"id": "1", "a": "x", "b": "y", "verdict": "a", "prompt": "p"}, "without response_a"),
    (correction, {"id": "1", "response_id": "x", "text": " "}, "text is empty"),
    (thumb, [], "send a JSON object"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_the_value_and_the_remedy(
    parse: Any, body: Any, why: str
) -> None:
    with pytest.raises(BadInput, match=why.replace("(", r"\(")):
        parse(body)


def test_the_document_names_the_fields_that_are_read() -> None:
    for schema, parse in ((SHOWN, response), (THUMB, thumb), (CHOICE, choice),
                          (CORRECTION, correction)):  # fmt: skip
        example = EXAMPLES[schema["title"]]
        parse(example)
        with pytest.raises(BadInput) as refused:
            parse({**example, "zz": 1})
        named = set(str(refused.value).partition("use one of ")[2].rstrip(".").split(", "))
        assert named == set(schema["properties"])
        for name in schema["required"]:
            with pytest.raises(BadInput):
                parse({key: value for key, value in example.items() if key != name})


def test_bodies_that_are_nothing_are_problems(client: TestClient) -> None:
    many = json.dumps([UP] * 1001)
    for body, status, why in ((b"{", 422, "not JSON"), (b"[]", 422, "send 1 to 1,000"),
                              (many.encode(), 422, "send 1 to 1,000"), (b"\xff", 422, "not JSON"),
                              (b"[" * 100_000, 422, "not JSON"),
                              (b" " * 8_000_001, 413, "send less")):  # fmt: skip
        answer = client.post("/api/v1/feedback", content=body)
        assert (answer.status_code, why in answer.json()["detail"]) == (status, True), body[:20]
        assert answer.headers["content-type"] == "application/problem+json"
    answer = client.put("/api/v1/feedback")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["title"] == "Method Not Allowed"


def test_half_a_character_in_a_list_keeps_no_other_item_out(client: TestClient) -> None:
    """Written as an escape it is JSON to some readers and none to others."""
    bad = {**UP, "id": "fb_\ud800"}
    body = json.dumps([bad, UP]).encode()
    answer = client.post("/api/v1/feedback", content=body)
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert results[1] == {"id": "fb_1", "saved": True, "repeated": False}
    assert "id is 'fb_\\ud800'" in results[0]["detail"]


def test_a_body_with_a_mark_in_front_is_read(client: TestClient) -> None:
    answer = client.post("/api/v1/feedback", content=b"\xef\xbb\xbf" + json.dumps(UP).encode())
    assert (answer.status_code, answer.json()["saved"]) == (201, True)


def test_a_key_that_sends_too_much_is_told_when_to_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "Meter", lambda most, _: Meter(most, lambda: 0.0))
    client = app_of(store, Allowance(requests=3, items=4))
    sent = [client.post("/api/v1/responses", json=[EGG, OTHER]) for _ in range(4)]
    assert [one.status_code for one in sent] == [201, 201, 429, 429]
    assert int(sent[2].headers["retry-after"]) == 30  # two items, at four a minute
    assert sent[2].json()["type"] == "urn:hone:problem:too-many"
    assert "items" in sent[2].json()["detail"]
    assert "requests" in sent[3].json()["detail"]


def test_where_others_wait_for_the_writer_the_product_is_sent_away_at_once(
    store: Store, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "waiting", lambda self: routes.WRITER_ROOM + 1)
    answer = client.post("/api/v1/feedback", json=UP)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert store.count(Rating) == 0


def test_a_full_disk_is_told_for_the_whole_batch_and_nothing_is_acknowledged(
    store: Store, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = StoreError("the disk is full")
    monkeypatch.setattr(Store, "append_many", lambda self, events, texts: [full] * len(events))
    answer = client.post("/api/v1/feedback", json=[UP, {**UP, "id": "2"}])
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full")
    assert "retry-after" in answer.headers


def test_of_one_users_thumbs_on_a_response_the_newest_counts(
    store: Store, client: TestClient
) -> None:
    """u pressed up, then down; two unnamed people up: 2 up, 1 down, of 4 that are kept."""
    send(client, "feedback", [{**UP, "id": "1", "user": "u"}, {**UP, "id": "2"},
                              {**UP, "id": "3", "user": "u", "verdict": "down"},
                              {**UP, "id": "4"}])  # fmt: skip
    live = live_feedback(store)
    assert sorted(live.ratings["verdict"]) == ["down", "up", "up"]
    assert live.left_out == {"thumbs that a product's user changed later": 1}
    assert len(gather(store, said=False).ratings) == 3
    (label,) = preferences_of(store, live).labels
    assert (label.good, len(label.votes)) == (True, 2)
    send(client, "feedback", {**UP, "id": "5", "user": "u", "verdict": "none"})
    assert sorted(live_feedback(store).ratings["verdict"]) == ["skip", "up", "up"]


def test_unnamed_users_are_a_source_and_not_one_labeler_over_the_cap(
    store: Store, client: TestClient
) -> None:
    """40 thumbs of nobody known, 1 of each of 9 users and 9 of one: of 58 he alone has more than
    a tenth (15.5 %), and of 58 labelers he keeps 5, for 5 are at most a tenth of the 54 left."""
    said = [{**UP, "id": str(n)} for n in range(40)]
    said += [{**UP, "id": f"u{n}", "user": f"u{n}"} for n in range(9)]
    prompts = [{**EGG, "id": f"r{n}", "prompt": f"question {n}?"} for n in range(9)]
    send(client, "responses", prompts)
    said += [{**UP, "id": f"k{n}", "user": "keen", "response_id": f"r{n}"} for n in range(9)]
    assert send(client, "feedback", said)[0] == 201
    columns = gather(store, said=False)
    keen = Pseudonyms(store.data).of("keen")
    assert set(columns.ratings["source"]) == {"product"}
    assert (columns.ratings["labeler"] == ANONYMOUS).sum() == 40
    found = [one.subject for one in imbalance(columns).findings if "labeler" in one.subject]
    assert ANONYMOUS not in " ".join(found)
    chosen = select(store, SnapshotSettings())
    assert chosen.sources == {"product": 58}
    (told,) = [one for one in chosen.remedies if one["name"] == "cap_labeler"]
    assert told["cost"] == 4
    used = {id for label in chosen.preferences.labels for id in label.votes}
    ratings = store.rows(Rating)
    assert sum(one.id in used for one in ratings if one.labeler == ANONYMOUS) == 40
    assert sum(one.id in used for one in ratings if one.labeler == keen) == 5


def test_an_export_is_streamed_and_leaves_a_trace(store: Store, client: TestClient) -> None:
    send(client, "comparisons", {"id": "1", "a": "msg_1", "b": "msg_2", "verdict": "a",
                                 "user": "u"})  # fmt: skip
    pairs = client.get("/api/v1/export")
    assert pairs.headers["content-type"].startswith("application/x-ndjson")
    (row,) = map(json.loads, pairs.text.splitlines())
    assert "Eight minutes." in json.dumps(row["chosen"])
    (vote,) = map(json.loads, client.get("/api/v1/export?format=votes").text.splitlines())
    assert vote["labeler"] == Pseudonyms(store.data).of("u")
    assert [(one.did, one.what) for one in store.rows(Audit, order="created_at")] == [
        ("export", "hone-trl.jsonl of what counts now"),
        ("export", "hone-votes.jsonl of what counts now"),
    ]
    assert client.get("/api/v1/export?format=csv").status_code == 422
    for odd in ("nope", "..", "../snapshots", "a/b", "%00"):
        assert client.get(f"/api/v1/export?snapshot={odd}").status_code == 404


@pytest.mark.parametrize(
    "part", ["bytes=0-4", "bytes=99999999-", "bytes=-0", "bytes=x", "lines=1-2"]
)
def test_an_export_is_sent_whole_and_leaves_no_file(
    store: Store, client: TestClient, part: str
) -> None:
    send(client, "feedback", UP)
    asked = "/api/v1/export?format=trl-labels"
    whole = client.get(asked)
    answer = client.get(asked, headers={"Range": part})
    assert (answer.status_code, answer.text) == (200, whole.text)
    assert "accept-ranges" not in answer.headers
    assert list((store.data / "transfers").iterdir()) == []


def test_pseudonyms_are_the_same_for_ever_and_others_elsewhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    here, again = Pseudonyms(tmp_path / "one"), Pseudonyms(tmp_path / "one")
    assert here.of("u") == again.of("u") != Pseudonyms(tmp_path / "two").of("u")
    assert here.of("v") != here.of("u")
    assert here.of("") == ANONYMOUS
    (tmp_path / "one" / "pseudonyms.key").write_bytes(b"Jefe")  # RFC 4231, test case 2
    asked = "what do ya want for nothing?"
    assert Pseudonyms(tmp_path / "one").of(asked) == "user:5bdcc146bf60754e"
    assert (tmp_path / "one" / "pseudonyms.key").stat().st_mode & 0o777 == 0o600


ROOT = Path(__file__).resolve().parents[2]


def test_the_readmes_client_and_check_of_a_signature_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks as they stand there, with the app in place of the address."""
    client = app_of(store)
    blocks = (ROOT / "README.md").read_text("utf-8").split("```python\n")[1:]
    ours, check = (block.split("```")[0] for block in blocks[:2])
    monkeypatch.setattr(
        httpx, "Client", lambda **asked: TestClient(client.app, base_url=asked["base_url"])
    )
    exec(ours, {})
    assert [one.verdict for one in store.rows(Rating)] == ["up"]
    names: dict[str, Any] = {}
    exec(check, names)
    signed = signature("secret", b"{}", int(time.time()))
    assert names["is_from_hone"]("secret", signed, b"{}")
    assert not names["is_from_hone"]("secret", signed, b"{ }")
    assert not names["is_from_hone"]("secret", signature("secret", b"{}", 1), b"{}")
