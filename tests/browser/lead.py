"""What the tests of the lead's screens share: a page on a tab, votes in the folder, a trained run.

Imported by `conftest.py`, so that `trained` is made once for all files: a tiny model with random
weights is trained through the train screen's button.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from feedback.simulate import simulate_votes
from storage.store import Store
from tests.browser.tiny import make_in_a_process

TRAINING_MS = 480_000  # generous: about 20 s on two free cores
ANSWER_MS = 90_000  # generous: the worker's first answer takes about 5 s on two free cores
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
STILL = 4  # looks in a row, 50 ms apart, without a request under way
TWO_FRAMES = "() => new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))"
FORGIVEN = ("vega", "Failed to load resource")  # what Gradio itself writes to the console


@dataclass
class Desk:
    """One page of the app, on one of the lead's tabs."""

    page: Page
    url: str
    console: list[str] = field(default_factory=list)
    flying: set[Request] = field(default_factory=set)  # requests without an answer yet

    def __post_init__(self) -> None:
        self.page.on("request", self.note)
        for end in ("requestfinished", "requestfailed"):
            self.page.on(end, lambda request: self.flying.discard(request))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("console", lambda said: self.hear(said.type, said.text))

    def note(self, request: Request) -> None:
        if "/heartbeat" not in request.url:  # open for as long as the page is
            self.flying.add(request)

    def unfold(self, name: str) -> Desk:
        """Open a fold; its fields are on the page already."""
        self.page.locator("summary").filter(has_text=name).filter(visible=True).click()
        return self

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label, exact=True).filter(visible=True).fill(value)

    def hear(self, kind: str, text: str) -> None:
        if kind == "error" and not any(word in text for word in FORGIVEN):
            self.console.append(text)

    def open(self, tab: str) -> Desk:
        """Load the app and choose a tab."""
        self.page.goto(self.url)
        self.page.get_by_role("tab", name="Label", exact=True).wait_for()
        return self.turn_to(tab)

    def turn_to(self, tab: str) -> Desk:
        choice = self.page.get_by_role("tab", name=tab, exact=True)
        self.page.evaluate(TWO_FRAMES)  # on a phone tabs move into "more" a frame later
        if not choice.is_visible():  # on a phone the last tabs are behind "more"
            self.part(".overflow-menu > button").click()
            choice = self.part(".overflow-dropdown button").filter(has_text=tab)
        choice.click()
        expect(self.page.get_by_role("heading", name=tab, exact=True)).to_be_visible()
        return self.settle()

    def settle(self, seconds: float = 10.0) -> Desk:
        """Wait until the tab has what it asked for; a person does not type in the first tenth."""
        deadline, still = time.monotonic() + seconds, 0
        while still < STILL and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
            still = 0 if self.flying else still + 1
        return self

    def part(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def says(self, selector: str, words: str, timeout: float = 60_000) -> None:
        """Wait until a part holds the words; what the app complained of goes into the failure."""
        try:
            expect(self.part(selector)).to_contain_text(words, timeout=timeout)
        except AssertionError as error:
            error.add_note(f"the app said: {self.part('.toast-body').all_inner_texts()}")
            raise

    def refuses(self, words: str) -> None:
        """Wait until the one-line error with the words shows."""
        expect(self.part(".toast-body").filter(has_text=words)).to_be_visible()


@pytest.fixture
def desk(browser: Browser) -> Iterator[Callable[..., Desk]]:
    """Return a function that opens a tab of a server's app in a new window."""
    opened = []

    def at(server: Any, tab: str, **options: Any) -> Desk:
        server.start()
        context = browser.new_context(**{"viewport": WIDE, **options})
        opened.append(context)
        return Desk(context.new_page(), server.url).open(tab)

    yield at
    for context in opened:
        context.close()


def vote(server: Any, n: int, **settings: Any) -> None:
    """Cast n simulated votes; the server is stopped meanwhile."""
    server.stop()
    with Store.open(server.data) as store:
        simulate_votes(store, n, **settings)
    server.start()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_in_a_process(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, tiny_model: Path
) -> Iterator[Any]:
    """A server on a folder with 60 comparisons, 60 votes, and one run made with the button."""
    from tests.browser.conftest import Server, free_port, prepare

    folder = tmp_path_factory.mktemp("trained")
    server = Server(folder / "data", free_port(), folder / "log.txt")
    prepare(server.data, 60)
    vote(server, 60, prefer="shorter", noise=0.0)
    context = browser.new_context(viewport=WIDE)
    train(Desk(context.new_page(), server.url).open("Train"), tiny_model)
    context.close()
    yield server
    server.stop()


@dataclass
class Voter:
    """Somebody who votes by REST while a lead looks at a screen, and takes it back at the end."""

    desk: Desk
    url: str

    def begin(self, n: int) -> list[dict[str, Any]]:
        """Sign in; return n items to judge."""
        ask = self.desk.page.context.request
        ask.post(f"{self.url}/api/v1/labeler", data={"name": "Ada"})
        items = ask.get(f"{self.url}/api/v1/items?mode=pairs&n={n}").json()["items"]
        assert len(items) == n
        return items

    def say(self, item: dict[str, Any], verdict: str) -> None:
        body = {"id": str(uuid.uuid4()), "assignment": item["assignment"], "verdict": verdict}
        sent = {**body, "revision": item["revision"]}
        assert self.desk.page.context.request.post(f"{self.url}/api/v1/votes", data=sent).ok
        item["revision"] += 1


def explain(desk: Desk) -> None:
    """Say why it is trained although checks speak against it: the votes here are for length."""
    desk.page.get_by_label("Why train anyway?").fill("only a test")
    desk.says("#train-command", "--because 'only a test'")


def train(desk: Desk, model: Path) -> None:
    """Train with the button, reload the page in the middle, and wait for the report."""
    desk.part("#train-model textarea").fill(str(model))
    desk.part("#train-model textarea").blur()
    desk.says("#train-command", str(model))
    explain(desk)
    desk.part("#train-go").click()
    expect(desk.part("#train-go")).to_be_disabled(timeout=30_000)
    desk.part("#train-cancel").wait_for(state="visible")
    desk.page.reload()
    desk.page.get_by_role("tab", name="Label", exact=True).wait_for()
    desk.turn_to("Train")
    desk.says("#train-state", "Done", timeout=TRAINING_MS)
