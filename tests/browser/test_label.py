"""The label screen in a real browser: the keyboard, undo, outages, edits, hostile text, a phone."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Browser, FloatRect, Route, expect

from align.calls import call, find_server
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from storage.store import Store
from tests.browser.conftest import PHONE, WIDE, Screen, Server

pytestmark = pytest.mark.browser
Visit = Callable[..., Screen]

KEYS = {"1": "left", "ArrowLeft": "left", "2": "right", "ArrowRight": "right", "3": "tie"}
KEYS |= {"ArrowDown": "tie", "4": "both_bad"}


def test_a_name_is_asked_once_and_twenty_votes_go_by_keyboard_alone(
    browser: Browser, server: Server
) -> None:
    """What is stored as chosen is the text that stood on the side that the key named."""
    context = browser.new_context(viewport=WIDE)
    screen = Screen(context.new_page(), "pairs", "Ada")
    page = screen.page
    page.goto(server.url)
    screen.part("form.name").wait_for()
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    screen.wait_for_an_item()
    expected = []
    for key in [*list(KEYS) * 2, "1", "2", "3", "4", "1", "2"]:
        side = KEYS[key]
        text = screen.shown(side) if side in ("left", "right") else ""
        expected.append((side, text))
        screen.press(key)
    screen.wait_until_saved()
    expect(screen.part(".today")).to_have_text("20 today")
    screen.reload()
    assert screen.part("form.name").count() == 0
    expect(screen.part(".who")).to_contain_text("Ada")
    assert screen.outside == []
    assert screen.console == []
    context.close()
    votes = votes_of(server, "Ada")
    assert len(votes) == 20
    for vote, (verdict, text) in zip(votes, expected, strict=True):
        assert vote["verdict"] in (verdict, "a", "b")
        assert (vote["verdict"] in ("a", "b")) == bool(text)
        if text:
            assert first_line(vote[f"response_{vote['verdict']}"]) == first_line(text)


def test_a_labeler_is_not_told_what_others_choose(visit: Visit) -> None:
    """Which answers win would sway the next vote: it is neither shown nor asked for."""
    screen = visit()
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.reload()
    for key in "12":
        screen.press(key)
    screen.wait_until_saved()
    assert any("/api/v1/items" in url for url in asked)
    assert not [url for url in asked if "/api/v1/meters" in url]
    assert "won" not in screen.part("header.top").inner_text()


def votes_of(server: Server, labeler: str) -> list[dict[str, Any]]:
    """Return what the app stored for a labeler, oldest first, as `export` writes it."""
    votes = [row for row in server.exported("votes") if row["labeler"] == labeler]
    return sorted(votes, key=lambda row: row["created_at"])


def first_line(text: str) -> str:
    return text.strip().splitlines()[0].strip()


def test_undo_goes_back_several_steps_also_after_a_reload(visit: Visit) -> None:
    """Five votes; two undone at once, the third back only after a reload; then voted again."""
    screen = visit()
    judged = [screen.press("1") for _ in range(5)]
    assert [screen.press("u") and screen.assignment for _ in range(2)] == [judged[4], judged[3]]
    expect(screen.part("[data-verdict=left]")).to_have_class(re.compile("before"))
    screen.wait_until_saved()
    screen.reload()
    screen.press("u")
    assert screen.assignment == judged[2]
    screen.press("2")
    screen.wait_until_saved()
    sent = [(s["revision"], s["verdict"]) for s in screen.sent if s["assignment"] == judged[2]]
    assert sent == [(0, "left"), (1, "undone"), (2, "right")]
    assert screen.verdicts() == {judged[0]: "left", judged[1]: "left", judged[2]: "right"}


def test_votes_survive_a_reload_while_the_network_is_away(visit: Visit) -> None:
    screen = visit()
    refuse = lambda route: route.abort()  # noqa: E731
    screen.page.route("**/api/v1/votes", refuse)
    judged = [screen.press(key) for key in ("1", "2", "3")]
    expect(screen.part(".status")).to_have_text("Offline – 3 votes waiting, will be sent")
    screen.reload()
    assert screen.waiting() == 3
    assert screen.assignment not in judged
    screen.page.unroute("**/api/v1/votes", refuse)
    screen.wait_until_saved()
    assert list(screen.verdicts()) == judged


def test_a_killed_server_loses_no_vote_and_counts_none_twice(visit: Visit, server: Server) -> None:
    """One vote before the kill, two while the server is away, one after it came back."""
    screen = visit()
    judged = [screen.press("1")]
    screen.wait_until_saved()
    server.kill()
    judged += [screen.press("2"), screen.press("3")]
    expect(screen.part(".status")).to_have_text("Offline – 2 votes waiting, will be sent")
    server.start()
    screen.wait_until_saved()
    judged.append(screen.press("4"))
    screen.wait_until_saved()
    assert list(screen.verdicts()) == judged
    votes = votes_of(server, screen.labeler)
    assert len(votes) == 4
    assert [v["verdict"] for v in votes[2:]] == ["tie", "both_bad"]


def test_an_answer_that_never_arrived_is_asked_for_again_by_the_same_id(visit: Visit) -> None:
    """The server stores the vote, its acknowledgement is lost, the page sends the same id again."""
    screen = visit()
    answers = []

    def lose_first_answer(route: Route) -> None:
        answer = route.fetch()
        answers.append(answer.json())
        if len(answers) == 1:
            return route.abort()
        route.fulfill(response=answer)

    screen.page.route("**/api/v1/votes", lose_first_answer)
    judged = screen.press("1")
    screen.wait_until_saved()
    screen.page.unroute("**/api/v1/votes")
    assert [(a["saved"], a["repeated"]) for a in answers] == [(True, False), (True, True)]
    assert answers[0]["id"] == answers[1]["id"]
    assert list(screen.verdicts()) == [judged]


def test_an_edit_becomes_a_correction_of_the_side_it_was_made_on(
    visit: Visit, server: Server
) -> None:
    screen = visit()
    place, text = screen.assignment, screen.shown("right")
    screen.page.keyboard.press("e")
    screen.page.keyboard.press("2")
    field = screen.part("textarea")
    assert first_line(field.input_value()) == first_line(text)
    screen.page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    screen.page.keyboard.press("e")
    screen.page.keyboard.press("2")
    field.fill("Better: 1 2 3 4.")
    screen.page.keyboard.press("Control+Enter")
    expect(screen.part('.answer[data-side="right"] .corrected')).to_be_visible()
    assert screen.assignment == place
    screen.press("s")
    screen.wait_until_saved()
    assert screen.verdicts() == {place: "skip"}
    pairs = [p for p in server.exported("trl") if p["chosen"][0]["content"] == "Better: 1 2 3 4."]
    assert [first_line(p["rejected"][0]["content"]) for p in pairs] == [first_line(text)]


LEAK = "I'm ChatGPT, made by OpenAI, and there are nine planets."
MASKED = "I'm [hidden], made by [hidden], and there are nine planets."


@pytest.fixture
def leaking(serve: Callable[[int], Server], browser: Browser) -> Iterator[tuple[Server, Screen]]:
    """A server whose only comparison has an answer that names its model, and Ada looking at it."""
    server = serve(0)
    server.stop()
    with Store.open(server.data) as store:
        (prompt,) = add_prompts(store, [[{"role": "user", "content": "How many planets?"}]], "api")
        answers = [NewResponse(prompt.id, text, "m") for text in (LEAK, "There are eight.")]
        a, b = add_responses(store, answers)
        add_comparisons(store, [(a, b)], "import:test")
    server.start()
    context = browser.new_context(viewport=WIDE)
    context.request.post(f"{server.url}/api/v1/labeler", data={"name": "Ada"})
    screen = Screen(context.new_page(), "pairs", "Ada")
    screen.open(server.url)
    yield server, screen
    context.close()


def test_a_model_that_names_itself_is_judged_unnamed_and_edited_as_it_wrote(
    leaking: tuple[Server, Screen],
) -> None:
    """The vote and the edit are on the stored text, and both look masked all the while."""
    server, screen = leaking
    key, side = ("1", "left") if "planets" in screen.shown("left") else ("2", "right")
    assert screen.shown(side) == MASKED
    screen.page.keyboard.press("e")
    screen.page.keyboard.press(key)
    field = screen.part("textarea")
    expect(field).to_have_value(LEAK)
    screen.page.keyboard.press("Control+Enter")
    expect(screen.part(".error")).to_contain_text("Nothing was changed")
    field.fill(f"{LEAK} No: eight.")
    screen.page.keyboard.press("Control+Enter")
    expect(screen.part(f'.answer[data-side="{side}"] .corrected')).to_be_visible()
    assert screen.shown(side) == MASKED
    screen.page.keyboard.press(key)
    screen.wait_until_saved()
    (vote,) = votes_of(server, "Ada")
    assert vote[f"response_{vote['verdict']}"] == LEAK
    rows = [
        (p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in server.exported("trl")
    ]
    assert (f"{LEAK} No: eight.", LEAK) in rows
    assert screen.console == []


def test_without_the_server_a_masked_answer_is_not_edited_and_the_keys_go_on(
    leaking: tuple[Server, Screen],
) -> None:
    _, screen = leaking
    screen.page.route("**/api/v1/items/*/text*", lambda route: route.abort())
    screen.page.keyboard.press("e")
    screen.page.keyboard.press("1" if "planets" in screen.shown("left") else "2")
    expect(screen.part(".error")).to_contain_text("Editing this answer needs the server")
    assert screen.part("textarea").count() == 0
    screen.page.keyboard.press("3")
    screen.wait_until_saved()
    assert list(screen.verdicts().values()) == ["tie"]


def test_reasons_and_a_comment_go_with_the_vote_they_were_given_for(visit: Visit) -> None:
    screen = visit()
    chip = screen.part(".chip").nth(3)
    reason = chip.inner_text()
    chip.click()
    screen.part(".comment").fill("says 4 and 2")
    screen.part(".comment").press("Escape")
    screen.press("1")
    expect(screen.part(".comment")).to_have_value("")
    screen.press("2")
    screen.wait_until_saved()
    assert [s["reasons"] for s in screen.sent] == [[reason], []]
    assert [s["comment"] for s in screen.sent] == ["says 4 and 2", ""]
    assert all(0 < s["seconds_spent"] < 60 for s in screen.sent)
    assert len(screen.verdicts()) == 2


def test_keys_do_nothing_while_typing_held_down_with_ctrl_or_elsewhere(visit: Visit) -> None:
    screen = visit(tab=True)
    page, place = screen.page, screen.assignment
    screen.part(".comment").click()
    page.keyboard.type("1234su?")
    assert screen.part(".comment").input_value() == "1234su?"
    page.keyboard.press("Escape")
    for combination in ("Control+1", "Alt+2", "Meta+3", "Control+ArrowLeft"):
        page.keyboard.press(combination)
    page.keyboard.press("?")
    expect(screen.part("dialog")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(screen.part("dialog")).to_be_hidden()
    page.get_by_role("tab", name="Data", exact=True).click()
    expect(screen.part(".item")).to_be_hidden()
    screen.wait_until_out_of_sight()
    page.keyboard.press("1")
    page.get_by_role("tab", name="Label", exact=True).click()
    screen.wait_for_an_item()
    assert screen.assignment == place
    page.keyboard.down("1")
    for _ in range(3):
        page.keyboard.down("1")  # what a held key sends: repeats
    page.keyboard.up("1")
    screen.wait_until_saved()
    expect(screen.part(".today")).to_have_text("1 today")


def test_a_refused_vote_is_told_and_does_not_hold_up_the_next(visit: Visit) -> None:
    screen = visit()

    def spoil_first(route: Route) -> None:
        body = route.request.post_data_json
        if body["assignment"] != first:
            return route.continue_()
        route.continue_(post_data={**body, "revision": 7})

    first = screen.assignment

    screen.page.route("**/api/v1/votes", spoil_first)
    screen.press("1")
    expect(screen.part(".error")).to_contain_text("Not saved:")
    second = screen.press("2")
    screen.wait_until_saved()
    assert list(screen.verdicts()) == [second]


DANGEROUS = "img, script, iframe, svg[onload], details, [onerror], a[href^=java], a[href^=data]"


def test_hostile_text_is_shown_and_never_run(visit: Visit) -> None:
    screen = visit(tab=True)
    seen = ""
    for _ in range(24):
        seen += screen.shown("left") + screen.shown("right")
        assert screen.part(".item").locator(DANGEROUS).count() == 0
        screen.press("1")
    assert "onerror=" in seen or "<script>" in seen or "<svg" in seen
    assert screen.page.evaluate("window.pwned") is None
    assert screen.outside == []


def test_a_phone_stacks_the_answers_and_keeps_the_buttons_in_reach(visit: Visit) -> None:
    screen = visit(tab=True, viewport=PHONE, has_touch=True, is_mobile=True)
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    left, right = box_of(screen, "left"), box_of(screen, "right")
    assert right["y"] >= left["y"] + left["height"]
    for button in screen.part(".choice").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44  # Apple's and WCAG 2.2's target size
        assert box["y"] + box["height"] <= PHONE["height"]
    before = screen.assignment
    screen.part("[data-verdict=tie]").tap()
    expect(screen.host).not_to_have_attribute("data-assignment", before)
    screen.wait_until_saved()


def box_of(screen: Screen, side: str, inside: str = "") -> FloatRect:
    box = screen.part(f'.answer[data-side="{side}"] {inside}').bounding_box()
    assert box is not None
    return box


def test_both_answers_start_at_the_same_height_and_the_page_has_one_heading(visit: Visit) -> None:
    screen = visit(color_scheme="dark")
    assert box_of(screen, "left", ".body")["y"] == box_of(screen, "right", ".body")["y"]
    assert screen.page.get_by_role("heading", level=1).count() == 1
    dark = screen.part(".answer").first.evaluate("(card) => getComputedStyle(card).backgroundColor")
    assert dark == "rgb(28, 32, 31)"


def test_two_tabs_of_one_person_do_not_judge_the_same_item_twice(
    visit: Visit, server: Server
) -> None:
    """Both tabs start on the same item; judged in the second, it leaves the first."""
    first = visit()
    second = Screen(first.page.context.new_page(), "pairs", first.labeler)
    second.open(server.url)
    assert second.assignment == first.assignment
    judged = second.press("1")
    expect(first.host).not_to_have_attribute("data-assignment", judged)
    second.wait_until_saved()
    first.press("2")
    first.wait_until_saved()
    assert len(first.verdicts()) == 2


def test_when_all_is_judged_it_says_so_and_the_last_one_can_be_called_back(
    serve: Callable[[int], Server], browser: Browser
) -> None:
    server = serve(3)
    context = browser.new_context(viewport=WIDE)
    context.request.post(f"{server.url}/api/v1/labeler", data={"name": "Ada"})
    screen = Screen(context.new_page(), "pairs", "Ada")
    screen.open(server.url)
    screen.press("1")
    screen.press("2")
    last = screen.assignment
    screen.page.keyboard.press("3")
    expect(screen.part(".state h2")).to_have_text("All done")
    expect(screen.part(".state p")).to_contain_text("3 comparisons today")
    screen.page.reload()
    screen.part(".state [data-act=undo]").click()
    screen.wait_for_an_item()
    assert screen.assignment == last
    context.close()


def test_the_guideline_opens_and_closes(visit: Visit) -> None:
    screen = visit()
    screen.page.keyboard.press("g")
    expect(screen.part(".guideline")).to_contain_text("Length is not quality")
    screen.page.keyboard.press("g")
    expect(screen.part(".guideline")).to_be_hidden()


def test_another_name_starts_afresh(visit: Visit) -> None:
    """Items asked for under the old name, and arriving under the new one, are not shown."""
    screen = visit()
    late: list[tuple[Route, APIResponse]] = []

    def hold_first(route: Route) -> None:
        if late:
            return route.continue_()
        late.append((route, route.fetch()))

    screen.page.route("**/api/v1/items*", hold_first)
    for key in "12":  # of four in memory two are left: more are asked for
        screen.press(key)
    screen.wait_until_saved()
    while not late:  # a slow server may save before it hands out
        screen.page.wait_for_timeout(20)
    screen.part(".who").click()
    screen.part("form.name input").fill("Grace")
    screen.page.keyboard.press("Enter")
    expect(screen.part(".who")).to_contain_text("Grace")
    route, answer = late[0]
    route.fulfill(response=answer)
    screen.wait_for_an_item()
    expect(screen.part(".today")).to_have_text("0 today")
    judged = screen.press("1")
    screen.wait_until_saved()
    assert list(screen.verdicts()) == [judged]


def test_items_that_come_late_do_not_take_a_vote_from_the_count(visit: Visit) -> None:
    """They were asked for before the vote, so what they count is older than the vote's answer."""
    screen = visit()
    late: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        late.append((route, route.fetch()))

    screen.page.route("**/api/v1/items*", hold)
    for key in "12":
        screen.press(key)
    screen.wait_until_saved()
    while not late:
        screen.page.wait_for_timeout(20)
    screen.press("1")
    screen.wait_until_saved()
    expect(screen.part(".today")).to_have_text("3 today")
    route, answer = late[0]
    assert answer.json()["progress"]["mine_today"] < 3
    route.fulfill(response=answer)
    screen.page.wait_for_function(
        "() => document.querySelector('hone-screen[mode=pairs]').screen.ahead.length > 1"
    )
    expect(screen.part(".today")).to_have_text("3 today")


