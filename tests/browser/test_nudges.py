"""What a labeler sees of themselves, and what they must not see, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from feedback.campaigns import set_collecting
from feedback.gold import set_gold
from feedback.nudges import SIDE_RUN
from storage.records import Assignment, Vote
from storage.store import Store
from tests.browser.conftest import PHONE, Screen, Server

pytestmark = pytest.mark.browser
Visit = Callable[..., Screen]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(200)


def run_on_the_left(screen: Screen) -> None:
    """Choose the left answer until one verdict is missing to the note; then the last one."""
    for n in range(SIDE_RUN - 1):
        if n % 7 == 6:  # eight in a row would be too fast to have read
            screen.page.wait_for_timeout(2_100)
        screen.press("1")
    screen.wait_until_saved()
    expect(screen.part(".note")).to_be_hidden()
    screen.press("1")
    expect(screen.part(".note")).to_contain_text(f"The last {SIDE_RUN} times", timeout=20_000)


PLACES = """
() => [...document.querySelector("hone-screen[mode=pairs]").shadowRoot
  .querySelectorAll(".choice, .tools, .top h1, .item, .bar, .answers")]
  .map((part) => { const { x, y, width } = part.getBoundingClientRect(); return [x, y, width]; })
"""


def test_a_run_on_one_side_gets_a_note_that_moves_nothing_and_that_one_key_hides(
    visit: Visit,
) -> None:
    screen = visit()
    run_on_the_left(screen)
    screen.wait_until_saved()
    with_note, place = screen.page.evaluate(PLACES), screen.assignment
    screen.page.keyboard.press("h")
    expect(screen.part(".note")).to_be_hidden()
    assert screen.page.evaluate(PLACES) == with_note
    assert screen.assignment == place
    expect(screen.part(".pace")).to_contain_text("a minute")
    assert screen.console == []


def test_the_note_goes_by_itself_and_does_not_come_again_by_undo(visit: Visit) -> None:
    """Undone and given again, the verdict that gave rise to it gives rise to none."""
    screen = visit()
    run_on_the_left(screen)
    screen.page.keyboard.press("h")
    judged = screen.press("u") and screen.assignment
    screen.press("1")
    screen.wait_until_saved()
    expect(screen.part(".note")).to_be_hidden()
    assert len(screen.verdicts()) == SIDE_RUN
    assert list(screen.verdicts())[-1] == judged


def test_an_unread_note_goes_after_five_more_verdicts(visit: Visit) -> None:
    screen = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    run_on_the_left(screen)
    box = screen.part(".note").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    for _ in range(4):
        screen.press("2")
    expect(screen.part(".note")).to_be_visible()
    screen.press("2")
    expect(screen.part(".note")).to_be_hidden()


# An item's look without its texts: every tag and attribute of what stands around them. A note and a
# wait are left out too: they come from the verdicts before and from the network, not the item.
LOOK = """
() => {
  const host = document.querySelector("hone-screen[mode=pairs]");
  const AROUND = ".text, .messages, .more, .progress, .status, .spoken, .note, .state";
  const item = host.shadowRoot.querySelector(".screen").cloneNode(true);
  item.querySelectorAll(AROUND).forEach((n) => n.remove());
  const look = item.innerHTML.replace(/ (tabindex|style)="[^"]*"/g, "");
  return [host.getAttributeNames().join(), look];
}
"""


def test_a_repeat_and_a_gold_item_look_like_any_other(
    serve: Callable[[int], Server], browser: Any
) -> None:
    """60 verdicts with half of the items measuring: all kinds come, all look and are sent alike."""
    server = serve(90)
    server.stop()
    with Store.open(server.data) as store:
        for id in store.frame("comparisons")["comparison"].tolist()[:30]:
            set_gold(store, id, "a")
        set_collecting(store, repeats=0.3, gold=0.2)
    server.start()
    context = browser.new_context()
    context.request.post(f"{server.url}/api/v1/labeler", data={"name": "Ada"})
    screen = Screen(context.new_page(), "pairs", "Ada")
    given: list[Any] = []
    looks: dict[str, Any] = {}
    screen.page.on("response", lambda answer: given.append(answer))
    screen.open(server.url)
    for number in range(60):
        looks[screen.assignment] = screen.page.evaluate(LOOK)
        screen.press("12"[number % 2])
    screen.wait_until_saved()
    answers = [one.json() for one in given if "/api/v1/items" in one.url]
    sent = {item["assignment"]: set(item) for answer in answers for item in answer["items"]}
    context.close()
    server.stop()
    with Store.open(server.data) as store:
        kinds = {place.id: place.kind for place in store.rows(Assignment)}
        assert len(store.rows(Vote)) == 60
    seen = {kind: [looks[id] for id in looks if kinds[id] == kind] for kind in kinds.values()}
    assert set(seen) == {"plain", "repeat", "gold"}
    assert all(seen.values())
    first = seen["plain"][0]
    assert [look for looks in seen.values() for look in looks if look != first] == []
    assert len({frozenset(keys) for keys in sent.values()}) == 1
