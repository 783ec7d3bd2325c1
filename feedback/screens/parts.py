"""What the lead's screens share: one way to wire an event, to follow what moves, to show text.

Text of people, models and files is hostile: it is shown by `gr.Markdown` (sanitised) after `shown`
or `plain`, by `gr.Dataframe` with datatype "str" or by `gr.Textbox`; `gr.HTML` gets numbers and our
own words only. Knows nothing of what the screens show.
"""

from __future__ import annotations

import inspect
import queue
import re
import threading
import typing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import gradio as gr
from gradio.context import Context

from feedback.accounts import ALONE, LEAD
from feedback.gate import person_of
from storage.errors import NotAllowed, UserError

Result = TypeVar("Result")
POLL_SECONDS = 0.2  # Choice: quick to the eye, no load
CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")


def shown(text: str) -> str:
    """Return text of others as Markdown in which tags are visible text and no picture is fetched.

    Code keeps its characters; everywhere else `<` becomes an entity and `![` loses its meaning.

    Example:
        >>> shown("**b** <img src=x> `<i>`")
        '**b** &lt;img src=x> `<i>`'
    """
    pieces = CODE.split(text)
    pieces[::2] = [p.replace("<", "&lt;").replace("![", "!\\[") for p in pieces[::2]]
    return "".join(pieces)


def plain(text: str) -> str:
    """Return one line of text of others as Markdown that shows exactly its characters.

    Example:
        >>> plain("a*b <c>")
        'a\\\\*b &lt;c>'
    """
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return SPECIAL.sub(r"\\\1", flat)


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in 0..1 as per cent, a dash for None.

    Example:
        >>> percent(0.4099, 1), percent(None)
        ('41.0 %', '–')
    """
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return a 95 % interval of a share as per cent, a dash where there is none.

    Example:
        >>> interval(0.207, 1.0), interval(0.0, 0.0018)
        ('21–100 %', '0.0–0.2 %')
    """
    if low is None or high is None:
        return "–"
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f} %"


def track(low: float, value: float, high: float, label: str) -> str:
    """Return a 0–100 % track as markup: an interval as a band, its value as a mark.

    Args:
        low, value, high: per cent, from 0.
        label: our own words, for who cannot see it.
    """
    return (
        f"<div class='hone-track' role='img' aria-label='{label}'>"
        f"<i class='hone-band' style='left:{low:.2f}%;width:{high - low:.2f}%'></i>"
        f"<i class='hone-mark' style='left:{value:.2f}%'></i></div>"
        "<div class='hone-scale'><span>0</span><span>50 %</span><span>100 %</span></div>"
    )


