"""Our own OpenAI-compatible endpoint: what it answers, what it refuses and how, one at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from align import endpoint, openai_client
from align.locks import FileLock
from align.manifest import write_manifest
from align.models import Model
from align.openai_client import Endpoint
from align.wire import GenerateRequest, Piece
from feedback.gate import Gate

CHAT = [{"role": "user", "content": "Why?"}]
HOST = "http://127.0.0.1"


class Worker:
    """Says "Because" in two pieces, of a prompt of five tokens; `cut` of it did not fit."""

    def __init__(self) -> None:
        self.asked: list[GenerateRequest] = []
        self.cut = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def stream_each(self, requests: Any, *, model: Any) -> Iterator[Piece]:
        self.asked += requests
        yield Piece(0, "Bec", 1, False, False, 5, self.cut)
        assert self.go_on.wait(10)
        yield Piece(0, "Because", 3, True, requests[0].max_tokens > 3, 5, self.cut)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "runs" / "r-1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"method": "dpo", "model": "tiny"}))
    (folder / "status.json").write_text(json.dumps({"status": "done"}))
    write_manifest(folder / "adapter")
    model = Model("tiny", tmp_path, "f", 1, template=True)
    monkeypatch.setattr(endpoint.runs, "model_of", lambda data, run: model)
    monkeypatch.setattr(endpoint.sides, "usual_base", lambda data: model)
    return SimpleNamespace(data=tmp_path, store=None, client=Worker())


@pytest.fixture
def app(workspace: Any) -> FastAPI:
    made = FastAPI()
    made.add_middleware(Gate)
    made.include_router(endpoint.router(workspace))
    return made


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=HOST, raise_server_exceptions=False)


def ask(client: TestClient, **more: Any) -> Any:
    body = {"model": "r-1", "messages": CHAT, **more}
    return client.post("/v1/chat/completions", json=body)


def test_the_base_and_every_finished_run_are_listed(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert [one["id"] for one in found["data"]] == ["promoted", "base", "r-1"]
    assert found["object"] == "list"


def test_an_answer_has_its_text_its_end_and_its_tokens(client: TestClient, workspace: Any) -> None:
    found = ask(client, temperature=0, seed=7, max_tokens=3, user="me", n=1, tools=[]).json()
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Because"}
    assert choice["finish_reason"] == "length"
    assert found["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert found["model"] == "r-1"
    adapter = workspace.data / "runs" / "r-1" / "adapter"
    expected = GenerateRequest(tuple(CHAT), 7, 3, 0, 1.0, adapter)
    assert workspace.client.asked == [expected]


def test_the_base_has_no_adapter_and_parts_are_put_together(
    client: TestClient, workspace: Any
) -> None:
    parts = [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    found = ask(client, model="base", messages=messages).json()
    assert found["choices"][0]["finish_reason"] == "stop"
    (asked,) = workspace.client.asked
    assert asked.adapter is None
    assert [one["content"] for one in asked.messages] == ["Be brief.", "Why?"]
    assert asked.messages[0]["role"] == "system"


@pytest.mark.parametrize("run", ["", "r-1"])
def test_promoted_is_whoever_was_promoted_last(
    run: str, client: TestClient, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "sampler", lambda store: run)
    assert ask(client, model="promoted").json()["model"] == "promoted"
    (asked,) = workspace.client.asked
    assert asked.adapter == (workspace.data / "runs" / run / "adapter" if run else None)


def test_a_stream_ends_with_its_reason_its_tokens_and_done(client: TestClient) -> None:
    answer = ask(client, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    deltas = [one["choices"][0]["delta"].get("content") for one in chunks[:-1]]
    assert deltas == ["", "Bec", "ause", None]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 8


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ["\n"]}, "stop"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_json": {}}, "guided_json"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"top_p": 0}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x" * 600_000}] * 2}, "messages"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    client: TestClient, workspace: Any, change: dict[str, Any], param: str
) -> None:
    answer = ask(client, **change)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"
    assert workspace.client.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_body_that_is_too_large_is_not_read(client: TestClient) -> None:
    answer = client.post("/v1/chat/completions", content=b" " * (endpoint.MOST_BYTES + 1))
    assert answer.status_code == 413


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    for name in ("r-none", "../r-1"):
        answer = ask(client, model=name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_conversation_that_does_not_fit_is_refused(client: TestClient, workspace: Any) -> None:
    workspace.client.cut = 9
    for stream in (False, True):
        answer = ask(client, stream=stream)
        assert answer.json()["error"]["code"] == "context_length_exceeded"
    workspace.client.cut = 0
    assert ask(client).status_code == 200, "the turn was given back"


def test_a_second_request_waits_its_turn(client: TestClient, workspace: Any) -> None:
    workspace.client.go_on.clear()
    first = threading.Thread(target=ask, args=(client,))
    first.start()
    while not workspace.client.asked:
        first.join(0.01)
    answer = ask(client)
    workspace.client.go_on.set()
    first.join()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert ask(client).status_code == 200


def test_while_a_run_trains_it_says_when_to_come_back(client: TestClient, workspace: Any) -> None:
    folder = workspace.data / "runs" / "r-1"
    (folder / "status.json").write_text(json.dumps({"status": "training", "seconds_left": 130}))
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    answer = ask(client)
    lock.release()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "130")
    assert "back in about 2 min" in answer.json()["error"]["message"]


def test_no_page_of_another_site_gets_an_answer(app: FastAPI, workspace: Any) -> None:
    elsewhere = TestClient(app, base_url="http://evil.example")
    assert elsewhere.get("/v1/models").status_code == 403
    answer = TestClient(app, base_url=HOST).post(
        "/v1/chat/completions",
        json={"model": "base", "messages": CHAT},
        headers={"Origin": "http://evil.example"},
    )
    assert answer.status_code == 403
    assert workspace.client.asked == []


def test_our_own_client_understands_it(app: FastAPI) -> None:
    """Over a socket, as a comparison with another Hone would."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    ours = Endpoint.parse(f"{HOST}:{port}/v1#r-1")
    settings = {"max_tokens": 9, "temperature": 0.0, "seed": 1}
    try:
        assert openai_client.models(ours) == ["promoted", "base", "r-1"]
        assert openai_client.complete(ours, CHAT, **settings).text == "Because"
        texts = [reply.text for reply in openai_client.stream(ours, CHAT, **settings)]
        gone = Endpoint.parse(f"{HOST}:{port}/v1#r-2")
        with pytest.raises(openai_client.EndpointFailed, match="it has 'promoted', 'base', 'r-1'"):
            openai_client.complete(gone, CHAT, **settings)
    finally:
        server.should_exit = True
        thread.join()
    assert texts == ["Bec", "Because", "Because"]
