"""Twelve attacks in every place where text of people, models or files appears: nothing runs.

Each payload begins with a word of its own ("zz07"), by which a place is known to show it. All of
them lie in one data folder; each screen is looked at once. A marker says whether anything ran, the
browser's own list of requests whether anything was asked of another host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from align import runs
from align.clearance import RED
from align.models import Model
from align.screens.light import LIGHTS
from feedback.campaigns import set_collecting, set_guideline
from feedback.imports import import_file
from feedback.snapshots import freeze
from storage.records import Promotion
from storage.store import Store
from tests.browser.conftest import WIDE, Screen, Server, free_port
from tests.browser.lead import Desk

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RUN = "window.top.__x=1"
BEACON = "https://beacon.invalid"
ATTACKS = (
    f"<script>{RUN}</script>",
    f'<img src=x onerror="{RUN}"><video><source onerror="{RUN}"></video>',
    f'<svg onload="{RUN}"><animate onbegin="{RUN}" attributeName=x></svg>',
    f'[go](javascript:{RUN}) <a href="javascript:{RUN}">go</a> <javascript:{RUN}>',
    f'<a href="data:text/html,<script>{RUN}</script>">go</a> [go](data:text/html;base64,PHN2Zz4=)',
    f'<style>@import "{BEACON}/i.css"; * {{ background: url({BEACON}/b.png) }}</style>',
    f"![seen]({BEACON}/m.png) <img src={BEACON}/i.png> [![x]({BEACON}/n.png)]({BEACON})",
    f"&lt;img src=x onerror=&quot;{RUN}&quot;&gt; &#60;script&#62;{RUN}&#60;/script&#62;",
    f"\u202e\u2066\"'><script>{RUN}</script><b \u2069\u202c",
    f"$\\href{{javascript:{RUN}}}{{x}}$ $$\\includegraphics{{{BEACON}/k}}$$ "
    f"{{{{constructor.constructor('{RUN}')()}}}} ${{{RUN}}} <%= {RUN} %>",
    f'<iframe srcdoc="<script>{RUN}</script>"></iframe><object data="{BEACON}/o"></object>',
    f'<meta http-equiv="refresh" content="0;url={BEACON}/r"><base href="{BEACON}/">'
    f'<link rel=stylesheet href="{BEACON}/l.css"><form action="{BEACON}"><input autofocus></form>',
)
PAYLOADS = tuple(f"zz{n:02d} {attack}" for n, attack in enumerate(ATTACKS, start=1))
ALL = {f"zz{n:02d}" for n in range(1, len(ATTACKS) + 1)}
EVERY = "\n\n".join(PAYLOADS)

# In the document and in every shadow root: what only an attack can have put there.
FOUND = """([beacon]) => {
  const bad = ["[onerror]", "[onload]", "[onbegin]", "[srcdoc]", "meta[http-equiv=refresh]",
    "object", `base[href^="${beacon}"]`, `[src^="${beacon}"]`, "source",
    `form[action^="${beacon}"]`, `link[href^="${beacon}"]`, '[href^="javascript:" i]',
    '[href^="data:text" i]'].join(", ");
  const scripts = (root) => [...root.querySelectorAll("script, style")]
    .filter((one) => /__x|beacon\\.invalid/.test(one.textContent)).map((one) => one.outerHTML);
  const look = (root) => [...root.querySelectorAll(bad)].map((one) => one.outerHTML)
    .concat(scripts(root), ...[...root.querySelectorAll("*")]
      .filter((one) => one.shadowRoot).map((one) => look(one.shadowRoot)));
  return look(document);
}"""


def name_of(payload: str) -> str:
    """Return a payload as short as a name may be, without what turns the text around it."""
    return re.sub("[\u202a-\u202e\u2066-\u2069]", "", payload)[:80].strip()


def write_votes(path: Path) -> None:
    """Write one vote for each payload, with it in every field that holds a text."""
    rows = [
        {
            "prompt": [
                {"role": "system", "content": f"{payload} system"},
                {"role": "user", "content": f"{payload} asks"},
                {"role": "assistant", "content": f"{payload} said"},
                {"role": "user", "content": f"{payload} asks again"},
            ],
            "response_a": f"{payload} first",
            "response_b": f"{payload}\n\n```html\n{payload}\n```\n\n| a |\n|---|\n| {payload} |",
            "model_a": name_of(payload),
            "model_b": f"{name_of(payload)[:70]} b",
            "labeler": name_of(payload),
            "verdict": "a" if n % 3 else "b",
            "left": "ab"[n % 2],
            "created_at": f"2026-01-{n + 1:02d}T00:00:00Z",
        }
        for n, payload in enumerate(PAYLOADS)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose folder holds nothing but attacks: votes, guideline, a run, a decision."""
    made = tmp_path_factory.mktemp("attacked")
    server = Server(made / "data", free_port(), made / "log.txt")
    votes = made / "votes.jsonl"
    write_votes(votes)
    with Store.open(server.data) as store:
        told = import_file(store, votes)
        assert (told["stored"], told["refused"]) == (len(PAYLOADS), [])
        set_guideline(store, EVERY)
        set_collecting(store, overlap=3)
        model = Model(EVERY[:2_000], server.data / "model", "sha256:0", 1, True, EVERY, 512)
        run = runs.create_run(store, server.data, freeze(store).id, "dpo", model, {})
        store.add([Promotion("p1", run.id, {}, EVERY, name_of(PAYLOADS[1]))])
    folder = server.data / "runs" / run.id
    status = {"status": "failed", "message": EVERY, "warnings": []}
    (folder / "status.json").write_text(json.dumps(status))
    server.start()
    yield server
    server.stop()


