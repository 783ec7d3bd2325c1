"""Models behind an OpenAI-compatible address, well-behaved ones and others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from align import openai_client
from align.openai_client import Endpoint, EndpointFailed, Reply, complete, models, stream
from storage.errors import BadInput
from tests.align.endpoint import Call, Stranger, stranger

ASKED = [{"role": "user", "content": "Say hello."}]
HOW = {"max_tokens": 16, "temperature": 0.0, "seed": 3}


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """Expect one clear line with these words."""
    with pytest.raises(EndpointFailed) as caught:
        yield
    line = str(caught.value)
    assert "\n" not in line
    assert [word for word in words if word not in line] == []


def asked(answer: Callable[[Call], None], key: str = "", **more: object) -> Reply:
    with stranger(answer, key) as there:
        return complete(there.endpoint, ASKED, **{**HOW, **more})


def streamed(answer: Callable[[Call], None], **more: object) -> list[Reply]:
    with stranger(answer) as there:
        return list(stream(there.endpoint, ASKED, **HOW, **more))


def test_an_endpoint_is_an_address_and_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_ENDPOINT_KEY", "secret-7")
    found = Endpoint.parse(" http://127.0.0.1:8000/v1/#org/model:8b ")
    assert found == Endpoint("http://127.0.0.1:8000/v1", "org/model:8b", "secret-7")
    assert found.name == "org/model:8b @ 127.0.0.1:8000"
    assert "secret-7" not in repr(found)


@pytest.mark.parametrize(
    "text",
    ["", "model", "http://h/v1", "http://h/v1#", "file:///etc/passwd#m", "ftp://h#m", "http://#m",
     "http://h:99999/v1#m", "http://h/v1?a=b#m", "http://h/v1#a\nb", "http://[::1/v1#m"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="write it as http://127"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("hosts", "gets"),
    [("", False), ("api.example.com", True), ("other, API.example.com:8443", True),
     ("api.example.com:9000", False), ("example.com", False), ("api.example.com.evil.net", False)],
)  # fmt: skip
def test_the_key_goes_only_to_hosts_that_were_named(
    monkeypatch: pytest.MonkeyPatch, hosts: str, gets: bool
) -> None:
    monkeypatch.setenv("HONE_ENDPOINT_KEY", "secret-7")
    monkeypatch.setenv("HONE_ENDPOINT_HOSTS", hosts)
    assert Endpoint.parse("https://api.example.com:8443/v1#m").key == ("secret-7" if gets else "")


def test_who_got_no_key_is_told_which_host_to_name() -> None:
    with refused("asks for a key", "name 127.0.0.1 in HONE_ENDPOINT_HOSTS"):
        asked(lambda call: call.send(401))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match="HONE_ENDPOINT_KEY") as caught:
        Endpoint.parse("http://me:secret@h/v1#m")
    assert "secret" not in str(caught.value)


def test_a_key_that_breaks_headers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_ENDPOINT_KEY", "a\r\nX-Evil: 1")
    with pytest.raises(BadInput, match="set it again"):
        Endpoint.parse("http://h/v1#m")


def test_a_whole_answer_comes_back_with_what_was_asked() -> None:
    with stranger(lambda call: call.say("Hello!"), key="k") as there:
        assert complete(there.endpoint, ASKED, **HOW) == Reply("Hello!", True, 7)
    call = there.calls[0]
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == "Bearer k"
    assert call.body == {"model": "tiny", "messages": ASKED, **HOW}


def test_an_answer_cut_at_its_limit_is_not_finished() -> None:
    assert asked(lambda call: call.say("Hel", "length")) == Reply("Hel", False, 7)


def test_a_model_that_says_nothing_gives_an_empty_answer() -> None:
    assert asked(lambda call: call.say(None)).text == ""


def test_halves_of_characters_and_nuls_cannot_get_into_the_store() -> None:
    assert asked(lambda call: call.say("a\ud800b\0c")).text == "a?bc"


@pytest.mark.parametrize(
    ("raw", "word"),
    [(b"<html>", "no JSON"), (b"", "no JSON"), (b"[" * 100_000, "no JSON"), (b"[]", "without"),
     (b"{}", "without"), (b'{"choices": []}', "without"), (b'{"choices": [7]}', "without"),
     (b'{"choices": [{"message": {"content": [1]}}]}', "no text, but list"),
     (b'{"error": {"message": "out of memory"}}', "out of memory")],
)  # fmt: skip
def test_what_is_no_answer_is_refused(raw: bytes, word: str) -> None:
    with refused(word, "tiny @ 127.0.0.1"):
        asked(lambda call: call.send(raw=raw))


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "MOST_BYTES", 100_000)

    def endless(call: Call) -> None:
        call.send()
        while True:
            call.wfile.write(b"x" * 10_000)

    with refused("sent more than"):
        asked(endless)


def test_a_compressed_answer_is_refused_so_that_it_cannot_explode() -> None:
    with refused("compressed"):
        asked(lambda call: call.send(raw=b"x", content_encoding="gzip"))


def test_a_model_that_only_sleeps_is_given_up() -> None:
    begin = time.monotonic()
    with refused("within 0.2 seconds"):
        asked(lambda call: time.sleep(1), timeout=0.2)
    assert time.monotonic() - begin < 3


def test_a_drop_now_and_then_does_not_make_it_wait_for_ever() -> None:
    """Each drop comes in time; all of them together do not."""

    def drip(call: Call) -> None:
        call.send()
        for _ in range(100):
            call.wfile.write(b" ")
            time.sleep(0.05)

    with refused("within 0.3 seconds"):
        asked(drip, timeout=0.3)


def test_nobody_there_is_said_with_the_address() -> None:
    with stranger(lambda call: None) as gone:
        pass
    with refused(gone.endpoint.address, "cannot be reached", "server runs"):
        complete(gone.endpoint, ASKED, **HOW)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_where_to_set_it_and_does_not_repeat_it(status: int) -> None:
    with pytest.raises(EndpointFailed, match="set HONE_ENDPOINT_KEY") as caught:
        asked(lambda call: call.send(status), key="secret-7")
    assert "secret-7" not in str(caught.value)


def test_an_unknown_model_says_which_ones_there_are() -> None:
    def answer(call: Call) -> None:
        if call.command == "GET":
            call.send(raw=b'{"data": [{"id": "big"}, {"id": 3}, {"id": "small\\n"}]}')
        else:
            call.send(404)

    with stranger(answer) as there:
        with refused("no model 'tiny'", "it has 'big', 'small\\n'."):
            complete(there.endpoint, ASKED, **HOW)
        assert models(there.endpoint) == ["big", "small\n"]


def test_an_address_without_models_is_told_how_one_looks() -> None:
    with refused("ends in /v1"):
        asked(lambda call: call.send(404, b"nothing here"))


def test_the_key_is_not_carried_elsewhere() -> None:
    with (
        stranger(lambda call: call.say("stolen")) as other,
        refused("sends one elsewhere (307)"),
    ):
        asked(lambda call: call.send(307, location=other.endpoint.address), key="secret-7")
    assert other.calls == []


def test_another_error_repeats_what_the_server_says_in_one_line() -> None:
    with refused("answered 400", "'seed is\\nnot supported'"):
        asked(lambda call: call.send(400, b'{"error": {"message": "seed is\\nnot supported"}}'))


def test_not_now_is_asked_again_after_growing_pauses() -> None:
    """1 s; then 5 s, as the server wishes; then 4 s, as a wish without a number is none."""
    wishes = iter(["", "5", "soon"])
    pauses: list[float] = []

    def answer(call: Call) -> None:
        wish = next(wishes, None)
        if wish is None:
            call.say("at last")
        else:
            call.send(429, retry_after=wish)

    assert asked(answer, sleep=pauses.append).text == "at last"
    assert pauses == [1, 5, 4]


def test_not_now_for_ever_is_said_after_four_tries() -> None:
    pauses: list[float] = []
    with refused("429", "4 tries"):
        asked(lambda call: call.send(429, retry_after="99999"), sleep=pauses.append)
    assert pauses == [20, 20, 20]


def test_a_stream_grows_and_its_last_word_says_how_it_ended() -> None:
    def answer(call: Call) -> None:
        call.send()
        call.wfile.write(b": a comment\n\n")
        call.event("Hel")
        call.event("lo")
        call.event(None, "stop")
        call.wfile.write(b'data: {"choices": [],\ndata: "usage": {"completion_tokens": 2}}\n\n')
        call.wfile.write(b"data: [DONE]\n\n")

    found = streamed(answer)
    assert found == [
        Reply("Hel", False, None),
        Reply("Hello", False, None),
        Reply("Hello", True, 2),
    ]


def test_a_stream_cut_at_its_limit_is_not_finished() -> None:
    def answer(call: Call) -> None:
        call.send()
        call.event("Hel", "length")

    assert streamed(answer)[-1] == Reply("Hel", False, None)


def test_half_an_event_is_no_answer() -> None:
    def answer(call: Call) -> None:
        call.send()
        call.event("Hello")
        call.wfile.write(b'data: {"choices": [{"delta": {"content": "wor')

    with refused("broke off after 5 characters"):
        streamed(answer)


def test_an_event_in_many_pieces_is_one_event() -> None:
    """Also where a piece ends within a character: ü has two bytes."""

    def answer(call: Call) -> None:
        call.send()
        raw = 'data: {"choices": [{"delta": {"content": "für"}, "finish_reason": "stop"}]}\n\n'
        for byte in raw.encode():
            call.wfile.write(bytes([byte]))

    assert streamed(answer)[-1].text == "für"


def test_a_stream_without_a_word_ends_when_it_is_stopped_and_hangs_up() -> None:
    def silent(call: Call) -> None:
        call.send()
        call.event("Hel")
        while True:
            time.sleep(0.05)
            call.wfile.write(b": still thinking\n\n")

    with stranger(silent) as there:
        found: list[Reply] = []
        begin = time.monotonic()
        for reply in stream(there.endpoint, ASKED, **HOW, stopped=lambda: bool(found)):
            found.append(reply)
        assert found == [Reply("Hel", False, None)]
        assert time.monotonic() - begin < 10  # the answer itself never ends
        assert there.left.wait(5)


def test_a_stop_reaches_a_server_that_has_not_answered_yet() -> None:
    """As one that sends its headers together with the first token."""

    def mute(call: Call) -> None:
        assert call.rfile.read(1) == b"", "it was hung up"
        raise BrokenPipeError

    with stranger(mute) as there:
        pieces = stream(there.endpoint, ASKED, **HOW, stopped=lambda: bool(there.calls))
        assert list(pieces) == []
        assert there.left.wait(5)


def test_a_reader_that_goes_away_hangs_up() -> None:
    def endless(call: Call) -> None:
        call.send()
        while True:
            call.event("more ")

    with stranger(endless) as there:
        pieces = stream(there.endpoint, ASKED, **HOW)
        assert next(pieces).text == "more "
        pieces.close()
        assert there.left.wait(5)


def test_a_stream_that_is_refused_says_why() -> None:
    with refused("set HONE_ENDPOINT_KEY"):
        streamed(lambda call: call.send(401))


def test_strangers_are_asked_without_a_key_where_there_is_none() -> None:
    def check(there: Stranger) -> None:
        complete(there.endpoint, ASKED, **HOW)
        assert "authorization" not in there.calls[0].headers

    with stranger(lambda call: call.say("hello")) as there:
        check(there)
