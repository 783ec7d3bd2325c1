"""The real app in a process of its own, on a free port, and a headless Chromium that looks at it.

The data folder gets its comparisons through `feedback.items`, so no model is needed. A server is
shared by the tests of a file; each test brings its own labeler. What was stored is read by the
command line's own `export` while the app runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from storage.store import Store
from tests.browser.chromium import ARGS, find
from tests.browser.lead import desk, tiny_model, trained  # noqa: F401  (fixtures)

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 120  # likewise: a lead's screens that are being built are built first
START_SECONDS = 60  # generous: the machine may be busy with other tests
PATIENCE_MS = 60_000  # likewise; what has to be quick is measured by its own test
expect.set_options(timeout=PATIENCE_MS)
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

# An item that is drawn is in sight, to the screen, a frame later: only then keys are for it.
SEEN = "document.querySelector(`hone-screen[mode=${m}]`).screen.visible"
SENT = ("/votes", "/ratings", "/rankings", "/edits")
STOCK = ("river", "lamp", "north", "copper", "window", "garden", "paper", "storm")
PAYLOADS = (
    '<img src=x onerror="window.pwned=1">',
    "<script>window.pwned=1</script>",
    "[click](javascript:window.pwned=1) ![x](https://evil.example/x.png)",
    '<svg onload="window.pwned=1"></svg><iframe srcdoc="<script>parent.pwned=1</script>">',
    '"><details open ontoggle=window.pwned=1><a href="data:text/html,<script>1</script>">x</a>',
    "```html\n<body onload=window.pwned=1>\n```",
)


@dataclass
class Server:
    """One app process on one data folder; the port stays the same over restarts."""

    data: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    labelers: int = field(default=0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the app and wait until it answers; nothing when it runs."""
        if self.process is not None:
            return
        command = [sys.executable, "app.py", "serve", "--no-starter"]
        command += ["--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                pytest.fail(f"the app ended at once: {self.log.read_text()[-2000:]}")
            try:
                if httpx.get(f"{self.url}/api/v1/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        pytest.fail(f"the app did not answer: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End the app as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(timeout=END_SECONDS)
        self.process = None

    def exported(self, format: str) -> list[dict[str, Any]]:
        """Return what the command line exports while the app runs: format "votes" or "trl"."""
        file = self.log.with_name(f"{format}.jsonl")
        command = [sys.executable, "app.py", "export", str(file), "--format", format]
        command += ["--data", str(self.data), "--json", "--names"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Server]]:
    """Return a function that makes a data folder with `n` comparisons and starts the app on it."""
    servers: list[Server] = []

    def make(n: int) -> Server:
        folder = tmp_path_factory.mktemp("app")
        server = Server(folder / "data", free_port(), folder / "log.txt")
        prepare(server.data, n)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(260)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Put the end of the app's log beside a failure."""
    report = yield
    for name, value in getattr(item, "funcargs", {}).items():
        if report.failed and isinstance(value, Server) and value.log.exists():
            report.sections.append((f"log of {name}", value.log.read_text("utf-8")[-2000:]))
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find()
    if path is None:
        why = "no Chromium on the PATH and none of Playwright's: run `make test` or install one"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGS))
        made = chromium.new_context

        def patient(**options: Any) -> BrowserContext:
            context = made(**options)
            context.set_default_timeout(PATIENCE_MS)
            context.set_default_navigation_timeout(2 * PATIENCE_MS)
            return context

        chromium.new_context = patient  # type: ignore[method-assign]
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def _not_at_midnight() -> None:
    """Wait where the day (UTC) is about to end: the screens count what was done today."""
    left = 86_400 - time.time() % 86_400
    if left < 60:
        time.sleep(left + 1)


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Screen]]:
    """Return a function that opens the app as a new labeler and waits for the first item: on the
    labeler's own page, which loads in a moment, or with `tab` on the tab among the lead's screens,
    which holds the same element."""
    opened = []

    def open_as_new_labeler(mode: str = "pairs", *, tab: bool = False, **options: Any) -> Screen:
        server.start()
        server.labelers += 1
        name = options.pop("name", f"Labeler {server.labelers}")
        context = browser.new_context(**{"viewport": WIDE, **options})
        opened.append(context)
        answer = context.request.post(f"{server.url}/api/v1/labeler", data={"name": name})
        assert answer.ok, answer.text()
        screen = Screen(context.new_page(), mode, name)
        screen.open(server.url, tab)
        return screen

    yield open_as_new_labeler
    for context in opened:
        context.close()