class Watched:
    """A page that notes whatever an attack would do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.places: dict[str, set[str]] = {}
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.asked.append(f"dialog {dialog.message}"))
        page.context.on("page", lambda other: self.asked.append(f"window {other.url}"))

    def shows(self, place: str, selector: str, *words: str) -> None:
        """Note what a place shows; nothing of it may have become more than text."""
        part = self.page.locator(selector).first
        wanted = sorted(words or ALL)
        for word in wanted:
            expect(part).to_contain_text(word)
        text = part.evaluate("(one) => `${one.innerText ?? ''} ${one.value ?? ''}`")
        found = set(re.findall(r"zz\d\d", text))
        assert set(wanted) <= found, f"{place} shows {sorted(found)} of {wanted}"
        self.places[place] = found
        self.is_clean(place)

    def is_clean(self, place: str) -> None:
        for frame in self.page.frames:
            assert frame.evaluate("window.top.__x") is None, f"something ran in {place}"
        assert self.page.evaluate(FOUND, [BEACON]) == [], place
        elsewhere = [
            url for url in self.asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
        ]
        assert elsewhere == [], place


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport=WIDE)
    yield made
    made.close()


def test_what_a_labeler_reads_and_writes(attacked: Server, context: BrowserContext) -> None:
    """Label, rate, history, edit, guideline, name and comment: 12 items, each with one payload."""
    name = f"{name_of(PAYLOADS[1])[:60]} me"  # the whole one is an imported labeler's
    assert context.request.post(f"{attacked.url}/api/v1/labeler", data={"name": name}).ok
    page = context.new_page()
    screen, watched = Screen(page, "pairs", "x"), Watched(page)
    screen.open(attacked.url, tab=True)
    page.keyboard.press("g")
    watched.shows("guideline", "hone-screen[mode=pairs] .guideline")
    watched.shows("labeler's name", "hone-screen[mode=pairs] .who", "zz02")
    seen: dict[str, set[str]] = {"prompt": set(), "left": set(), "right": set(), "system": set()}
    for payload in PAYLOADS:
        for name, selector in (
            ("prompt", ".messages"), ("left", '[data-side="left"]'),
            ("right", '[data-side="right"]'), ("system", '[data-role="system"]'),
        ):  # fmt: skip
            seen[name] |= set(re.findall(r"zz\d\d", screen.part(selector).first.inner_text()))
        watched.is_clean("label")
        screen.part(".comment").fill(payload[:300])
        screen.part(".comment").press("Escape")
        if payload == PAYLOADS[-1]:
            page.keyboard.press("2")  # nothing comes after it
        else:
            screen.press("2")
        screen.wait_until_saved()
    assert seen == dict.fromkeys(seen, ALL)
    screen.part(".state [data-act=undo]").click()
    screen.wait_for_an_item()
    page.keyboard.press("e")
    page.keyboard.press("1")
    screen.part("textarea").wait_for()
    watched.is_clean("editor")
    screen.part("textarea").fill(EVERY)
    page.keyboard.press("Control+Enter")
    watched.is_clean("history and edit")
    page.get_by_role("tab", name="Rate", exact=True).click()
    rate = Screen(page, "thumbs", "x")
    rate.wait_for_an_item()
    rated: set[str] = set()
    for _ in range(4):
        rated |= set(re.findall(r"zz\d\d", rate.part(".item").inner_text()))
        watched.is_clean("rate")
        rate.press("1")
    assert rated


def test_what_a_lead_reads_of_it(attacked: Server, context: BrowserContext, tmp_path: Path) -> None:
    page = context.new_page()
    watched = Watched(page)
    desk = Desk(page, attacked.url)
    desk.open("Data")
    watched.shows("list of comparisons", "#browse-table")
    page.locator("#browse-table .body-cell").filter(has_text="zz03").first.click()
    watched.shows("one comparison", "#browse-detail", "zz03")
    page.locator("#browse-words textarea, #browse-words input").first.fill(PAYLOADS[1])
    desk.settle()
    watched.is_clean("search")
    bad = tmp_path / 'zz02 <img src=x onerror="window.top.__x=1">.jsonl'
    write_votes(bad)
    bad.write_text(bad.read_text().replace('"verdict": "a"', f'"verdict": {json.dumps(EVERY)}'))
    page.locator("#import-file input[type=file]").set_input_files(bad)
    desk.says("#import-file", "zz02")
    watched.is_clean("chosen file's name")
    page.locator("#import-go").click()
    watched.shows("refused rows", "#import-refused", "zz01")
    page.locator("#export-go").click()
    desk.says("#export-told", "")
    watched.is_clean("export")
    desk.turn_to("Quality")
    desk.says("#labelers", "zz")
    watched.is_clean("labelers, models, findings")
    row = page.locator("#findings .body-cell").filter(has_text="zz").first
    if row.count():
        row.click()
        desk.settle()
        watched.is_clean("a finding")
    desk.turn_to("Generate")
    page.locator("#generate-prompts textarea").fill(EVERY)
    page.locator("#generate-model textarea, #generate-model input").first.fill(PAYLOADS[1])
    page.locator("#generate-go").click()
    expect(page.locator(".toast-body")).to_contain_text("zz02", timeout=20_000)
    watched.is_clean("what is said of a model that there is not")
    desk.turn_to("Train")
    watched.shows("a run that failed", "#train-watch", "zz01")
    light = page.locator("#train-light")
    expect(light).to_contain_text(re.compile("|".join(LIGHTS.values())), timeout=60_000)
    if LIGHTS[RED] in light.inner_text():  # no reason helps where other tests leave too little room
        assert "GB" in page.locator("#train-warning").inner_text()
    else:
        page.locator("#train-because textarea, #train-because input").first.fill(EVERY)
    desk.settle()
    watched.is_clean("the command")
    desk.turn_to("Rounds")
    watched.shows("why an adapter was promoted", "#rounds-answers", "zz01")
    desk.turn_to("Compare")
    watched.is_clean("compare")
    page.goto(f"{attacked.url}/?prompt={PAYLOADS[1]}&run={PAYLOADS[2]}&seed={PAYLOADS[3]}")
    page.get_by_role("tab", name="Label", exact=True).wait_for()
    desk.settle()
    watched.is_clean("address")


def test_the_watch_sees_what_it_is_for(context: BrowserContext) -> None:
    """The same attacks on a page that lets them through: run, found, and asked elsewhere."""
    page = context.new_page()
    watched = Watched(page)
    page.set_content("\n".join(ATTACKS[:-1]), wait_until="commit")  # the last one leaves the page
    page.wait_for_function("window.top.__x === 1")
    assert len(page.evaluate(FOUND, [BEACON])) > 8
    assert [url for url in watched.asked if url.startswith(BEACON)]
    with pytest.raises(AssertionError, match="something ran"):
        watched.is_clean("here")