def minutes(seconds: float | None) -> str:
    """Return a duration in the words that one would say.

    Example:
        >>> minutes(20), minutes(160), minutes(5400), minutes(None)
        ('20 s', '3 min', '1.5 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def ask(handler: Callable, *fixed: Any, role: str = LEAD) -> Callable:
    """Return the handler with its first arguments fixed and its user errors said as one line.

    A plain function with the handler's remaining signature: Gradio reads the annotations to pass
    event data, and does not see through `functools.partial`. In front of it comes who asks, which
    Gradio fills in: without the role the handler is not called, and one with a keyword `by` is told
    the name.
    """
    call = partial(handler, *fixed)
    signature = inspect.signature(call)

    def named(asks: gr.Request | None) -> dict[str, str]:
        by = asking(asks, role)
        return {"by": by} if "by" in signature.parameters else {}

    def once(asks: gr.Request | None, *values: Any) -> Any:
        try:
            return call(*values, **named(asks))
        except UserError as error:
            raise said(error) from error

    def stream(asks: gr.Request | None, *values: Any) -> Iterator[Any]:
        try:
            yield from call(*values, **named(asks))
        except UserError as error:
            raise said(error) from error

    asked: Any = stream if inspect.isgeneratorfunction(handler) else once
    asked.__name__ = handler.__name__
    asked.role = role
    who = inspect.Parameter("asks", inspect.Parameter.POSITIONAL_ONLY)
    kept = [one for name, one in signature.parameters.items() if name != "by"]
    asked.__signature__ = signature.replace(parameters=[who, *kept])
    hints = typing.get_type_hints(handler)
    asked.__annotations__ = {"asks": gr.Request} | {
        one.name: hints[one.name] for one in kept if one.name in hints
    }
    return asked


def asking(request: gr.Request | None, role: str) -> str:
    """Return who sends an event: the account's name, or the one lead without accounts.

    Raises:
        NotAllowed: somebody whose role is another. The gate lets nobody come so far; this is the
            second door.
    """
    inner = request.request if request is not None else None
    person = person_of(inner.scope) if inner is not None else None
    if person is None:
        return ALONE
    if person.role != role or person.scopes is not None:
        raise NotAllowed("This is for leads: ask one to do it.")
    return person.name


def said(error: UserError) -> gr.Error:
    """Return the error as Gradio shows it: the sentence, without a traceback in the log."""
    text = str(error).replace("&", "&amp;").replace("<", "&lt;")
    return gr.Error(text, title="That did not work", duration=15, print_exception=False)


def wire(
    event: Callable,
    handler: Callable,
    *fixed: Any,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    limit: int | None = 8,
    role: str = LEAD,
    **options: Any,
) -> Any:
    """Connect an event to a handler: private, quiet, with a role and a concurrency limit.

    Choice: 8 at once per event, so that one slow reader never makes another wait.
    """
    # On nothing: else the page tells every output three times per event that it is under way, and
    # reads all parts of an output that holds others. Opening a tab took seconds by that.
    quiet = {"show_progress": "hidden", "show_progress_on": []}
    options = {**quiet, "api_visibility": "private", **options}
    asked = ask(handler, *fixed, role=role)
    return event(asked, list(inputs), list(outputs), concurrency_limit=limit, **options)


def tab_around() -> gr.Tab | None:
    """Return the tab that is being built, or None outside one."""
    block = Context.block
    while block is not None and not isinstance(block, gr.Tab):
        block = block.parent
    return block


def on_show(handler: Callable, *fixed: Any, **options: Any) -> Any:
    """Run the handler whenever the tab being built comes to the front (no tabs: at page load);
    return what `wire` returns.

    Args:
        options: as for `wire`.
    """
    tab, page = tab_around(), Context.root_block
    assert page is not None, "screens are laid out inside a page"
    return wire(tab.select if tab is not None else page.load, handler, *fixed, **options)


def on_news(of: str, handler: Callable, *fixed: Any, rest: int = 0, **options: Any) -> Any:
    """Run the handler whenever something moved and the tab being built is in front; return what
    `wire` returns.

    Every event costs a page some of a tenth of a second per output, so nothing is asked by one: the
    page's own script asks the app's `/api/v1/news`, and presses a hidden button.

    Args:
        of: the parts of the news to listen to, with spaces between.
        rest: seconds from one call to the next, at least.
        options: as for `wire`.
    """
    listens = [f"hone-of-{name}" for name in of.split()]
    button = gr.Button(visible="hidden", elem_classes=["hone-news", f"hone-rest-{rest}", *listens])
    return wire(button.click, handler, *fixed, trigger_mode="always_last", **options)


def heading(title: str, lead: str) -> None:
    """Draw a screen's title and the one sentence that says what it is for."""
    gr.Markdown(f"# {title}\n{lead}", elem_classes="hone-heading")


def sheet() -> gr.Column:
    """Return the column that a whole screen is laid out in; `lead.css` styles what is inside."""
    return gr.Column(elem_classes="hone-lead")


@contextmanager
def fold(title: str, elem_id: str) -> Iterator[gr.Column]:
    """Lay out a part that opens and closes by its title, closed at first.

    A `gr.Accordion` makes its fields when it opens and makes them anew once their code has come, so
    that what is typed within that moment is lost. Here they are on the page all the time, and
    `lead.css` hides them while the title's own `<details>` is closed: it is a button for keyboard
    and screen reader without a script.
    """
    gr.HTML(
        f"<details><summary>{title}</summary></details>",
        js_on_load=None, elem_id=elem_id, elem_classes="hone-opener", padding=False,
    )  # fmt: skip
    with gr.Column(elem_classes="hone-folded") as inside:
        yield inside


def two_sides() -> tuple[gr.Markdown, gr.Markdown]:
    """Lay out two texts beside each other (below each other on a phone)."""
    sides = []
    with gr.Row(elem_classes="hone-sides"):
        for _ in "ab":
            with gr.Column(min_width=280):
                text = gr.Markdown(
                    latex_delimiters=[], line_breaks=True, elem_classes="hone-answer"
                )
            sides.append(text)
    return sides[0], sides[1]


class Stopped(Exception):
    """Raised inside a followed call by its own `progress`, after its page went or said stop."""


def follow(call: Callable[[Callable[[str], None]], Result]) -> Iterator[tuple[str, Result | None]]:
    """Run `call(progress)` in a thread; yield each line of progress, then ("", its result).

    Closing the iterator (Stop, a closed page) makes the call's next `progress` raise `Stopped`;
    what it stored until then stays stored.
    """
    lines: queue.Queue[str] = queue.Queue()
    stop = threading.Event()

    def progress(line: str) -> None:
        if stop.is_set():
            raise Stopped
        lines.put(line)

    pool = ThreadPoolExecutor(1, thread_name_prefix="screen")
    future = pool.submit(call, progress)
    try:
        while not (future.done() and lines.empty()):
            with suppress(queue.Empty):
                yield lines.get(timeout=POLL_SECONDS), None
        yield "", future.result()
    finally:
        stop.set()
        pool.shutdown(wait=False)
