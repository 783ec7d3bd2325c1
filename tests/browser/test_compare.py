"""The compare screen in a real browser: both answers stream, blind, stopped; a duel; none yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Screen, Server
from tests.browser.lead import ANSWER_MS, Desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # the first waits for a training
At = Callable[..., Desk]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(3)


def ask(screen: Desk, prompt: str, tokens: int) -> None:
    screen.unfold("Settings")
    screen.fill("At most, in tokens", str(tokens))
    screen.part("#compare-prompt textarea").fill(prompt)
    screen.part("#compare-go").click()


def test_without_a_run_the_screen_says_where_to_begin(desk: At, server: Server) -> None:
    screen = desk(server, "Compare")
    screen.says("#compare-empty", "No finished run yet")
    expect(screen.part("#compare-go")).to_be_hidden()


def test_both_answers_stream_side_by_side(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    ask(screen, "Why is the sky blue?", 12)
    for side, name in (("left", "Before"), ("right", "After")):
        screen.says(f"#compare-{side}", name)
        screen.says(f"#compare-{side}", "12 tokens", timeout=ANSWER_MS)
    expect(screen.part("#compare-go")).to_be_visible(timeout=ANSWER_MS)
    screen.part("#compare-reward").click()
    screen.says("#compare-legend", "made likelier", timeout=ANSWER_MS)
    for side in ("left", "right"):
        screen.says(f"#compare-{side}", "implicit reward")
        expect(screen.part(f"#compare-{side} .hone-coloured")).to_be_visible()
    expect(screen.part("#compare-reward")).to_have_text("Show plain text")
    screen.part("#compare-reward").click()
    for side in ("left", "right"):
        expect(screen.part(f"#compare-{side} .hone-coloured")).to_be_hidden()
        expect(screen.part(f"#compare-{side} .block.hone-answer")).to_be_visible()
    assert screen.console == []


def test_a_conversation_goes_on_and_its_beginning_is_a_link(desk: At, trained: Server) -> None:
    """Each side keeps its own history; the link fills another page and runs nothing."""
    screen = desk(trained, "Compare", permissions=["clipboard-read", "clipboard-write"])
    ask(screen, "Name a river.", 3)
    screen.part("#compare-follow textarea").fill("And <b>a</b> lake?", timeout=ANSWER_MS)
    screen.part("#compare-follow-go").click()
    for side in ("left", "right"):
        screen.says(f"#compare-{side} .block.hone-turns", "And <b>a</b> lake?")
        screen.says(f"#compare-{side}", "3 tokens", timeout=ANSWER_MS)
    screen.part("#compare-again").click(timeout=ANSWER_MS)
    expect(screen.page.get_by_label("Seed")).to_have_value("1", timeout=ANSWER_MS)
    screen.says("#compare-status", "temperature 0", timeout=ANSWER_MS)
    screen.part("#compare-share").click()
    screen.says("#compare-status", "Copied")
    link = screen.page.evaluate("navigator.clipboard.readText()")
    assert screen.console == []
    other = Desk(screen.page.context.new_page(), trained.url)
    other.page.goto(link)
    expect(other.part("#compare-prompt textarea")).to_have_value("Name a river.", timeout=30_000)
    expect(other.page.get_by_label("Seed")).to_have_value("1")
    expect(other.part("#compare-go")).to_be_visible()
    other.page.wait_for_timeout(500)
    assert "tokens" not in other.part("#compare-left").inner_text()
    assert other.console == []


def test_a_pair_that_people_judged_is_seen_as_the_run_sees_it(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    screen.part("#pair-pick input").click()
    screen.page.get_by_role("option").first.click()
    screen.part("#pair-go").click()
    screen.says("#pair-told", "agrees with people", timeout=ANSWER_MS)
    screen.says("#pair-found", "People: 1 of 1 chose it")
    expect(screen.part("#pair-found .hone-coloured")).to_have_count(2)
    assert screen.console == []


def test_a_prompt_is_held_out_or_from_a_list_of_ones_own(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    screen.part("#compare-held-out input").click()
    screen.page.get_by_role("option").first.click()
    prompt = screen.part("#compare-prompt textarea")
    expect(prompt).not_to_have_value("")
    screen.unfold("A list of your own prompts")
    screen.part("#compare-listed textarea").fill("What is tea?\n\n What is rain? \n")
    for number, text in ((1, "What is tea?"), (2, "What is rain?"), (1, "What is tea?")):
        screen.part("#compare-on").click()
        expect(prompt).to_have_value(text)
        screen.says("#compare-place", f"{number} of 2")
    expect(screen.part("#compare-held-out input")).to_have_value("")
    screen.part("#compare-back").click()
    screen.says("#compare-place", "2 of 2")
    assert screen.console == []


def test_blind_hides_the_names_until_reveal(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    screen.part("#compare-blind input").check()
    ask(screen, "Name a colour.", 4)
    screen.says("#compare-left", "Answer 1")
    screen.part("#compare-reveal").click(timeout=ANSWER_MS)
    names = [screen.part(f"#compare-{side} h3") for side in ("left", "right")]
    for name in names:
        expect(name).to_have_text(re.compile("^(Before|After)$"))
    assert sorted(name.inner_text() for name in names) == ["After", "Before"]


# A tiny model says 400 tokens in about a second: the button is pressed when the first are there.
STOP_AT_ONCE = """() => new MutationObserver((_, observer) => {
  const said = document.querySelector("#compare-left")?.innerText ?? "";
  const stop = document.querySelector("#compare-stop");
  if (!stop || !/[1-9]\\d* tokens/.test(said)) return;
  observer.disconnect();
  stop.click();
  window.stopped = true;
}).observe(document.body, {subtree: true, childList: true, characterData: true})"""


def test_stop_ends_both_answers(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    screen.page.evaluate(STOP_AT_ONCE)
    ask(screen, "Tell a long story.", 400)
    screen.page.wait_for_function("() => window.stopped", timeout=ANSWER_MS)
    expect(screen.part("#compare-go")).to_be_visible()
    screen.page.wait_for_timeout(1_000)  # the last words may be under way
    expect(screen.part("#compare-left")).not_to_contain_text("400 tokens")
    stopped = screen.part("#compare-left").inner_text()
    screen.page.wait_for_timeout(2_000)
    assert screen.part("#compare-left").inner_text() == stopped


def test_an_empty_prompt_gets_one_line(desk: At, trained: Server) -> None:
    screen = desk(trained, "Compare")
    screen.part("#compare-go").click()
    screen.refuses("The prompt is empty")
    expect(screen.part("#compare-go")).to_be_visible()


def test_people_decide_blind_and_the_screen_counts(desk: At, browser: Any, trained: Server) -> None:
    """One prompt of these is kept for duels; a labeler gets it first, and the vote is counted."""
    screen = desk(trained, "Compare")
    screen.says("#duel-stands", "No duel yet")
    screen.part("#duel-prompts input").fill("3")
    screen.part("#duel-go").click()
    screen.says("#duel-stands", "Still to judge on Label: 1 of 1", timeout=ANSWER_MS)
    screen.says("#duel-told", "No more prompts are kept for duels")
    context = browser.new_context()
    context.request.post(f"{trained.url}/api/v1/labeler", data={"name": "Judge"})
    labeler = Screen(context.new_page(), "pairs", "Judge")
    labeler.open(trained.url)
    labeler.press("1")
    labeler.wait_until_saved()
    context.close()
    screen.says("#duel-stands", "Everything is judged", timeout=20_000)
    screen.says("#duel-stands", "0 tied")
    screen.says("#duel-stands", "valid whenever you look")
    expect(screen.part("#duel-go")).to_have_text("Add prompts")
    screen.unfold("Let a judge vote too")
    screen.part("#judges-go").click()
    screen.says("#judges", "judge: shorter – prefers the model after on")
    screen.says("#judges", "of 1")
    screen.says("#judges-told", "judge: shorter judged 1 more.")
    assert screen.console == []


def test_an_adapter_is_promoted_with_a_reason_and_taken_back(desk: At, trained: Server) -> None:
    """After the duel of one prompt that is before it or not: the reason is given in any case."""
    screen = desk(trained, "Rounds")
    screen.says("#rounds-answers", "The base answers")
    screen.says("#rounds-story", "Round 0")
    screen.fill("Why", "shorter, and we want to see it")
    screen.part("#rounds-go").click()
    screen.says("#rounds-answers", "Because: shorter, and we want to see it")
    screen.says("#rounds-story", "Round 1")
    screen.says("#rounds-story", "promoted")
    screen.unfold("Which votes are behind a run")
    screen.part("#rounds-check").click()
    screen.says("#rounds-behind", "Every hash is as it was")
    screen.part("#rounds-back").click()
    screen.says("#rounds-answers", "The base answers")
    screen.says("#rounds-story", "Round 2")
    expect(screen.part("#rounds-back")).to_be_hidden()
    assert screen.console == []
