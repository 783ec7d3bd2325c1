"""Accounts in a real browser: log in, judge by keyboard, see no more than one may, log out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, ROOT, WIDE, Screen, Server

pytestmark = pytest.mark.browser
LONG = "correct horse battery"
FITS = "() => document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture(scope="module")
def team(serve: Callable[[int], Server]) -> Server:
    """Return an app with a lead and a labeler, added while it runs."""
    server = serve(40)
    for words in (["add", "Lea", "--role", "lead"], ["add", "ann"]):
        user(server, *words, "--password-stdin")
    return server


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
    page.keyboard.type(name)  # the cursor waits there
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
    page.keyboard.type(LONG)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label")
    screen.wait_for_an_item()
    expect(page.locator(".you")).to_have_text("ann")
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
    assert screen.waiting() == 1
    screen.page.keyboard.type("ann")
    screen.page.keyboard.press("Tab")
    screen.page.keyboard.type(LONG)
    screen.page.keyboard.press("Enter")
    screen.wait_for_an_item()
    screen.wait_until_saved()
    assert screen.waiting() == 0
    context.close()


def test_an_invitation_is_accepted_on_a_phone(browser: Browser, team: Server) -> None:
    link = user(team, "add", "bo", "--invite").splitlines()[-1]
    assert link.startswith(f"{team.url}/invite/")
    context = browser.new_context(viewport=PHONE, color_scheme="dark")
    page = context.new_page()
    page.goto(link)
    assert page.evaluate(FITS)
    page.get_by_label("Password").fill(LONG)
    page.get_by_label("The same once more").fill(LONG)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label")
    page.locator('hone-screen[mode="pairs"] .item').wait_for(state="visible")
    assert page.evaluate(FITS)
    page.goto(link)
    expect(page.get_by_text("each one works once")).to_be_visible()
    context.close()
