"""The screens in a real browser on a folder with ten thousand votes of twenty labelers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from feedback.campaigns import set_collecting
from feedback.checks import CHECKS
from storage.store import Store
from tests.browser.conftest import Screen, Server
from tests.browser.lead import Desk, vote

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.alone]
LOADED = 60_000  # ms; generous: every check reads all votes, on a machine that may be busy


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    server = serve(3_000)
    vote(server, 10_000, prefer="longer", noise=0.2, labelers=20)
    server.stop()
    with Store.open(server.data) as store:
        set_collecting(store, overlap=5)  # so that there is still something to judge
    server.start()
    return server


def test_a_labeler_votes_among_ten_thousand(visit: Callable[..., Screen], server: Server) -> None:
    screen = visit()
    for number in range(20):
        screen.press("12"[number % 2])
    screen.wait_until_saved()
    assert len(screen.verdicts()) == 20
    expect(screen.part(".today")).to_have_text("20 today")
    assert screen.console == []


def test_every_check_speaks_of_all_of_them(desk: Callable[..., Desk], server: Server) -> None:
    """Ten thousand votes for the longer of two, one in five against it: 80 %, from 79.2 on."""
    screen = desk(server, "Quality")
    screen.says("#check-length_bias", "n = 10,0", timeout=LOADED)
    for name in CHECKS:
        screen.says(f"#check-{name}", "")
    expect(screen.part("#check-length_bias .hone-value")).to_have_text(re.compile(r"(79|80)\.\d %"))
    screen.says("#check-length_bias", "95 % interval 79.")
    screen.says("#quality-live", "decided votes")
    screen.says("#quality-live", "(79.")
    screen.says("#labelers", "sim-20", timeout=LOADED)
    assert screen.console == []


def test_words_are_found_among_three_thousand(desk: Callable[..., Desk], server: Server) -> None:
    screen = desk(server, "Data")
    screen.says("#data-counts", "3,000", timeout=LOADED)
    screen.says("#browse-where", "page 1 of 150", timeout=LOADED)
    screen.part("#browse-words textarea").fill("Number 2718")
    screen.part("#browse-words textarea").press("Enter")
    screen.says("#browse-where", "page 1 of 1", timeout=LOADED)
    screen.says("#browse-table", "Number 2718?")
    assert screen.console == []


def test_the_light_says_what_training_would_take(desk: Callable[..., Desk], server: Server) -> None:
    screen = desk(server, "Train")
    screen.says("#train-ready", "to learn from", timeout=LOADED)
    screen.says("#train-light", "Look first", timeout=LOADED)
    assert screen.console == []
