"""The hash chain names what was altered behind the store's back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.chain import event_digest, link
from storage.errors import Conflict
from storage.journal import _format, _parse
from storage.rows import COMPACT, compact, to_json
from storage.store import Store


def test_a_hash_covers_what_came_before() -> None:
    first = link("", 1, "v1", True, "", "d1")
    assert first != link("x", 1, "v1", True, "", "d1")
    assert first != link("", 1, "v1", False, "", "d1")
    assert event_digest("vote", ["v1", 0, None]) != event_digest("rating", ["v1", 0, None])


WORDS = st.text(st.characters(exclude_categories=["Cs"]))  # what `to_row` lets through
VALUES = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.datetimes(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES | st.sampled_from([float("inf"), float("-inf")])))
def test_the_quick_way_to_write_what_is_hashed_writes_the_same(values: list[object]) -> None:
    """Else hashes of old rows would not hold any more."""
    assert compact(values) == COMPACT.encode(to_json(values)).encode()


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES))
def test_the_journal_says_a_row_as_json_has_it(values: list[object]) -> None:
    line = _format({"n": 1, "row": tuple(values)})
    assert _parse(line) == {"n": 1, "row": to_json(values)}


def test_control_characters_are_hashed_as_they_always_were() -> None:
    signs = ["".join(map(chr, range(1, 0x2100))), 1e16, 1e-7]
    assert compact(signs[:1]) == COMPACT.encode(signs[:1]).encode()
    assert compact(signs) == COMPACT.encode(signs).encode()


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE vote SET verdict = 'b' WHERE id = 'v3'", "number 4: vote v3 was altered"),
        ("UPDATE vote SET created_at = '2026-01-01' WHERE id = 'v0'", "number 1: vote v0 was al"),
        ("UPDATE command SET reason = 'x' WHERE id = 'v9'", "number 3: command v9 was altered"),
        (
            "DELETE FROM vote WHERE id = 'v3'; "
            "INSERT INTO vote SELECT 'vX', 'sX', 0, * EXCLUDE (id, assignment, revision) FROM vote "
            "WHERE id = 'v1'",
            "number 4: vote v3 is missing",
        ),
        (
            "DELETE FROM vote WHERE id = 'v1'; DELETE FROM command WHERE id = 'v1'",
            "number 3: command v9 was altered, or one before it is missing",
        ),
    ],
)
def test_the_first_bad_row_is_named(
    store: Store, data: Path, make: SimpleNamespace, tampering: str, finding: str
) -> None:
    """Numbers 1 to 6: v0, v1, v9 (refused), v3, v4, v5."""
    store.append_many([make.vote(0), make.vote(1)])
    with pytest.raises(Conflict):
        store.append(make.vote(9, assignment=1))
    store.append_many([make.vote(3), make.vote(4), make.vote(5)])
    assert store.verify() == []
    store.close()
    with duckdb.connect(str(data / "hone.duckdb")) as connection:
        connection.execute(tampering)
    with Store.open(data) as again:
        assert again.verify()[0].startswith(finding)


def test_a_chain_that_was_forged_to_its_end_differs_from_the_journal(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append_many([make.vote(0), make.vote(1), make.vote(2)])
    store.close()
    with Store.open(data.parent / "forged") as forged:
        forged.append_many([make.vote(0), make.vote(1, verdict="b"), make.vote(2)])
    rows = "vote", "command"
    path = str(data / "hone.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(f"ATTACH '{data.parent / 'forged' / 'hone.duckdb'}' AS forged")
        for table in rows:
            connection.execute(f"DELETE FROM {table} WHERE id IN ('v1')")
            connection.execute(f"INSERT INTO {table} FROM forged.{table} WHERE id IN ('v1')")
    with Store.open(data) as again:
        assert any("the journal has another vote v1" in finding for finding in again.verify())


def test_a_look_at_the_newest_finds_what_is_new(store: Store, make: SimpleNamespace) -> None:
    store.append_many([make.vote(n) for n in range(20)])
    assert store.verify(last=5) == []
    assert store.verify(last=0) == []
    assert store.verify(last=100) == []