@pytest.mark.slow
@pytest.mark.alone
def test_the_next_item_is_on_the_screen_within_100_ms_of_the_key(visit: Visit) -> None:
    """From the keydown event to the second frame after the next item is drawn; median of 20."""
    screen = visit(tab=True)
    screen.page.evaluate(TIMER)
    for _ in range(20):
        screen.press("1")
        screen.page.wait_for_timeout(60)  # a fast person; the prefetch keeps up
    screen.page.wait_for_function("() => window.keyToNext.length >= 20")
    times = screen.page.evaluate("window.keyToNext")
    assert len(times) == 20
    assert statistics.median(times) < 100


TIMER = """
() => {
  window.keyToNext = [];
  let pressed = 0;
  document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  const host = document.querySelector("hone-screen[mode=pairs]");
  const drawn = () => requestAnimationFrame(() => requestAnimationFrame(
    () => window.keyToNext.push(performance.now() - pressed)));
  const only = { attributes: true, attributeFilter: ["data-assignment"] };
  new MutationObserver(drawn).observe(host, only);
}
"""


def test_a_browser_reads_its_own_language_until_another_is_chosen(visit: Visit) -> None:
    """German by the browser; then Japanese by the switch, also after a reload, and keys go on."""
    screen = visit(locale="de-DE")
    expect(screen.part("h1")).to_have_text("Welche Antwort ist besser?")
    expect(screen.part("[data-verdict=left]")).to_contain_text("A ist besser")
    expect(screen.host).to_have_attribute("lang", "de")
    screen.part(".chip").nth(3).click()
    screen.press("1")
    screen.wait_until_saved()
    assert screen.sent[0]["reasons"] == ["clarity"]  # what is stored is the same in any language
    expect(screen.part(".status")).to_have_text("Gespeichert")
    expect(screen.part(".today")).to_have_text("heute 1")
    screen.page.keyboard.press("g")
    expect(screen.part(".guideline")).to_contain_text("hättest du lieber")
    screen.part(".language select").select_option("ja")
    expect(screen.part("h1")).to_have_text("どちらの回答が良いですか？")
    screen.wait_for_an_item()
    screen.press("2")
    screen.wait_until_saved()
    screen.reload()
    expect(screen.part(".today")).to_have_text("今日 2 件")
    assert screen.console == []


