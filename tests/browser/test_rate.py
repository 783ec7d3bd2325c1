"""The rate screen in a real browser: thumbs by keyboard, undo, skip, a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Screen, Server

pytestmark = pytest.mark.browser
Visit = Callable[..., Screen]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(20)


def test_thumbs_go_by_keyboard_and_can_be_taken_back(visit: Visit) -> None:
    """Up three ways, down three ways, one skip; the last thumb is undone and turned round."""
    screen = visit("thumbs")
    for key in ("1", "ArrowRight", "ArrowUp", "2", "ArrowLeft", "s", "ArrowDown"):
        last = screen.press(key)
    screen.press("u")
    assert screen.assignment == last
    screen.press("1")
    screen.wait_until_saved()
    sent = "up up up down down skip down undone up"
    assert " ".join(s["verdict"] for s in screen.sent) == sent
    assert [s["revision"] for s in screen.sent[-3:]] == [0, 1, 2]
    assert sorted(screen.verdicts().values()) == ["down"] * 2 + ["skip"] + ["up"] * 4
    assert screen.console == []


def test_the_keys_of_one_screen_do_not_reach_the_other(visit: Visit) -> None:
    screen = visit("thumbs", tab=True)
    screen.press("1")
    label = Screen(screen.page, "pairs", screen.labeler)
    assert label.part(".item").is_hidden()
    screen.page.get_by_role("tab", name="Label", exact=True).click()
    label.wait_for_an_item()
    screen.wait_until_out_of_sight()
    label.press("1")
    label.wait_until_saved()
    assert list(screen.verdicts().values()) == ["up"]
    assert list(label.verdicts().values()) == ["left"]


def test_a_phone_shows_both_thumbs_without_scrolling_sideways(visit: Visit) -> None:
    screen = visit("thumbs", viewport=PHONE)
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for verdict in ("up", "down"):
        expect(screen.part(f"[data-verdict={verdict}]")).to_be_in_viewport()
