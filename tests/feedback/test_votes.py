"""Recording verdicts: the side that was clicked, one live vote, undo, and what is refused."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.assignments import serve_items
from feedback.seen import Item
from feedback.snapshots import freeze
from feedback.votes import MAX_COMMENT_CHARS, cast_rating, cast_vote, save_edit
from storage.errors import BadInput, Conflict, NotFound, UserError
from storage.records import Assignment, Edit, Response, Vote, digest
from storage.store import Store
from tests.feedback.stock import fill, stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def item(store: Store) -> Item:
    stock(store, 1)
    return serve_items(store, "ada", "pairs", 1, random.Random(0))[0]


@pytest.fixture
def thumb(store: Store) -> Item:
    stock(store, 1)
    return serve_items(store, "ada", "thumbs", 1, random.Random(0))[0]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Item]]:
    """A store for what is refused: nothing is ever stored, so the tests can share it."""
    with Store.open(tmp_path_factory.mktemp("data")) as store:
        stock(store, 1)
        yield store, serve_items(store, "ada", "pairs", 1, random.Random(0))[0]


def new_id() -> str:
    return str(uuid.uuid4())


def vote(store: Store, item: Item, verdict: str, revision: int, **options):
    options = {"id": new_id(), "labeler": "ada"} | options
    labeler = options.pop("labeler")
    return cast_vote(
        store, labeler, assignment=item.assignment, verdict=verdict, revision=revision, **options
    )


# -- the side that was clicked ----------------------------------------------------------------


@given(
    texts=st.lists(
        st.lists(
            st.text(alphabet="abc ", min_size=1, max_size=8), min_size=2, max_size=2, unique=True
        )
        .map(tuple)
        .filter(lambda pair: all(text.strip() for text in pair)),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 2**32),
    clicks=st.lists(st.sampled_from(["left", "right"]), min_size=6, max_size=6),
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_chosen_text_is_the_text_on_the_side_that_was_clicked(
    tmp_path_factory, texts, seed, clicks
):
    """For every shuffle: what stood on the clicked side is `chosen` in the snapshot's file."""
    data = tmp_path_factory.mktemp("data")
    with Store.open(data) as store:
        fill(store, texts)
        items = serve_items(store, "ada", "pairs", 10, random.Random(seed))
        assert len(items) == len(texts)
        clicked = {}
        for item, side in zip(items, clicks, strict=False):
            vote(store, item, side, 0)
            chosen, other = (item.left, item.right)[:: 1 if side == "left" else -1]
            clicked[json.dumps(item.prompt)] = (chosen, other)
        folder = data / "snapshots" / freeze(store).id
        lines = (folder / "pairs.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        frozen = {json.dumps(row["prompt"]): (row["chosen"], row["rejected"]) for row in rows}
        labels = [
            json.loads(line) for line in (folder / "labels.jsonl").read_text("utf-8").splitlines()
        ]
    assert {k: tuple(v) for k, v in frozen.items()} == clicked
    for label in labels:
        chosen, other = clicked[json.dumps(label["prompt"])]
        assert label["completion"] == (chosen if label["label"] else other)


def test_a_and_b_are_the_comparisons_own_whatever_stands_on_the_left(store, item):
    vote(store, item, "b", 0)
    assert store.live(Vote, item.assignment).verdict == "b"


# -- one live vote, undo, change, repeats -------------------------------------------------------


def test_undo_several_times_and_change_keep_one_live_vote(store, item):
    """left, undone, right, right again as tie, undone: five revisions, no live vote at the end."""
    for revision, verdict in enumerate(("left", "undone", "right", "tie")):
        vote(store, item, verdict, revision)
    votes = store.frame("votes")
    assert list(votes["verdict"]) == ["tie"]
    vote(store, item, "undone", 4)
    assert store.frame("votes").empty
    assert len(store.rows(Vote)) == 5, "nothing was deleted"


def test_the_same_id_gets_the_same_answer_and_changes_nothing(store, item):
    id = new_id()
    first = vote(store, item, "left", 0, id=id)
    again = vote(store, item, "left", 0, id=id)
    assert (first.repeated, again.repeated) == (False, True)
    assert len(store.rows(Vote)) == 1


def test_a_repeat_that_comes_after_the_undo_does_not_bring_the_vote_back(store, item):
    id = new_id()
    vote(store, item, "left", 0, id=id)
    vote(store, item, "undone", 1)
    assert vote(store, item, "left", 0, id=id).repeated
    assert store.frame("votes").empty


def test_a_second_tab_with_the_same_revision_is_told_so(store, item):
    vote(store, item, "left", 0)
    with pytest.raises(Conflict, match="reload"):
        vote(store, item, "right", 0)
    assert len(store.rows(Vote)) == 1


def test_a_revision_that_skips_one_is_refused(store, item):
    with pytest.raises(Conflict):
        vote(store, item, "left", 1)


def test_another_persons_assignment_is_refused_by_name(store, item):
    with pytest.raises(NotFound, match="given to somebody else, not to 'bob'"):
        vote(store, item, "left", 0, labeler="bob")
    assert store.rows(Vote) == []


def test_a_vote_that_was_answered_is_there_after_a_restart(tmp_path):
    with Store.open(tmp_path) as store:
        stock(store, 1)
        (item,) = serve_items(store, "ada", "pairs", 1, random.Random(0))
        vote(store, item, "tie", 0, reasons=["tone", "accuracy", "tone"], comment="  both fine ")
    with Store.open(tmp_path) as store:
        (kept,) = store.rows(Vote)
        assert (kept.verdict, kept.reasons) == ("tie", ("accuracy", "tone"))
        assert store.texts([kept.comment]) == {kept.comment: "both fine"}
        assert kept.source == "screen"


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": ""}, "id is '': make a new UUID"),
        ({"id": "1; DROP TABLE vote"}, "make a new UUID"),
        ({"id": None}, "make a new UUID"),
        ({"verdict": "A"}, "verdict is 'A': use one of left, right, a, b, tie, both_bad, skip"),
        ({"verdict": ["left"]}, r"verdict is \['left'\]"),
        ({"verdict": "up"}, "verdict is 'up'"),
        ({"verdict": "undone"}, "there is no verdict to take back"),
        ({"revision": -1}, "revision is -1: use 0 first"),
        ({"revision": True}, "revision is True"),
        ({"revision": 0.0}, "revision is 0.0"),
        ({"revision": 2**40}, "revision is 1099511627776"),
        ({"reasons": "tone"}, "reasons is 'tone': use a list of accuracy"),
        ({"reasons": ["nice"]}, "one of reasons is 'nice'"),
        ({"reasons": [["tone"]]}, "one of reasons is"),
        ({"comment": "x" * (MAX_COMMENT_CHARS + 1)}, "comment has 10,001 characters"),
        ({"comment": "a\x00b"}, "comment has a NUL character at position 1"),
        ({"comment": "a\ud800"}, "surrogate"),
        ({"comment": 3}, "comment is int"),
        ({"seconds_spent": -0.1}, "seconds_spent is -0.1"),
        ({"seconds_spent": float("nan")}, "seconds_spent is nan"),
        ({"seconds_spent": float("inf")}, "seconds_spent is inf"),
        ({"seconds_spent": "3"}, "seconds_spent is '3'"),
        ({"seconds_spent": True}, "seconds_spent is True"),
        ({"assignment": "nowhere"}, "There is no assignment 'nowhere'"),
        ({"assignment": "\ud800"}, "surrogate"),
        ({"assignment": "x" * 1000}, "assignment has 1,000 characters"),
    ],
)
def test_each_bad_value_is_named_and_nothing_is_stored(refusing, change, says):
    store, item = refusing
    good = {"id": new_id(), "assignment": item.assignment, "verdict": "left", "revision": 0}
    with pytest.raises((BadInput, NotFound), match=says) as refused:
        cast_vote(store, "ada", **(good | change))
    assert "\n" not in str(refused.value)
    assert store.rows(Vote) == []


