"""Commands while a server holds the data folder: the same results, the same refusals."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from align.calls import call, find_server
from align.remote import Detached, allowed, stream
from storage.errors import Locked, StoreError, UserError
from storage.lock import DataLock, read_lock
from tests.awaiting import finish
from tests.commandline import hone, pairs, write_lines
from tests.serving import Serving, serve


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Serving]:
    serving = serve(data)
    yield serving
    assert serving.end() == 0
    assert serving.log.read_text("utf-8") == ""  # quiet, also at the end


def test_the_loop_works_inside_the_server(
    server: Serving, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path / "twenty.jsonl", pairs(20))
    monkeypatch.chdir(tmp_path)  # paths are the terminal's, not the server's
    assert hone("import", "twenty.jsonl", "--json", data=data).result == {
        "read": 20,
        "stored": 20,
        "duplicates": 0,
        "refused": [],
    }
    simulated = hone("simulate", "--votes", "5", "--json", data=data)
    assert simulated.result["votes"] == 5
    assert "5 of 5 simulated votes" in simulated.err
    checks = hone("check", "--json", data=data).result["checks"]
    assert checks[0]["n"] == 25
    frozen = hone("snapshot", "--json", data=data).result
    assert frozen["pairs"] + sum(frozen["dropped"].values()) == 20
    assert hone("export", "out.jsonl", "--json", data=data).result["written"] > 0
    assert (tmp_path / "out.jsonl").is_file()
    assert hone("runs", "--json", data=data).result == {"runs": []}
    assert read_lock(data)["pid"] == server.process.pid  # it held the folder all the time


def test_refusals_come_through_word_for_word(server: Serving, data: Path, tmp_path: Path) -> None:
    assert "no-such.jsonl does not exist" in hone("import", "no-such.jsonl", data=data).refusal
    assert "s_none" in hone("export", tmp_path / "x", "--snapshot", "s_none", data=data).refusal
    assert "magic" in hone("train", "--method", "magic", data=data).refusal
    assert "r-none" in hone("compare", "r-none", "--prompt", "Hi", data=data).refusal


def test_what_a_browser_sends_lies_in_the_data_folder_until_the_server_ends(
    server: Serving, data: Path
) -> None:
    sent = {"files": ("votes.jsonl", b"{}")}
    answer = httpx.post(f"{server.address}/gradio_api/upload", files=sent, timeout=60)
    (place,) = answer.json()
    assert Path(place).parent.parent == data / "transfers"
    assert Path(place).read_bytes() == b"{}"


def post(server: Serving, name: str, token: str, body: bytes = b"{}") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("POST", f"/api/v1/commands/{name}", body, headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def test_without_the_token_nothing_is_done(server: Serving, data: Path) -> None:
    for token in ("", "guess", "é", read_lock(data)["token"][:-1]):
        status, said = post(server, "check", token)
        assert status == 403
        assert "token" in json.loads(said)["detail"]


@pytest.mark.parametrize(
    ("name", "body", "status", "told"),
    [
        ("nonsense", b"{}", 404, "there are import, export"),
        ("check", b"{", 422, "not JSON"),
        ("check", b"[1]", 422, "do not fit"),
        ("check", b'{"colour": "red"}', 422, "colour"),
        ("compare", b"{}", 422, "run"),
    ],
)
def test_a_wrong_call_is_refused_in_words(
    server: Serving, data: Path, name: str, body: bytes, status: int, told: str
) -> None:
    got, said = post(server, name, read_lock(data)["token"], body)
    assert got == status
    assert told in json.loads(said)["detail"]


def test_the_token_lies_where_only_its_owner_reads_it(server: Serving, data: Path) -> None:
    assert (data / "LOCK").stat().st_mode & 0o077 == 0


def test_a_second_server_is_refused_with_pid_and_address(server: Serving, data: Path) -> None:
    refusal = hone("serve", "--port", "0", data=data).refusal
    assert str(server.process.pid) in refusal
    assert server.address in refusal


def test_a_taken_port_is_refused(server: Serving, tmp_path: Path) -> None:
    refusal = hone("serve", "--port", server.port, data=tmp_path / "data").refusal
    assert str(server.port) in refusal
    assert "--port" in refusal


# Without a server


def test_tokens_are_compared_whole() -> None:
    assert allowed("Bearer abc", "abc")
    assert not allowed("Bearer ab", "abc")
    assert not allowed("abc", "abc")
    assert not allowed("", "abc")


def test_a_holder_that_takes_no_commands_is_named(tmp_path: Path) -> None:
    lock = DataLock(tmp_path)
    with pytest.raises(Locked, match=r"in use by process \d+, which takes no commands"):
        find_server(tmp_path, wait=0.1)
    lock.announce("http://127.0.0.1:1", "t")
    assert find_server(tmp_path)["address"] == "http://127.0.0.1:1"
    lock.release()
    assert find_server(tmp_path) is None


def test_a_server_that_went_away_is_told(tmp_path: Path) -> None:
    holder = {"pid": 7, "address": "http://127.0.0.1:1", "token": "t"}
    with pytest.raises(StoreError, match=r"did not finish `check`.*run the command again"):
        call(holder, "check", {}, print)


def lines_of(job: Any) -> list[dict[str, Any]]:
    async def all_of_it() -> list[bytes]:
        return [line async for line in stream(job)]

    return [json.loads(line) for line in finish(all_of_it()) if line.strip()]


def test_a_stream_is_progress_and_then_the_result() -> None:
    def job(progress: Any) -> dict[str, Any]:
        progress("half")
        return {"done": True}

    assert lines_of(job) == [{"progress": "half"}, {"result": {"done": True}}]


def test_a_stream_ends_with_the_users_error_or_the_bug() -> None:
    def refuse(progress: Any) -> dict[str, Any]:
        raise UserError("no; do that")

    def crash(progress: Any) -> dict[str, Any]:
        return {"x": 1 // 0}

    assert lines_of(refuse) == [{"error": "no; do that", "status": 400}]
    (bug,) = lines_of(crash)
    assert "ZeroDivisionError" in bug["bug"]


def test_a_client_that_goes_away_ends_its_command_at_the_next_progress() -> None:
    ended = threading.Event()
    gone = threading.Event()

    def job(progress: Any) -> dict[str, Any]:
        progress("first")
        gone.wait(10)
        try:
            progress("second")
        except Detached:
            ended.set()
            raise
        return {}

    async def look_once() -> bytes:
        running = stream(job)
        first = await anext(running)
        await running.aclose()
        return first

    assert json.loads(finish(look_once())) == {"progress": "first"}
    gone.set()
    assert ended.wait(10)
