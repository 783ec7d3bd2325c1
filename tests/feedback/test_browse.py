"""Search and opening of what is stored, on a stock whose number i has a short and a long answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import browse
from feedback.simulate import simulate_votes
from storage.errors import NotFound
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as store:
        stock(store, 7)
        yield store


def test_all_words_have_to_be_there_in_any_case_and_order(store: Store) -> None:
    found = browse.find_comparisons(store, "ANSWER question 3,")
    assert [row.prompt for row in found.rows] == ["Question 3, please?"]
    assert browse.find_comparisons(store, "question nowhere").total == 0


def test_pages_cut_the_list_without_loss_and_stay_in_range(store: Store) -> None:
    """Seven in pages of three: 3 + 3 + 1; a page beyond the last gives the last."""
    pages = [browse.find_comparisons(store, page=p, size=3) for p in (1, 2, 3, 99)]
    assert [len(page.rows) for page in pages] == [3, 3, 1, 1]
    assert pages[3].page == pages[3].pages == 3
    assert len({row.comparison for page in pages for row in page.rows}) == 7


def test_judged_and_unjudged_are_told_apart(store: Store) -> None:
    simulate_votes(store, 2)
    assert browse.find_comparisons(store, judged="with votes").total == 2
    assert browse.find_comparisons(store, judged="without votes").total == 5
    assert browse.counts(store)["votes"] == 2


def test_an_empty_folder_gives_one_empty_page(tmp_path: Path) -> None:
    with Store.open(tmp_path / "none") as store:
        found = browse.find_comparisons(store, "anything", judged="with votes")
    assert (found.rows, found.page, found.pages, found.total) == ((), 1, 1, 0)


def test_a_comparison_opens_with_its_votes(store: Store) -> None:
    simulate_votes(store, 7, prefer="shorter", noise=0.0)
    opened = browse.open_comparison(store, "c_00001")
    assert opened.answers == ("Short 1.", "A rather longer answer, number 1.")
    assert opened.votes == (("sim-1", "a"),)
    with pytest.raises(NotFound, match="'c_nowhere'"):
        browse.open_comparison(store, "c_nowhere")


def test_every_kind_of_item_is_told_by_its_text(store: Store) -> None:
    row = browse.find_comparisons(store, "question 2,").rows[0]
    opened = browse.open_comparison(store, row.comparison)
    told = browse.describe(store, [row.comparison, "unknown"])
    assert told == {row.comparison: opened.messages[-1]["content"], "unknown": ""}
