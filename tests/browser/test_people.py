"""Accounts in a real browser: log in, judge by keyboard, see no more than one may, log out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from feedback.words import table
from tests.browser.axe import violations
from tests.browser.conftest import PHONE, ROOT, WIDE, Screen, Server

pytestmark = pytest.mark.browser
LONG = "correct horse battery"
Enter = Callable[..., Screen]
FITS = "() => document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture(scope="module")
def team(serve: Callable[[int], Server]) -> Server:
    """Return an app with a lead and a labeler, added while it runs."""
    server = serve(40)
    for words in (["add", "Lea", "--role", "lead"], ["add", "ann"]):
        user(server, *words, "--password-stdin")
    return server


@pytest.fixture
def enter(browser: Browser, team: Server) -> Iterator[Enter]:
    """Return a function that shows ann's page, in a browser with some options."""
    opened = []

    def at(mode: str = "pairs", **options: Any) -> Screen:
        context = browser.new_context(**{"viewport": WIDE, **options})
        opened.append(context)
        context.request.post(f"{team.url}/login", form={"name": "ann", "password": LONG})
        screen = Screen(context.new_page(), mode, "ann")
        screen.page.goto(f"{team.url}/{'rate' if mode == 'thumbs' else 'label'}")
        screen.wait_for_an_item()
        return screen

    yield at
    for context in opened:
        context.close()