@dataclass
class Screen:
    """The label or rate screen in one page, as a person would use it."""

    page: Page
    mode: str
    labeler: str

    def __post_init__(self) -> None:
        self.console: list[str] = []
        self.outside: list[str] = []
        self.sent: list[dict[str, Any]] = []  # bodies of votes, ratings and edits, as sent
        self.page.on("console", lambda said: self.hear(said.type, said.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", self.note)

    def hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self.console.append(text)

    def note(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.outside.append(request.url)
        if request.method == "POST" and request.url.endswith(SENT):
            self.sent.append(request.post_data_json)

    def open(self, url: str, tab: bool = False) -> None:
        own = "/rate" if self.mode == "thumbs" else "/label"
        self.page.goto(url if tab else url + own)
        if tab and self.mode == "thumbs":
            self.page.get_by_role("tab", name="Rate", exact=True).click()
        self.wait_for_an_item()

    def reload(self) -> None:
        self.page.reload()
        self.wait_for_an_item()

    @property
    def host(self) -> Locator:
        return self.page.locator(f'hone-screen[mode="{self.mode}"]')

    def part(self, selector: str) -> Locator:
        return self.host.locator(selector)

    def wait_for_an_item(self) -> None:
        self.part(".item").wait_for(state="visible")
        self.page.wait_for_function(f"m => {SEEN}", arg=self.mode)

    def wait_until_out_of_sight(self) -> None:
        """Wait until the screen knows that another tab is open: its keys are nobody's then."""
        self.page.wait_for_function(f"m => !{SEEN}", arg=self.mode)

    @property
    def assignment(self) -> str:
        return self.host.get_attribute("data-assignment") or ""

    def shown(self, side: str) -> str:
        """Return the text of the answer on a side, as it is on the screen."""
        return self.part(f'.answer[data-side="{side}"] .body').inner_text()

    def press(self, key: str) -> str:
        """Press a key that leads to another item; return the assignment that it was pressed on."""
        before = self.assignment
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "([mode, before]) => document.querySelector(`hone-screen[mode=${mode}]`)"
            ".dataset.assignment !== before",
            arg=[self.mode, before],
        )
        return before

    def wait_until_saved(self) -> None:
        self.page.wait_for_function(
            "() => !Object.keys(localStorage).some((key) => key.startsWith('hone.outbox.'))"
        )
        self.part(".status[data-kind=saved]").wait_for(state="visible")

    def verdicts(self) -> dict[str, str]:
        """Return what the server has of this labeler: assignment → verdict, oldest first."""
        origin = "/".join(self.page.url.split("/")[:3])
        path = f"{origin}/api/v1/history?mode={self.mode}&n=50"
        answer = self.page.context.request.get(path).json()
        return {item["assignment"]: item["verdict"] for item in reversed(answer["items"])}

    def waiting(self) -> int:
        """Return how many votes the browser still keeps."""
        return self.page.evaluate(
            "Object.keys(localStorage).filter((key) => key.startsWith('hone.outbox.')).length"
        )


def prepare(data: Path, n: int) -> None:
    """Fill a data folder with `n` comparisons: plain, conversations, code, and hostile text."""
    talk = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Which month is the coldest?"},
        {"role": "assistant", "content": "January, in most of Europe."},
    ]
    prompts = [
        [*(talk if i % 7 == 3 else []), {"role": "user", "content": f"{words(i)} Number {i}?"}]
        for i in range(n)
    ]
    with Store.open(data) as store:
        made = add_prompts(store, prompts, source="api")
        rows = []
        for i, prompt in enumerate(made):
            for side in ("first", "second"):
                rows.append(
                    NewResponse(prompt.id, answer(i, side), model="test", source="generated")
                )
        responses = add_responses(store, rows)
        pairs = list(zip(responses[::2], responses[1::2], strict=True))
        add_comparisons(store, pairs, source="import:test")


def answer(i: int, side: str) -> str:
    """Return an answer that says which one it is; every third carries something hostile. The two
    answers to one prompt have no sentence in common, else they would be repeats of each other, and
    are never equally long, so that each vote has a longer answer."""
    second = int(side == "second")
    hostile = PAYLOADS[(i // 3 + second) % len(PAYLOADS)] if i % 3 == 0 else ""
    length = " ".join(words(17 * i + j + 500 * second) for j in range(i % 5))
    text = f"The {side} answer to number {i}. {length}\n\n{hostile}".strip()
    return f"{text}!" if second and len(text) == len(answer(i, "first")) else text


def words(i: int) -> str:
    """Return a sentence that is not a near-duplicate of that of another number."""
    return " ".join(STOCK[(i // 8**k + 3 * k) % 8] for k in range(4)) + f" {i * 7919}."


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
