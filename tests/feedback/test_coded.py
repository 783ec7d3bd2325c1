"""Coded columns say what the plain ones say, name by name, whatever was stored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from feedback.coded import OF_COMPARISON, coded, with_votes
from feedback.quality import gather_numbers
from feedback.simulate import simulate_votes
from storage.records import Cluster, Gold, Prompt, Rating, Response, Score, Text
from storage.store import Store
from tests.feedback.stock import fill


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def filled(store: Store) -> Store:
    """Twelve comparisons, 30 votes of three people, thumbs on lone answers, scores, gold."""
    fill(store, [(f"answer {n} {'in many words ' * (n % 3)}", f"another {n}") for n in range(12)])
    simulate_votes(store, 30, labelers=3)
    asked = store.rows(Prompt)[0].id
    store.add([record for n in range(3) for record in lone(asked, f"lone{n}")])
    for n in range(3):
        store.append(Rating(f"t{n}", f"at{n}", 0, f"r_lone{n}", "ada", "up" if n else "down"))
    pairs = store.frame("comparisons")
    store.add([Gold("g1", pairs["comparison"][3], "b", "lead")])
    store.add([Score("s1", pairs["a"][2], "base", "", -12.5, 6)])
    return store


def lone(prompt: str, name: str) -> tuple[Text, Response]:
    """Return an answer that is in no comparison."""
    text = Text.of(f"An answer by itself: {name}.")
    return text, Response(f"r_{name}", prompt, text.id, "m", "", {}, None, None, "product")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with names for codes."""
    names = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(names, object))


@pytest.mark.parametrize("name", ["comparisons", "ratings", "prompts", "scores", "gold"])
def test_what_is_judged_is_named_as_in_the_plain_frames(filled: Store, name: str) -> None:
    found = plain(coded(filled.coded_items())[name]).drop(columns="place", errors="ignore")
    wanted = filled.frame(name)[list(found)]
    assert len(found) > 0
    assert found.astype(str).to_numpy().tolist() == wanted.astype(str).to_numpy().tolist()


def test_votes_are_named_as_in_the_plain_frame(filled: Store) -> None:
    found = plain(with_votes(coded(filled.coded_items()), filled.frame("coded_votes"))["votes"])
    wanted = filled.frame("votes")
    names = [*OF_COMPARISON, "labeler", "verdict", "left", "kind", "created_at"]
    assert len(found) == 30
    assert found[names].astype(str).to_numpy().tolist() == (
        wanted[names].astype(str).to_numpy().tolist()
    )


def test_what_names_the_same_thing_shares_its_categories(filled: Store) -> None:
    columns = gather_numbers(filled)
    votes, compared, ratings = columns.votes, columns.comparisons, columns.ratings
    assert votes["text_a"].dtype is compared["text_b"].dtype is columns.prompts["text"].dtype
    assert (
        votes["comparison"].dtype
        is compared["comparison"].dtype
        is columns.gold["comparison"].dtype
    )
    assert compared["a"].dtype is ratings["response"].dtype is columns.scores["response"].dtype
    assert columns.prompts["cluster"].dtype is ratings["prompt"].dtype


def test_a_cluster_that_came_later_and_one_that_never_came(store: Store) -> None:
    """The second prompt was settled after its import: near the first; the third not yet."""
    texts = [Text.of(f'[{{"role":"user","content":"Question {n}"}}]') for n in range(3)]
    store.add(texts)
    store.add([
        Prompt(f"p{n}", text.id, cluster, "import:x")
        for n, (text, cluster) in enumerate(zip(texts, ("p0", "", ""), strict=True))
    ])  # fmt: skip
    store.add([Cluster("p1", "p0")])
    prompts = coded(store.coded_items())["prompts"]
    assert prompts["prompt"].tolist() == ["p0", "p1", "p2"]
    assert prompts["cluster"].astype(object).fillna("").tolist() == ["p0", "p0", ""]
    assert prompts["text"].tolist() == [text.id for text in texts]


def test_nothing_is_coded_where_nothing_is_stored(store: Store) -> None:
    frames = with_votes(coded(store.coded_items()), store.frame("coded_votes"))
    assert {name: len(frame) for name, frame in frames.items()} == dict.fromkeys(
        ("comparisons", "ratings", "prompts", "scores", "gold", "votes"), 0
    )


def test_categories_are_only_what_is_named(filled: Store) -> None:
    """A product logs a million answers of which a hundred are judged: their names stay away."""
    text, response = lone(filled.rows(Prompt)[0].id, "unseen")
    filled.add([text, response])
    compared = coded(filled.coded_items())["comparisons"]
    assert response.id not in compared["a"].cat.categories
    assert text.id not in compared["text_a"].cat.categories
    assert compared["a"].cat.categories.is_monotonic_increasing