def test_a_comment_may_have_10000_characters_and_a_day_is_the_longest_time(store, item):
    vote(store, item, "left", 0, comment="x" * MAX_COMMENT_CHARS, seconds_spent=1e9)
    assert store.live(Vote, item.assignment).seconds_spent == 86_400.0


def test_a_thumb_and_a_vote_do_not_fit_each_others_assignment(store, item, thumb):
    with pytest.raises(BadInput, match="shows one answer: rate it with up or down"):
        vote(store, thumb, "left", 0)
    with pytest.raises(BadInput, match="shows two answers: vote left or right"):
        cast_rating(store, "ada", id=new_id(), assignment=item.assignment, verdict="up", revision=0)


def test_sides_that_nobody_recorded_take_no_left_or_right(store, item):
    place = store.get(Assignment, item.assignment)
    store.add([Assignment("i1", "default", "ada", place.comparison, "", "", "plain", "import:x")])
    with pytest.raises(BadInput, match="vote a or b instead"):
        cast_vote(store, "ada", id=new_id(), assignment="i1", verdict="left", revision=0)
    cast_vote(store, "ada", id=new_id(), assignment="i1", verdict="b", revision=0)


# -- thumbs and edits ---------------------------------------------------------------------------


def test_a_thumb_can_be_changed_and_undone(store, thumb):
    for revision, verdict in enumerate(("up", "down", "undone", "up")):
        cast_rating(
            store,
            "ada",
            id=new_id(),
            assignment=thumb.assignment,
            verdict=verdict,
            revision=revision,
        )
    assert list(store.frame("ratings")["verdict"]) == ["up"]


