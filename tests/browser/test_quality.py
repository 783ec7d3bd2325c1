"""The quality screen in a real browser: with no vote, with one, with thirty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from feedback.checks import CHECKS
from tests.browser.conftest import Server
from tests.browser.lead import PHONE, Desk, Voter, vote

pytestmark = pytest.mark.browser
At = Callable[..., Desk]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(40)


def test_without_a_vote_every_check_says_what_is_missing(desk: At, server: Server) -> None:
    screen = desk(server, "Quality")
    for name in CHECKS:
        screen.says(f"#check-{name}", "")
    screen.says("#check-length_bias", "Too little to tell")
    screen.says("#check-length_bias", "Collect votes")
    assert screen.console == []


def test_the_meters_move_while_others_vote(desk: At, server: Server) -> None:
    """Three votes for the longer answer, on whichever side it stands; then all are taken back."""
    screen = desk(server, "Quality")
    screen.says("#quality-live", "0 decided votes")
    ada = Voter(screen, server.url)
    items = ada.begin(3)
    for item in items:
        ada.say(item, longer(item))
    left = sum(longer(item) == "left" for item in items)
    screen.says("#quality-live", "3 decided votes")
    screen.says("#quality-live", "longer won 100 %")
    screen.says("#quality-live", f"left won {100 * left / 3:.0f} %")
    screen.says("#quality-live", "3 pairs by majority")
    screen.says("#check-length_bias", "100.0 %")
    screen.says("#check-position_bias", f"{100 * left / 3:.1f} %")
    for item in items:
        ada.say(item, "undone")
    screen.says("#check-position_bias", "Too little to tell")
    screen.says("#quality-live", "0 decided votes")
    assert screen.console == []


def longer(item: dict[str, Any]) -> str:
    return max(("left", "right"), key=lambda side: len(item[side]["text"]))


def test_one_vote_is_too_little_but_moves_the_meter(desk: At, server: Server) -> None:
    """One vote of one for the longer: 100 %, Wilson's interval from 20.7 to 100 %."""
    vote(server, 1, prefer="longer", noise=0.0)
    screen = desk(server, "Quality")
    screen.says("#check-length_bias", "100.0 %")
    screen.says("#check-length_bias", "21–100 % · n = 1")
    expect(screen.part("#check-length_bias .hone-band")).to_be_visible()
    expect(screen.part("#score-now")).to_have_text("Score them now")


def test_thirty_votes_for_the_longer_answer_are_a_finding(desk: At, server: Server) -> None:
    """The finding about the labeler names it and opens on a click."""
    vote(server, 29, prefer="longer", noise=0.0)
    screen = desk(server, "Quality")
    screen.says("#check-length_bias", "Stop and mend this")
    screen.says("#check-length_bias", "What to do:")
    screen.says("#findings", "labeler sim-1")
    screen.part("#findings .body-cell").filter(has_text="labeler sim-1").first.click()
    screen.says("#finding", "longer answer won")
    assert screen.console == []


def test_a_phone_needs_no_scrolling_sideways(desk: At, server: Server) -> None:
    screen = desk(server, "Quality", viewport=PHONE)
    screen.says("#check-length_bias", "n = 30")
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_labeler_is_left_out_with_a_reason_and_taken_back(desk: At, server: Server) -> None:
    """Thirty votes of one labeler: left out nothing is measured, taken back all of it is."""
    screen = desk(server, "Quality")
    screen.part("#findings .body-cell").filter(has_text="labeler sim-1").first.click()
    expect(screen.part("#remedy-subject")).to_have_text("Leave out labeler sim-1")
    screen.page.get_by_label("Why? It is kept with the decision.").fill("only a simulation")
    screen.part("#remedy-subject").click()
    screen.says("#left-out", "only a simulation")
    screen.says("#check-length_bias", "Too little to tell")
    screen.part("#left-out .body-cell").filter(has_text="sim-1").click()
    screen.part("#take-back").click()
    screen.says("#check-length_bias", "n = 30")
    expect(screen.part("#left-out")).to_be_hidden()


def test_pictures_and_labelers_come_with_their_files(desk: At, server: Server) -> None:
    screen = desk(server, "Quality")
    screen.says("#labelers", "sim-1")
    screen.says("#quality-pictures", "Wins of the longer answer")
    with screen.page.expect_download() as download:
        screen.part("#labelers-file a").click()
    assert download.value.suggested_filename == "hone-labelers.csv"
    with screen.page.expect_download() as download:
        screen.part("#findings-file a").click()
    assert download.value.suggested_filename == "hone-findings.csv"
