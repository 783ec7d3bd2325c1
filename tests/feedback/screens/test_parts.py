"""What every event of the lead's screens goes through."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest
from gradio import queueing

from feedback.screens.parts import Stopped, ask, follow, shown, wire
from storage.errors import NotFound


def handler(store: str, text: str, chosen: gr.SelectData) -> str:
    if text == "lost":
        raise NotFound("there is no <b>x</b>: look again")
    return f"{store}{text}"


def streaming(store: str, text: str) -> Iterator[str]:
    yield store
    raise NotFound(text)


def test_a_bound_handler_keeps_what_gradio_reads_of_it() -> None:
    """Gradio passes event data and who asks by annotation; it looks at signature and hints."""
    asked = ask(handler, "s")
    assert list(inspect.signature(asked).parameters) == ["asks", "text", "chosen"]
    assert asked.__annotations__["asks"] is gr.Request
    assert asked.__annotations__["chosen"] is gr.SelectData
    assert asked(None, "t", None) == "st"
    assert inspect.isgeneratorfunction(ask(streaming, "s"))


def test_a_user_error_becomes_one_line_and_a_bug_stays_a_bug() -> None:
    with pytest.raises(gr.Error) as said:
        ask(handler, "s")(None, "lost", None)
    assert said.value.message == "there is no &lt;b>x&lt;/b>: look again"
    stream = ask(streaming, "s")(None, "gone")
    assert next(stream) == "s"
    with pytest.raises(gr.Error, match="gone"):
        next(stream)
    with pytest.raises(TypeError):
        ask(handler, "s")(None)


def test_tags_and_pictures_of_others_are_shown_as_text() -> None:
    assert shown("a <img src=x> ![y](z)") == "a &lt;img src=x> !\\[y](z)"
    assert shown("```\n<b>\n```\n<i>") == "```\n<b>\n```\n&lt;i>"


def test_following_gives_every_line_and_then_the_result() -> None:
    def call(progress: Callable[[str], None]) -> int:
        for line in "ab":
            progress(line)
        return 7

    assert list(follow(call)) == [("a", None), ("b", None), ("", 7)]


def test_a_closed_follower_stops_the_call_at_its_next_progress() -> None:
    ended = threading.Event()
    go_on = threading.Event()

    def call(progress: Callable[[str], None]) -> None:
        progress("first")
        go_on.wait(5)
        try:
            progress("second")
        except Stopped:
            ended.set()
            raise

    lines = follow(call)
    assert next(lines) == ("first", None)
    lines.close()
    go_on.set()
    assert ended.wait(5)


def test_no_output_is_told_that_an_event_is_under_way() -> None:
    """`[]` is nothing to Gradio's page, None would be every output."""
    given: dict[str, Any] = {}
    wire(lambda *parts, **options: given.update(options), lambda: "")
    assert given["show_progress_on"] == []


def test_what_the_queue_waits_by_has_the_name_that_the_page_sets() -> None:
    """A name of Gradio's inside: set in vain it would be noticed by nobody."""
    assert "self.sleep_when_free" in inspect.getsource(queueing.Queue)