def edit(store: Store, item: Item, side: str, text: str, revision: int = 0, **options):
    options = {"id": new_id()} | options
    return save_edit(
        store,
        "ada",
        assignment=item.assignment,
        revision=revision,
        side=side,
        text=text,
        **options,
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_edit_corrects_the_answer_on_its_side(store, item, side):
    edit(store, item, side, "A better answer.")
    made = store.live(Edit, item.assignment)
    original, corrected = store.get(Response, made.original), store.get(Response, made.corrected)
    texts = store.texts([original.text, corrected.text])
    assert texts[original.text] == (item.left if side == "left" else item.right)
    assert texts[corrected.text] == "A better answer."
    assert (corrected.model, corrected.source, corrected.prompt) == (
        "human",
        "edit",
        original.prompt,
    )


def test_an_edit_is_changed_by_the_next_and_taken_back_by_an_empty_one(store, item):
    edit(store, item, "left", "First try.")
    edit(store, item, "left", "Second try.", 1)
    frame = store.frame("edits")
    assert len(frame) == 1
    edit(store, item, "left", "", 2)
    assert store.frame("edits").empty


def test_the_text_of_a_refused_edit_is_not_stored(store, item):
    """Another tab was first; and what is sent again under its id is what it was."""
    id = new_id()
    edit(store, item, "left", "The first tab's.", id=id)
    with pytest.raises(Conflict, match="has a edit with revision 0 already"):
        edit(store, item, "left", "The second tab's.")
    assert edit(store, item, "left", "Sent again, but other words.", id=id).repeated
    corrections = [one.text for one in store.rows(Response) if one.source == "edit"]
    assert list(store.texts(corrections).values()) == ["The first tab's."]
    lost = [digest("The second tab's."), digest("Sent again, but other words.")]
    assert store.texts(lost) == {}


def test_an_edit_and_a_vote_on_one_assignment_do_not_disturb_each_other(store, item):
    vote(store, item, "left", 0)
    edit(store, item, "left", "Better.")
    vote(store, item, "right", 1)
    assert len(store.frame("edits")) == len(store.frame("votes")) == 1


def test_an_edit_of_a_rated_answer_is_an_edit_of_the_left(store, thumb):
    with pytest.raises(BadInput, match="shows one answer only: use 'left'"):
        edit(store, thumb, "right", "Better.")
    edit(store, thumb, "left", "Better.")
    assert len(store.frame("edits")) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"side": "middle"}, "side is 'middle': use one of left, right"),
        ({"text": ""}, "there is no edit to take back"),
        ({"text": " \n"}, "text has only white space"),
        ({"text": "x" * 100_001}, "text has 100,001 characters"),
        ({"text": "a\ud800"}, "surrogate"),
        ({"id": "7"}, "make a new UUID"),
    ],
)
def test_each_bad_edit_is_refused_and_nothing_is_stored(refusing, change, says):
    store, item = refusing
    before = len(store.rows(Response))
    with pytest.raises(BadInput, match=says):
        edit(store, item, **({"side": "left", "text": "Better."} | change))
    assert store.rows(Edit) == []
    assert len(store.rows(Response)) == before


def test_an_edit_that_changes_nothing_is_refused(store, item):
    with pytest.raises(BadInput, match="the same as the answer"):
        edit(store, item, "left", item.left)


# -- any sequence of clicks ---------------------------------------------------------------------


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["left", "right", "tie", "skip", "undone"]),
            st.integers(-1, 1),
            st.booleans(),
        ),
        max_size=15,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_any_clicks_the_last_accepted_one_is_the_live_vote(tmp_path_factory, steps):
    """`off` is how far the sent revision is from the next; `twice` sends the same id again."""
    with Store.open(tmp_path_factory.mktemp("data")) as store:
        stock(store, 1)
        (item,) = serve_items(store, "ada", "pairs", 1, random.Random(0))
        accepted: list[str] = []
        for verdict, off, twice in steps:
            revision, id = len(accepted) + off, new_id()
            fits = off == 0 and not (verdict == "undone" and revision == 0)
            for _ in range(1 + twice):
                try:
                    vote(store, item, verdict, revision, id=id)
                except UserError:
                    assert not fits
                else:
                    assert fits
            if fits:
                accepted.append(verdict)
        live = [] if not accepted or accepted[-1] == "undone" else accepted[-1:]
        assert len(store.frame("votes")) == len(live)
        assert len(store.rows(Vote)) == len(accepted)
