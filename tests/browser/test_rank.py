"""Rankings in a real browser: by keyboard, by mouse, undo, outages, pairs in between, a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from feedback.collecting import make
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from storage.store import Store
from tests.browser import axe
from tests.browser.conftest import PHONE, Screen, Server, answer, words

pytestmark = pytest.mark.browser
Visit = Callable[..., Screen]
SIDES = ("first", "second", "third")


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    """Return an app with 40 prompts of three answers and as many of four, each in a campaign of its
    own, beside three ordinary pairs."""
    made = serve(3)
    made.stop()
    with Store.open(made.data) as store:
        for size in (3, 4):
            fill(store, size)
            make(store, f"rank {size}", mode=f"rank{size}", sources=[f"import:{size}"])
    made.start()
    return made


def fill(store: Store, size: int) -> None:
    """Add 40 prompts with so many answers, the neighbours among them compared."""
    for number in range(40):
        i = 1000 * size + number
        (prompt,) = add_prompts(store, [[{"role": "user", "content": f"{words(i)} {i}?"}]], "api")
        texts = [answer(i + 70 * n, "first") for n in range(size)]
        made = add_responses(store, [NewResponse(prompt.id, text, "test") for text in texts])
        add_comparisons(store, list(zip(made, made[1:], strict=False)), f"import:{size}")


def choose(screen: Screen, campaign: str) -> None:
    """Choose a campaign on the page and wait for its first ranking."""
    screen.part(".campaign select").select_option(campaign)
    screen.part(".place").first.wait_for()
    screen.page.keyboard.press("Escape")  # the focus leaves the list
    screen.part("h1").click()


def first_line(text: str) -> str:
    return text.strip().splitlines()[0].strip()


def test_three_rankings_by_keyboard_are_the_votes_on_their_pairs(
    visit: Visit, server: Server
) -> None:
    """Numbers, letters, a tie, a place taken back; whoever was pressed earlier is chosen."""
    screen = visit()
    choose(screen, "rank 3")
    page, expected = screen.page, []
    for keys in (["2", "3"], ["c", "a"], ["1", "Backspace", "3", "3", "3", "=", "2"]):
        texts = [first_line(screen.shown(letter)) for letter in "ABC"]
        for key in keys:
            page.keyboard.press(key)
        places = [int(x) for x in screen.part(".place").all_inner_texts()]
        expected += [{texts[i]: places[i], texts[j]: places[j]} for i in range(3) for j in range(i)]
        screen.press("Enter")
    screen.wait_until_saved()
    assert [sent["verdict"] for sent in screen.sent] == ["B>C>A", "C>A>B", "C=B>A"]
    expect(screen.part(".today")).to_have_text("9 today")
    rows = [row for row in server.exported("votes") if row["labeler"] == screen.labeler]
    assert len(rows) == len(expected) == 9
    for row in rows:
        a, b = (first_line(row[f"response_{side}"]) for side in "ab")
        (places,) = [one for one in expected if one.keys() == {a, b}]
        sign = (places[a] > places[b]) - (places[a] < places[b])
        assert row["verdict"] == {-1: "a", 0: "tie", 1: "b"}[sign]
    assert screen.console == []
    assert screen.outside == []


def test_an_order_is_sent_whole_and_undone_whole_also_after_a_reload(visit: Visit) -> None:
    screen = visit()
    choose(screen, "rank 4")
    expect(screen.part(".choice.before")).to_have_count(0)
    for key in "42":
        screen.page.keyboard.press(key)
    screen.page.keyboard.press("Enter")
    expect(screen.part(".error")).to_have_text("Give every answer a place first")
    screen.page.keyboard.press("1")
    expect(screen.part(".spoken")).to_contain_text("Answer C: place 4.")
    judged = screen.press("Enter")
    expect(screen.part(".spoken")).to_contain_text("Ranked: D, B, A, C")
    skipped = screen.press("s")
    screen.wait_until_saved()
    assert screen.verdicts() == {judged: "D>B>A>C", skipped: "skip"}
    screen.reload()
    screen.press("u")
    assert screen.assignment == skipped
    screen.press("u")
    assert screen.assignment == judged
    assert screen.part(".place").all_inner_texts() == ["3", "2", "4", "1"]
    screen.wait_until_saved()
    assert screen.verdicts() == {}
    screen.press("Enter")
    screen.wait_until_saved()
    assert screen.verdicts() == {judged: "D>B>A>C"}
    assert screen.console == []


def test_rankings_survive_a_killed_server(visit: Visit, server: Server) -> None:
    screen = visit()
    choose(screen, "rank 3")
    server.kill()
    for key in "12":
        screen.page.keyboard.press(key)
    judged = screen.press("Enter")
    expect(screen.part(".status")).to_have_text("Offline – 1 vote waiting, will be sent")
    server.start()
    screen.wait_until_saved()
    assert screen.verdicts() == {judged: "A>B>C"}


def test_a_click_on_an_answer_gives_it_its_place_on_a_phone_too(visit: Visit) -> None:
    screen = visit(viewport=PHONE)
    choose(screen, "rank 3")
    for letter in "CB":
        screen.part(f'.answer[data-side="{letter}"] .body').click()
    assert screen.part(".place").all_inner_texts() == ["3", "2", "1"]
    page = screen.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    before = screen.assignment
    screen.part("[data-act=rank-send]").click()
    expect(screen.host).not_to_have_attribute("data-assignment", before)
    screen.wait_until_saved()
    assert screen.verdicts() == {before: "C>B>A"}
    assert axe.violations(page) == []


def test_pairs_come_between_rankings_where_another_campaign_is_chosen(visit: Visit) -> None:
    """The layout goes to a ranking and back, and the keys with it."""
    screen = visit()
    choose(screen, "rank 3")
    assert screen.part("h1").inner_text() == "Which answer is best, second, third?"
    expect(screen.part("[data-act=edit]")).to_have_count(1)
    expect(screen.part("[data-act=edit]")).to_be_hidden()
    screen.part(".campaign select").select_option("default")
    screen.part("[data-verdict=left]").wait_for()
    screen.part("h1").click()
    screen.press("1")
    screen.wait_until_saved()
    assert list(screen.verdicts().values()) == ["left"]
