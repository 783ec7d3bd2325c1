"""The data screen in a real browser: in, out, search, hostile text, duplicates."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from storage.records import Duplicate
from storage.store import Store
from tests.browser.conftest import PAYLOADS, Server
from tests.browser.lead import PHONE, Desk, vote

pytestmark = pytest.mark.browser
At = Callable[..., Desk]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(30)


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    """A file of three votes; the second row has a verdict that there is not."""
    path = tmp_path / "votes.jsonl"
    rows = [
        {"prompt": "Where do cranes go in winter?", "verdict": "a"},
        {"prompt": "How many legs has a crab?", "verdict": "perhaps"},
        {"prompt": "What is the tallest tree?", "verdict": "tie"},
    ]
    common = {"response_a": "South.", "response_b": PAYLOADS[0], "labeler": "Ann", "left": "a"}
    more = {"model_a": "m", "model_b": "n", "created_at": "2026-01-01T00:00:00Z"}
    path.write_text("\n".join(json.dumps({**row, **common, **more}) for row in rows))
    return path


def bring_in(screen: Desk, path: Path) -> None:
    screen.part("#import-path textarea").fill(str(path))
    screen.part("#import-go").click()


def test_a_file_comes_in_and_its_bad_row_is_named(desk: At, server: Server, votes: Path) -> None:
    screen = desk(server, "Data")
    screen.part("#import-file input[type=file]").set_input_files(votes)
    screen.says("#import-file", ".jsonl")
    screen.part("#import-go").click()
    screen.says("#import-result", "3 rows read, 2 stored, 0 duplicates, 1 refused", timeout=30_000)
    screen.says("#import-refused", "perhaps")
    screen.says("#import-refused", "2")
    screen.says("#data-counts", "32")
    assert screen.console == []


def test_a_table_of_ones_own_is_looked_at_and_its_columns_named(
    desk: At, server: Server, tmp_path: Path
) -> None:
    """Guesses are shown with the first rows; a wrong one is put right, and the rows with it."""
    path = tmp_path / "mine.csv"
    rows = [["Question", "Answer 1", "Answer 2", "Outcome", PAYLOADS[0]]]
    rows += [["Where do storks nest?", PAYLOADS[1], "On roofs.", "b", "1"]]
    rows += [["How deep is a well?", "Deep.", "Quite deep.", "perhaps", "2"]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    screen = desk(server, "Data", viewport=PHONE)
    screen.part("#import-file input[type=file]").set_input_files(path)
    screen.says("#import-seen", "mine.csv has the columns Question, Answer 1, Answer 2, Outcome")
    screen.says("#import-seen", "Say below what they hold")
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(screen.part("#import-column-b input")).to_have_value("Answer 2")
    screen.part("#import-column-verdict input").click()
    screen.page.get_by_role("option", name="Outcome").click()
    screen.says("#import-first", "Where do storks nest?")
    screen.says("#import-first", "verdict is 'perhaps'")
    screen.part("#import-go").click()
    screen.says("#import-result", "2 rows read, 1 stored, 0 duplicates, 1 refused", timeout=30_000)
    expect(screen.part("#import-mapping")).to_be_hidden()
    assert screen.page.evaluate("window.pwned") is None
    assert screen.console == []


def test_the_same_file_again_adds_nothing(desk: At, server: Server, votes: Path) -> None:
    screen = desk(server, "Data")
    bring_in(screen, votes)
    screen.says("#import-result", "3 rows read", timeout=30_000)
    bring_in(screen, votes)
    screen.says("#import-result", "3 rows read, 0 stored, 2 duplicates", timeout=30_000)


def test_a_file_that_is_none_gets_one_line(desk: At, server: Server, tmp_path: Path) -> None:
    screen = desk(server, "Data")
    screen.part("#import-go").click()
    screen.refuses("No file was chosen")
    bring_in(screen, tmp_path / "missing.csv")
    screen.refuses("missing.csv")


def test_search_finds_words_and_opens_a_comparison(desk: At, server: Server, votes: Path) -> None:
    """What the import brought is shown as text: nothing of it runs, nothing is fetched."""
    screen = desk(server, "Data")
    bring_in(screen, votes)
    screen.says("#import-result", "3 rows read", timeout=30_000)
    screen.part("#browse-words textarea").fill("cranes winter")
    screen.part("#browse-words textarea").press("Enter")
    screen.says("#browse-where", "1 comparisons")
    screen.part("#browse-table .body-cell").first.click()
    screen.says("#browse-detail", "Where do cranes go in winter?")
    screen.says("#browse-detail", PAYLOADS[0])
    screen.says("#browse-detail", "Ann: a")
    expect(screen.part("#browse-detail a[href*='?pair=']")).to_be_visible()
    expect(screen.part("#browse-detail img")).to_have_count(0)
    assert screen.page.evaluate("window.pwned") is None


def test_pages_turn(desk: At, server: Server) -> None:
    screen = desk(server, "Data")
    screen.says("#browse-where", "page 1 of 2")
    screen.page.get_by_role("button", name="Older").click()
    screen.says("#browse-where", "page 2 of 2")
    screen.page.get_by_role("button", name="Newer").click()
    screen.says("#browse-where", "page 1 of 2")


def test_votes_are_downloaded_as_they_are_stored(desk: At, server: Server, tmp_path: Path) -> None:
    vote(server, 10)
    screen = desk(server, "Data")
    screen.page.get_by_label("Every vote").check()
    screen.part("#export-go").click()
    screen.says("#export-file", "Download votes.csv", timeout=30_000)
    with screen.page.expect_download(timeout=30_000) as download:
        screen.part("#export-file").click()
    download.value.save_as(tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["labeler"] == "sim-1" for row in rows) == 10


def test_a_repeated_prompt_is_shown_beside_the_earlier_one_and_decided(
    desk: At, server: Server, votes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "again.jsonl"
    row = {"prompt": "Where do cranes go in winter?", "chosen": "To Spain.", "rejected": "Nowhere."}
    path.write_text(json.dumps(row))
    screen = desk(server, "Data")
    bring_in(screen, votes)
    screen.says("#import-result", "votes.jsonl: 3 rows read", timeout=30_000)  # it has ended
    bring_in(screen, path)
    screen.says("#import-result", "1 rows read", timeout=30_000)
    screen.says("#duplicates", "Earlier", timeout=30_000)
    screen.says("#duplicates", "Again")
    expect(screen.part("#duplicates-title")).to_contain_text("to decide")
    screen.part("#duplicate-skip").click()
    expect(screen.part("#duplicates-title")).not_to_contain_text("to decide")
    server.stop()
    with Store.open(server.data) as store:
        decided = store.rows(Duplicate)
    assert [(one.kind, one.decision) for one in decided] == [("prompt", "skip")]


def test_a_phone_needs_no_scrolling_sideways(desk: At, server: Server) -> None:
    screen = desk(server, "Data", viewport=PHONE)
    screen.says("#browse-where", "page 1 of 2")
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
