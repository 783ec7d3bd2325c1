"""What the checks get from the store, and that what is kept beside it only saves time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feedback import alike, kept
from feedback.alike import similarities
from feedback.checks import CHECKS
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.near import similarity
from feedback.quality import gather, live_length_bias, live_position_bias, run_checks
from feedback.screens.quality import words_of
from feedback.simulate import simulate_votes
from storage.store import Store
from tests.feedback.stock import fill, stock

TEXTS = [
    ("The Rhine is a river in Europe.", "the  Rhine is a river in Europe"),
    ("The Rhine is a river in Europe.", "The Rhine is a long river in Europe."),
    ("The Rhine is a river in Europe.", "Bananas are yellow when they are ripe."),
    ("The Rhine is a river in Europe.", "No."),
    ("", ""),
    ("same", "same"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data")
    prompts = add_prompts(
        store, [[{"role": "user", "content": f"Question {n} " * n}] for n in range(1, 7)], "x"
    )
    for prompt, (a, b) in zip(prompts, TEXTS, strict=True):
        pair = add_responses(
            store, [NewResponse(prompt.id, a, "m"), NewResponse(prompt.id, b, "n")]
        )
        add_comparisons(store, [(pair[0], pair[1])], "x")
    yield store
    store.close()


def test_how_alike_the_answers_are_is_measured_where_the_lengths_allow_it(store: Store):
    found = similarities(store, store.frame("comparisons")).tolist()
    assert (
        found[:2]
        == [similarity(*TEXTS[0]), similarity(*TEXTS[1])]
        == [1.0, pytest.approx(0.79, abs=0.05)]
    )
    assert 0 < found[2] < 0.3
    assert found[3:] == [0.0, 1.0, 1.0]


def test_what_is_kept_gives_the_same_values(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alike, "SAVE_AFTER", 1)
    comparisons = store.frame("comparisons")
    first = similarities(store, comparisons)
    path = store.data / "cache" / "alike.npz"
    assert len(kept.read(path, alike.MADE_WITH)["ids"]) == 3
    monkeypatch.setattr(alike, "similarity", lambda *_: pytest.fail("measured again"))
    assert similarities(store, comparisons).tolist() == first.tolist()
    shuffled = comparisons.sample(frac=1, random_state=1)
    assert similarities(store, shuffled).to_dict() == first.to_dict()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nothing", b"\x93NUMPY"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    assert kept.read(path, "v1") == {}


def test_a_file_made_otherwise_is_not_used(tmp_path: Path):
    path = tmp_path / "cache" / "x.npz"
    kept.write(path, "v1", ids=np.array(["a"]))
    assert kept.read(path, "v1")["ids"].tolist() == ["a"]
    assert kept.read(path, "v2") == {}
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


HOSTILE = "**Buy** <img src=x onerror=alert(1)> [here](http://x.org)\x1b[2J\u202e now."


def test_the_worst_of_style_is_quoted_and_no_character_of_it_does_anything(tmp_path: Path):
    """Forty of forty votes for the bold answer, which is longer; the quote is its words as text."""
    with Store.open(tmp_path / "hostile") as store:
        fill(store, [(f"{HOSTILE} {n}", f"Plain {n}.") for n in range(40)])
        simulate_votes(store, 40, prefer="longer", noise=0.0)
        (result,) = [one for one in run_checks(store) if one.name == "style"]
    (found,) = [one for one in result.findings if one.subject == "bold"]
    quote = "For example: “**Buy** <img src=x onerror=alert(1)> [here](http://x.org)\\x1b[2J\\u202e"
    assert quote in found.message
    assert "For example: “" in result.message
    shown = words_of(found)
    assert "\\*\\*Buy\\*\\* &lt;img src=x onerror=alert\\(1\\)> \\[here\\]" in shown
    assert "<img" not in shown
    assert "\x1b" not in shown + result.message


def test_the_checks_run_on_an_empty_and_on_a_filled_store(store: Store, tmp_path: Path):
    assert [result.name for result in run_checks(store)] == list(CHECKS)
    with Store.open(tmp_path / "empty") as empty:
        assert [result.severity for result in run_checks(empty)] == ["unknown"] * len(CHECKS)
        assert gather(empty).previews == {}


def test_a_vote_on_a_comparison_that_came_meanwhile_waits_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Votes are read beside the comparisons, so they may be newer than these."""
    with Store.open(tmp_path) as store:
        fill(store, [(f"answer {n}", f"another {n}") for n in range(5)])
        simulate_votes(store, 5)
        whole = gather(store)
        read = Store.coded_items

        def earlier(self: Store) -> dict[str, pd.DataFrame]:
            items = read(self)
            return {**items, "comparisons": items["comparisons"].iloc[:-1]}

        monkeypatch.setattr(Store, "coded_items", earlier)
        some = gather(store)
    assert (len(whole.votes), len(whole.comparisons), len(some.comparisons)) == (5, 5, 4)
    left = whole.votes["comparison"].isin(some.comparisons["comparison"])
    told = ["vote", "comparison", "prompt", "text_a", "chars_b", "model_a", "labeler"]
    assert left.sum() == 4
    assert some.votes[told].astype(str).to_numpy().tolist() == (
        whole.votes[left][told].astype(str).to_numpy().tolist()
    )


def test_the_live_meters_say_what_the_checks_say_but_who_it_is(tmp_path: Path):
    """Somebody who always votes left is among the findings, which cost too much for every vote."""
    with Store.open(tmp_path / "live") as opened:
        stock(opened, 80)
        simulate_votes(opened, 80, prefer="longer", labelers=2, faulty=["left"])
        results = {one.name: one for one in run_checks(opened)}
        assert results["position_bias"].findings
        for live in (live_length_bias(opened), live_position_bias(opened)):
            assert live == replace(results[live.name], findings=())