def user(server: Server, *words: str) -> str:
    command = [sys.executable, "app.py", "user", *words, "--data", str(server.data)]
    done = subprocess.run(
        command, cwd=ROOT, input=f"{LONG}\n", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def log_in(page: Page, url: str, name: str, password: str = LONG) -> None:
    page.goto(url)
    expect(page).to_have_title(re.compile("Log in"))
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_a_labeler_logs_in_judges_by_keyboard_and_logs_out(browser: Browser, team: Server) -> None:
    context = browser.new_context(viewport=WIDE)
    screen = Screen(context.new_page(), "pairs", "ann")
    page = screen.page
    log_in(page, team.url, "ann", "not the password")
    expect(page.get_by_role("alert")).to_contain_text("do not fit together")
    expect(page.get_by_label("Name")).to_have_value("ann")
    assert violations(page) == []
    page.keyboard.type(LONG)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label")
    screen.wait_for_an_item()
    expect(page.locator(".you")).to_have_text("ann")
    assert violations(page) == []
    assert screen.part("form.name").count() == 0
    screen.console.clear()  # the wrong password's 401
    for key in "1234":
        screen.press(key)
    screen.wait_until_saved()
    page.get_by_role("link", name="Rate").click()
    expect(page.locator('hone-screen[mode="thumbs"] .item')).to_be_visible()
    page.goto(f"{team.url}/")  # the lead's page
    page.wait_for_url("**/label")
    assert page.get_by_role("tab").count() == 0
    assert context.request.get(f"{team.url}/config").status == 403
    assert [line for line in screen.console if "403" not in line] == []
    assert screen.outside == []
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{team.url}/label")
    page.wait_for_url("**/login?next=*")
    context.close()
    votes = [row for row in team.exported("votes") if row["labeler"] == "ann"]
    assert len(votes) == 4


def test_a_lead_sees_the_screens_and_can_log_out(browser: Browser, team: Server) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    log_in(page, team.url, "Lea")
    page.get_by_role("tab", name="Quality", exact=True).wait_for()
    page.locator('hone-screen[mode="pairs"] .item').wait_for(state="visible")
    page.get_by_role("tab", name="Quality", exact=True).click()
    expect(page.get_by_role("heading", name="Quality", exact=True)).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    context.close()


def test_a_lead_invites_and_makes_a_key_on_the_people_screen(
    browser: Browser, team: Server
) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    log_in(page, team.url, "Lea")
    page.get_by_role("tab", name="People", exact=True).click()
    page.locator("#people-accounts").get_by_text("ann", exact=True).wait_for()
    page.locator("#people-name textarea").fill("cleo")
    page.locator("#people-invite").click()
    link = page.locator("#people-link textarea")
    expect(link).to_have_value(re.compile(rf"^{team.url}/invite/[\w-]{{20,}}$"))
    expect(page.locator("#people-accounts")).to_contain_text("invited until")
    page.locator("#people-key textarea").fill("product")
    page.locator("#people-scopes input").nth(1).check()
    page.locator("#people-add-key").click()
    expect(page.locator("#people-made textarea")).to_have_value(re.compile("^hone_"))
    expect(page.locator("#people-changes")).to_contain_text("'product' for feedback")
    page.locator("#people-filter textarea").fill("invite cleo")
    expect(page.locator("#people-changes")).not_to_contain_text("product")
    page.get_by_role("tab", name="Data", exact=True).click()
    page.get_by_role("tab", name="People", exact=True).click()
    expect(link).to_be_hidden()  # it was shown once
    assert page.evaluate(FITS)
    context.close()


def test_votes_wait_while_a_session_is_over_and_are_sent_after_the_next(
    browser: Browser, team: Server
) -> None:
    context = browser.new_context(viewport=WIDE)
    screen = Screen(context.new_page(), "pairs", "ann")
    log_in(screen.page, team.url, "ann")
    screen.wait_for_an_item()
    user(team, "log-out", "ann")
    screen.page.keyboard.press("1")
    screen.page.wait_for_url("**/login?next=%2Flabel")
    expect(screen.page.get_by_label("Name")).to_be_focused()
    assert screen.waiting() == 1
    screen.page.keyboard.type("ann")
    screen.page.keyboard.press("Tab")
    screen.page.keyboard.type(LONG)
    screen.page.keyboard.press("Enter")
    screen.wait_for_an_item()
    screen.wait_until_saved()
    assert screen.waiting() == 0
    context.close()


def test_a_lead_who_never_sees_the_label_screen_can_log_out(browser: Browser, team: Server) -> None:
    """As when a link opens another tab: the screen is never in sight and asks for nothing."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.add_init_script("IntersectionObserver = class { observe() {} disconnect() {} }")
    log_in(page, team.url, "Lea")
    page.get_by_role("tab", name="People", exact=True).click()
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page).to_have_title(re.compile("Log in"))
    context.close()


def test_an_invitation_is_accepted_on_a_phone(browser: Browser, team: Server) -> None:
    link = user(team, "add", "bo", "--invite").splitlines()[-1]
    assert link.startswith(f"{team.url}/invite/")
    context = browser.new_context(viewport=PHONE, color_scheme="dark")
    page = context.new_page()
    page.goto(link)
    assert page.evaluate(FITS)
    assert violations(page) == []
    page.get_by_label("Password").fill(LONG)
    page.get_by_label("The same once more").fill(LONG)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label")
    page.locator('hone-screen[mode="pairs"] .item').wait_for(state="visible")
    assert page.evaluate(FITS)
    assert violations(page) == []
    page.locator("hone-screen .language select").select_option("de")
    expect(page.locator("hone-screen h1")).to_have_text("Welche Antwort ist besser?")
    assert page.evaluate(FITS)
    page.goto(link)
    expect(page.get_by_text("Jede gilt einmal")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="English").click()
    expect(page.get_by_text("each one works once")).to_be_visible()
    context.close()


# Every text, label and hint of the element that no person or model wrote, and that has no bracket.
STRAY = """() => {
  const root = document.querySelector("hone-screen[mode=pairs]").shadowRoot;
  const content = ".message, .body:not(.blank), .guideline";
  const theirs = content + ", .who, .chip, option, textarea, kbd";
  const said = [];
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    const isText = node.nodeType === Node.TEXT_NODE;
    if (isText && !node.parentElement?.closest(theirs)) said.push(node.data);
    const ofTheirs = node.parentElement?.closest(content);
    const hints = isText || ofTheirs ? [] : ["aria-label", "title", "placeholder"];
    said.push(...hints.map((name) => node.getAttribute(name) ?? ""));
  }
  const shown = said.map((text) => text.trim()).filter(Boolean);
  const fromTable = (text) => /[⟦⟧]/.test(text);
  return [shown.filter(fromTable).length, shown.filter((text) => !fromTable(text))];
}"""


def test_no_text_of_the_page_stands_outside_the_table(enter: Enter) -> None:
    """With every text of the table in brackets, whatever has none did not come from there."""
    screen = enter()
    page = screen.page

    def bracketed(text: str | dict[str, str]) -> Any:
        if isinstance(text, dict):
            return {form: f"⟦{one}⟧" for form, one in text.items()}
        return f"⟦{text}⟧"

    marked = json.dumps({key: bracketed(text) for key, text in table("en").items()})
    page.route("**/static/hone/en.json", lambda route: route.fulfill(body=marked))
    screen.reload()

    def stray() -> list[str]:
        marked, found = page.evaluate(STRAY)
        assert marked > 30
        return found

    screen.part(".chip").first.click()
    screen.press("1")
    screen.wait_until_saved()
    page.keyboard.press("?")
    assert stray() == []
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    assert stray() == []
    page.keyboard.press("1")
    screen.part("textarea").wait_for()
    page.keyboard.press("Control+Enter")
    expect(screen.part(".error")).to_have_text(
        "⟦Nothing was changed: change it, or leave with Esc⟧"
    )
    assert stray() == []
    page.keyboard.press("Escape")
    page.route("**/api/v1/votes", lambda route: route.abort())
    screen.press("2")
    expect(screen.part(".status")).to_contain_text("waiting, will be sent⟧")
    assert stray() == []
    page.route("**/api/v1/guideline*", lambda route: route.abort())
    page.keyboard.press("g")
    expect(screen.part(".error")).to_contain_text("⟦the server does not answer⟧")
    page.unroute("**/api/v1/votes")
    screen.wait_until_saved()
    page.evaluate("document.querySelector('hone-screen').screen.askName()")
    expect(screen.part(".state h2")).to_have_text("⟦Who is judging?⟧")
    assert stray() == []


def test_keys_of_ones_own_are_kept_shown_and_never_given_twice(enter: Enter) -> None:
    screen = enter()
    page = screen.page
    page.keyboard.press("?")
    told = screen.part(".told")
    screen.part("[data-rebind=left]").click()
    expect(screen.part("[data-row=left] .press")).to_be_visible()
    for key, says in (
        ("s", "S is the key for “Skip this one” already"),
        ("Control+k", "K cannot be used"),
        ("Enter", "Enter cannot be used"),
        (" ", "Space cannot be used"),
    ):
        page.keyboard.press(key)
        expect(told).to_contain_text(says)
    page.keyboard.press("Escape")
    expect(told).to_have_text("The key for “A is better” stays as it was.")
    expect(screen.part("dialog")).to_be_visible()
    page.keyboard.press("Enter")  # the focus is still on the button
    page.keyboard.press("f")
    expect(told).to_have_text("F is now the key for “A is better”.")
    page.keyboard.press("Escape")
    left = screen.part("[data-verdict=left]")
    expect(left.locator("kbd")).to_have_text("F")
    expect(left).to_have_attribute("aria-keyshortcuts", "f")
    page.keyboard.press("1")  # judges no more
    judged = [screen.press("f")]
    screen.reload()
    expect(left.locator("kbd")).to_have_text("F")
    judged.append(screen.press("F"))
    screen.wait_until_saved()
    assert screen.verdicts().items() >= dict.fromkeys(judged, "left").items()
    page.keyboard.press("?")
    screen.part("[data-act=reset-keys]").click()
    page.keyboard.press("Escape")
    expect(left.locator("kbd")).to_have_text(["1", "←"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_screens_of_a_labeler(enter: Enter, scheme: str) -> None:
    for mode in ("pairs", "thumbs"):
        screen = enter(mode, color_scheme=scheme)
        part = f"hone-screen[mode={mode}]"
        screen.press("s")
        screen.wait_until_saved()
        assert violations(screen.page, part) == []
        screen.page.keyboard.press("?")
        screen.part("[data-rebind=skip]").click()
        assert violations(screen.page, part) == []


def test_a_screen_reader_hears_the_verdict_and_what_comes_next(enter: Enter) -> None:
    """The focus stays on the button; what is said is in a polite live region."""
    screen = enter()
    button = screen.part("[data-verdict=right]")
    button.focus()
    screen.press("Enter")
    spoken = screen.part(".spoken")
    expect(spoken).to_have_attribute("aria-live", "polite")
    assert spoken.inner_text().startswith("B is better. Next: ")
    assert screen.part(".message").last.inner_text()[:40] in spoken.inner_text()
    expect(button).to_be_focused()
    screen.wait_until_saved()
    expect(screen.part("[aria-live=polite].status")).to_have_text("Saved")
