"""The default campaign and its guideline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.campaigns import GUIDELINE, default_campaign, set_collecting, set_guideline
from storage.errors import BadInput
from storage.records import Campaign
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_the_default_campaign_is_made_once_with_a_guideline_and_one_vote_per_comparison(store):
    first = default_campaign(store)
    assert (first.guideline, first.overlap) == (GUIDELINE, 1)
    assert default_campaign(store) == first
    assert store.rows(Campaign) == [first]


def test_a_new_guideline_is_kept_and_nothing_else_changes(store):
    first = default_campaign(store)
    assert set_guideline(store, "**Short** is good.").guideline == "**Short** is good."
    kept = default_campaign(store)
    assert kept.guideline == "**Short** is good."
    assert (kept.overlap, kept.created_at) == (first.overlap, first.created_at)


@pytest.mark.parametrize("text", ["", " \n", "a\x00", "x" * 100_001, "\ud800"])
def test_a_guideline_that_cannot_be_one_is_refused(store, text):
    with pytest.raises(BadInput, match="guideline"):
        set_guideline(store, text)
    assert default_campaign(store).guideline == GUIDELINE


def test_what_is_collected_is_kept_and_what_is_not_given_stays(store):
    set_collecting(store, overlap=3, gold=0)
    set_collecting(store, repeats=0.25)
    kept = default_campaign(store)
    assert (kept.overlap, kept.shared, kept.repeats, kept.gold) == (3, 0.1, 0.25, 0.0)
    assert kept.guideline == GUIDELINE


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"overlap": 0}, "overlap is 0: use a whole number from 1 to 100"),
        ({"overlap": True}, "overlap is True"),
        ({"shared": 1.1}, "shared is 1.1: use a share from 0 to 1"),
        ({"gold": float("nan")}, "gold is nan"),
        ({"repeats": 0.4, "gold": 0.2}, "together are 0.60 of somebody's items: use at most 0.5"),
        ({"overlap": 101, "shared": -1}, "shared is -1.*overlap is 101"),
    ],
)
def test_what_cannot_be_collected_is_refused_and_changes_nothing(store, asked, says):
    before = default_campaign(store)
    with pytest.raises(BadInput, match=says):
        set_collecting(store, **asked)
    assert default_campaign(store) == before