def test_one_of_several_campaigns_is_chosen_and_a_vote_stays_one_key(
    visit: Visit, server: Server
) -> None:
    """What the campaign asks for waits beside the next item; Shift and a number answer it."""
    screen = visit()
    campaign(server, "new", settings={"strengths": ["slightly", "clearly"]})
    try:
        screen.reload()
        choice = screen.part(".campaign select")
        expect(choice).to_have_value("default")
        first = screen.assignment
        choice.select_option("Fine")
        expect(screen.host).not_to_have_attribute("data-assignment", first)
        choice.blur()
        screen.press("1")
        screen.wait_until_saved()
        expect(screen.part(".asked [data-strength]")).to_have_text(["slightly", "clearly"])
        with screen.page.expect_response("**/api/v1/remarks") as said:
            screen.page.keyboard.press("Shift+Digit2")
        assert said.value.status == 201
        assert said.value.request.post_data_json["strength"] == "clearly"
        expect(screen.part(".asked")).to_have_count(0)
        assert len(screen.sent) == 1
    finally:
        campaign(server, "finish")


def campaign(server: Server, action: str, **params: Any) -> None:
    """Do something with the campaign "Fine" inside the running app."""
    holder = find_server(server.data)
    assert holder is not None
    call(holder, "campaign", {"action": action, "name": "Fine", "by": "Lea", **params}, print)
