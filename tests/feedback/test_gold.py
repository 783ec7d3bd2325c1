"""Gold items: set, set anew, taken back, refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.gold import gold_of, gold_verdict, set_gold, take_back
from storage.errors import BadInput, NotFound
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_the_newest_word_on_a_comparison_counts(store):
    first, second = stock(store, 2)
    set_gold(store, first.id, "a")
    set_gold(store, second.id, "both_bad", "Grace")
    set_gold(store, first.id, "tie")
    listed = {row["comparison"]: (row["verdict"], row["labeler"]) for row in gold_of(store)}
    assert listed == {first.id: ("tie", "lead"), second.id: ("both_bad", "Grace")}
    take_back(store, first.id)
    assert [row["comparison"] for row in gold_of(store)] == [second.id]
    assert (gold_verdict(store, first.id), gold_verdict(store, second.id)) == ("", "both_bad")


def test_what_cannot_be_gold_is_refused_in_words(store):
    (comparison,) = stock(store, 1)
    for verdict in ("left", "skip", "undone", ""):
        with pytest.raises(BadInput, match="use one of a, b, tie, both_bad"):
            set_gold(store, comparison.id, verdict)
    with pytest.raises(NotFound, match="no comparison 'c_none'"):
        set_gold(store, "c_none", "a")
    with pytest.raises(BadInput, match="no gold item"):
        take_back(store, comparison.id)
    assert gold_of(store) == []
