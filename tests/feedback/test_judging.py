"""Progress and a labeler's last verdicts, counted on with each event: as reading all gives them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.judging import lately, progress
from feedback.nudges import SITTING, Judged
from storage.records import Assignment, Comparison, Rating, Response, Vote, now
from storage.store import Store
from tests.feedback.stock import stock
from tests.feedback.test_meters import exclude

LABELERS = ("ann", "bob")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Comparison]]]:
    with Store.open(tmp_path_factory.mktemp("judging")) as store:
        yield store, stock(store, 4)


def read_again(store: Store, labeler: str, at: datetime) -> tuple[dict, list[Judged]]:
    """Return what the store's own queries say, which read every vote."""
    counts = store.frame("progress", labeler=labeler, now=at).iloc[0]
    frame = store.frame("own_verdicts", labeler=labeler, since=at - SITTING)
    rows = zip(frame["verdict"], frame["seconds_spent"], frame["chars"], frame["created_at"],
               strict=True)  # fmt: skip
    seen = [Judged(v, None if s != s else s, int(c), t.to_pydatetime()) for v, s, c, t in rows]
    return {str(key): int(value) for key, value in counts.items()}, seen


def agree(store: Store, at: datetime) -> None:
    for labeler in (*LABELERS, "nobody"):
        counts, seen = read_again(store, labeler, at)
        assert asdict(progress(store, labeler, at)) == counts
        key = lambda one: (one.at, one.verdict)  # noqa: E731
        assert sorted(lately(store, labeler, at), key=key) == sorted(seen, key=key)


step = st.one_of(
    st.tuples(st.just("vote"), st.integers(0, 3), st.sampled_from(("", "a", "b")),
              st.sampled_from(("a", "b", "tie", "both_bad", "skip")), st.sampled_from(LABELERS),
              st.sampled_from((0, 1, 30))),
    st.tuples(st.just("rating"), st.integers(0, 3), st.sampled_from(("up", "down")),
              st.sampled_from(LABELERS), st.sampled_from((0, 1, 30))),
    st.tuples(st.just("change"), st.integers(0, 9), st.sampled_from(("a", "skip", "undone"))),
    st.tuples(st.just("exclusion"), st.sampled_from(("exclude", "include"))),
    st.tuples(st.just("comparison")),
    st.tuples(st.just("read")),
)  # fmt: skip


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(step, max_size=12))
def test_after_any_steps_the_counts_are_what_reading_all_gives(steps: list, pairs: tuple) -> None:
    """The steps of one example go on where those of the example before ended."""
    store, rows = pairs
    at = now()
    for kind, *what in steps:
        if kind == "vote":
            number, left, verdict, labeler, hours = what
            place = Assignment(str(uuid.uuid4()), "default", labeler, rows[number].id, "", left,
                               "plain", "screen")  # fmt: skip
            store.add([place])
            store.append(Vote(str(uuid.uuid4()), place.id, 0, place.comparison, labeler, verdict,
                              seconds_spent=1.5,
                              created_at=at - timedelta(hours=hours)))  # fmt: skip
        elif kind == "rating":
            number, verdict, labeler, hours = what
            place = Assignment(str(uuid.uuid4()), "default", labeler, "", rows[number].a, "",
                               "plain", "screen")  # fmt: skip
            store.add([place])
            store.append(Rating(str(uuid.uuid4()), place.id, 0, place.response, labeler, verdict,
                                created_at=at - timedelta(hours=hours)))  # fmt: skip
        elif kind == "change":
            number, verdict = what
            votes = store.rows(Vote, order="-created_at", limit=number + 1)
            if votes:
                newest = store.live(Vote, votes[-1].assignment)
                store.append(Vote(str(uuid.uuid4()), newest.assignment, newest.revision + 1,
                                  newest.comparison, newest.labeler, verdict))  # fmt: skip
        elif kind == "exclusion":
            exclude(store, "labeler", "ann", *what)
        elif kind == "comparison":
            number = len(rows)
            one = store.rows(Response, limit=2)
            pair = Comparison(f"c_{number:05}", one[0].prompt, one[0].id, one[1].id, "more")
            store.add([pair])
            rows.append(pair)
        else:
            agree(store, at)
    agree(store, now())


def test_at_midnight_today_begins_anew(tmp_path: Path) -> None:
    """A vote at 23:59 is one of today's until 0:00, and one of the last hours still at 0:01."""
    late = datetime(2026, 11, 26, 23, 59, tzinfo=UTC)
    with Store.open(tmp_path) as store:
        (pair,) = stock(store, 1)
        store.append(Vote(str(uuid.uuid4()), "s", 0, pair.id, "ann", "a", created_at=late))
        assert progress(store, "ann", late).mine_today == 1
        after = progress(store, "ann", late + timedelta(minutes=2))
        assert (after.mine_today, after.mine_total, after.comparisons_open) == (0, 1, 0)
        assert len(lately(store, "ann", late + timedelta(minutes=2))) == 1
        assert lately(store, "ann", late + timedelta(hours=13)) == []
