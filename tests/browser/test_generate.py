"""The generate screen in a real browser: two prompts, a bad model, no prompt, stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from storage.records import Response
from storage.store import Store
from tests.browser.conftest import Server
from tests.browser.lead import ANSWER_MS, Desk

pytestmark = pytest.mark.browser
At = Callable[..., Desk]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(3)


def fill(screen: Desk, prompts: str, model: Path | str, tokens: int) -> None:
    screen.part("#generate-prompts textarea").fill(prompts)
    screen.part("#generate-model textarea").fill(str(model))
    screen.page.get_by_label("At most, in tokens").fill(str(tokens))
    screen.part("#generate-go").click()


def test_without_a_prompt_there_is_one_line(desk: At, server: Server) -> None:
    screen = desk(server, "Generate")
    screen.part("#generate-go").click()
    screen.refuses("There is no prompt")
    screen.says("#starter-progress", "starter prompts")


def test_a_model_that_is_not_there_gets_one_line(desk: At, server: Server) -> None:
    screen = desk(server, "Generate")
    fill(screen, "Hello?", "/nowhere/at-all", 5)
    screen.refuses("/nowhere/at-all")
    expect(screen.part("#generate-go")).to_be_visible()


def test_two_prompts_get_two_answers_each(desk: At, server: Server, tiny_model: Path) -> None:
    screen = desk(server, "Generate")
    fill(screen, "Name a river.\nName a mountain.\n", tiny_model, 8)
    screen.says("#generate-told", "4 answers to 2 prompts, 2 new comparisons", timeout=ANSWER_MS)
    assert screen.console == []
    server.stop()
    with Store.open(server.data) as store:
        made = [row for row in store.rows(Response) if row.model == str(tiny_model)]
    assert len(made) == 4
    assert all(row.settings["max_tokens"] == 8 and row.seed is not None for row in made)


def test_stop_ends_the_job_and_keeps_what_is_there(
    desk: At, server: Server, tiny_model: Path
) -> None:
    screen = desk(server, "Generate")
    prompts = "\n".join(f"Question number {i * 7919}?" for i in range(200))
    fill(screen, prompts, tiny_model, 200)
    screen.part("#generate-stop").click(timeout=ANSWER_MS)
    screen.says("#generate-told", "Stopped")
    expect(screen.part("#generate-go")).to_be_visible()
