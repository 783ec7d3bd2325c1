"""What is exported is what people said: for every shuffle of the sides, in every written format."""

from __future__ import annotations

import random
import tempfile
import uuid
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from feedback.assignments import serve_items
from feedback.exports import export_file
from feedback.formats import FORMATS, read
from feedback.formats.rows import RatingRow, Refused, VoteRow
from feedback.votes import cast_vote
from storage.records import Assignment, Labeler, Message, Response, Vote
from storage.store import Store
from tests.feedback.stock import fill

PATHS = {
    "trl": (".jsonl", ".parquet"),
    "trl-labels": (".jsonl", ".parquet"),
    "llama-factory": (".jsonl",),
    "llama-factory-kto": (".jsonl",),
    "votes": (".csv", ".jsonl"),
}
Said = dict[str, tuple[str, str]]  # prompt → the text that was pressed, the other one
texts = st.lists(
    st.text("ab =+-@'\"\n,\u2028é", min_size=1, max_size=6).filter(str.strip),
    min_size=2,
    max_size=2,
    unique=True,
)
# An example opens a store and writes seven files: few, large ones, and none is made smaller.
FEW = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def asked(prompt: tuple[Message, ...]) -> str:
    return prompt[-1]["content"]


def press_on(store: Store, assignment: str, verdict: str) -> None:
    id = str(uuid.uuid4())
    cast_vote(store, "ann", id=id, assignment=assignment, verdict=verdict, revision=0)


def judged(store: Store, pairs: list[list[str]], presses: list[str], seed: int) -> Said:
    """Let a labeler press a side of each comparison; return what the page showed there."""
    fill(store, [(a, b) for a, b in pairs])
    store.add([Labeler("ann", "person")])
    said = {}
    items = serve_items(store, "ann", "pairs", len(pairs), random.Random(seed))
    assert len(items) == len(pairs)
    for item, press in zip(items, presses, strict=False):
        cast_vote(
            store,
            "ann",
            id=str(uuid.uuid4()),
            assignment=item.assignment,
            verdict=press,
            revision=0,
        )
        shown = item.left, item.right
        said[asked(item.prompt)] = shown if press == "left" else shown[::-1]
    return said


def preferred(path: Path, name: str) -> Said:
    """Return what a written file says was better, and what it was better than."""
    rows = list(read(path, name))
    assert [row for row in rows if isinstance(row, Refused)] == []
    if FORMATS[name].holds == "labels":
        good = {asked(row.prompt): row.answer.text for row in rows if row.verdict == "up"}
        bad = {asked(row.prompt): row.answer.text for row in rows if row.verdict == "down"}
        assert all(isinstance(row, RatingRow) for row in rows)
        return {prompt: (good[prompt], bad[prompt]) for prompt in good}
    assert all(isinstance(row, VoteRow) for row in rows)
    return {
        asked(row.prompt): (
            (row.a.text, row.b.text) if row.verdict == "a" else (row.b.text, row.a.text)
        )
        for row in rows
    }


def test_every_written_format_is_looked_at():
    assert set(PATHS) == {name for name, format in FORMATS.items() if format.write}


@FEW
@given(
    pairs=st.lists(texts, min_size=5, max_size=20),
    presses=st.lists(st.sampled_from(["left", "right"]), min_size=20, max_size=20),
    seed=st.integers(0, 999),
)
def test_the_chosen_text_stood_on_the_side_that_was_pressed(
    pairs: list[list[str]], presses: list[str], seed: int
):
    """For every shuffle: the sides come from the seed, the presses are drawn freely."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "data") as store:
        said = judged(store, pairs, presses, seed)
        for name, suffixes in PATHS.items():
            for suffix in suffixes:
                path = Path(folder) / f"out{suffix}"
                export_file(store, path, name, names=True)
                assert preferred(path, name) == said, (name, suffix)
        says_all(store, Path(folder) / "out.csv", presses)


def says_all(store: Store, path: Path, presses: list[str]) -> None:
    """Check that a file of votes says side, order, labeler, models and ids of every vote.

    From them position, length, order and labeler bias can be computed again.
    """
    votes = list(read(path, "votes"))
    places = {place.comparison: place for place in store.rows(Assignment)}
    stored = {vote.id: vote for vote in store.rows(Vote)}
    models = {one.model for one in store.rows(Response)}
    assert {vote.id for vote in votes} == set(stored)
    for vote, press in zip(votes, presses, strict=False):
        one = stored[vote.id]
        assert (vote.comparison, vote.labeler) == (one.comparison, one.labeler)
        assert (vote.verdict, vote.created_at) == (one.verdict, one.created_at)
        assert vote.left == places[vote.comparison].left
        assert ("left" if vote.verdict == vote.left else "right") == press  # the order is kept
        assert {vote.a.model, vote.b.model} == models


def test_a_tie_is_no_preference_in_any_format(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        fill(store, [("one", "two")])
        store.add([Labeler("ann", "person")])
        (item,) = serve_items(store, "ann", "pairs", 1, random.Random(0))
        press_on(store, item.assignment, "tie")
        for name, (suffix, *_) in PATHS.items():
            written = export_file(store, tmp_path / f"out{suffix}", name)["written"]
            assert written == (1 if name == "votes" else 0), name
        (vote,) = read(tmp_path / "out.csv", "votes")
        assert vote.verdict == "tie"
