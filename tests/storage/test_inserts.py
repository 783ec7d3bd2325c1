"""Whatever their number, rows come out of a table as they went in, or none of them does."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace

import duckdb
import pytest

from storage.apply import apply
from storage.chain import Position
from storage.decide import Plan
from storage.inserts import MANY, ROWS_PER_STATEMENT, Inserts
from storage.records import Response, Text, Vote
from storage.rows import Row, to_row
from storage.store import Store
from storage.tables import TABLES

HOSTILE = "é\u2028\U0001f600'\"\\\ufeff\x01\t\r\n"
EARLY = datetime(2, 3, 4, 5, 6, 7, 8)


def response(n: int) -> Row:
    """Return a row that has each kind of value, and nothing wherever nothing may stand."""
    unknown = n % 2 == 0
    seed, finished = (None, None) if unknown else (-(2**63) + n, n % 3 == 0)
    at = EARLY + timedelta(microseconds=n)
    return (f"r{n}", "p", "t", HOSTILE * n, "", "{}", seed, finished, "edit", at)


@pytest.mark.parametrize("n", [0, 1, 2, MANY - 1, MANY, MANY + 1])
def test_rows_come_out_as_they_went_in(store: Store, n: int) -> None:
    rows = [response(number) for number in range(n)]
    with store._duck.cursor() as cursor:
        Inserts(cursor).insert(TABLES[Response], rows)
        assert cursor.execute("SELECT * FROM response ORDER BY rowid").fetchall() == rows


def test_more_than_one_statement_s_rows_keep_their_order(store: Store) -> None:
    rows = [(f"t{n}", str(n), 1) for n in range(ROWS_PER_STATEMENT + 1)]
    with store._duck.cursor() as cursor:
        Inserts(cursor).insert(TABLES[Text], rows)
        assert cursor.execute("SELECT * FROM text ORDER BY rowid").fetchall() == rows


def test_numbers_come_out_to_the_last_digit(store: Store, make: SimpleNamespace) -> None:
    """0.1 + 0.2 is the double 0.30000000000000004; the least double above 0 is 5e-324."""
    times = [0.1 + 0.2, 5e-324, None, 1e308] * MANY
    rows = [to_row(make.vote(n, seconds_spent=spent)) for n, spent in enumerate(times)]
    with store._duck.cursor() as cursor:
        Inserts(cursor).insert(TABLES[Vote], rows)
        found = cursor.execute("SELECT seconds_spent FROM vote ORDER BY rowid").fetchall()
    assert [repr(spent) for (spent,) in found] == [repr(spent) for spent in times]


@pytest.mark.parametrize("n", [2, MANY])
def test_a_key_that_is_there_keeps_all_others_out(store: Store, n: int) -> None:
    rows = [response(number) for number in range(n)]
    plan = Plan(Position(1, ""), rows={Text: [("t", "x", 1)] * 1, Response: [*rows, rows[0]]})
    with store._duck.cursor() as cursor:
        inserts = Inserts(cursor)
        with pytest.raises(duckdb.ConstraintException):
            apply(inserts, store._known, plan)
        assert cursor.execute("SELECT count(*) FROM text").fetchall() == [(0,)]
        apply(
            inserts, store._known, Plan(Position(1, ""), rows={Response: rows})
        )  # the same cursor goes on
        assert cursor.execute("SELECT count(*) FROM response").fetchall() == [(n,)]


@pytest.mark.parametrize("n", [2, MANY])
def test_what_may_not_be_missing_is_asked_for(store: Store, n: int) -> None:
    rows = [response(number) for number in range(n)]
    with store._duck.cursor() as cursor, pytest.raises(duckdb.ConstraintException):
        Inserts(cursor).insert(TABLES[Response], [*rows, (*rows[0][:-1], None)])


def test_what_is_kept_ready_goes_on_after_an_error_and_with_a_file_that_is_opened_anew(
    store: Store, make: SimpleNamespace
) -> None:
    """The same cursor and appender, commit after commit, until the file is another one."""
    votes = [make.vote(n) for n in range(4)]
    store.append(votes[0])
    with store._duck.kept_cursor() as kept:
        inserts = Inserts(kept)
        with pytest.raises(duckdb.ConstraintException):
            apply(inserts, store._known, Plan(Position(1, ""), rows={Vote: [to_row(votes[0])]}))
        apply(inserts, store._known, Plan(Position(1, ""), rows={Vote: [to_row(votes[3])]}))
    store.append(votes[1])
    store._duck.reopen(store._duck.generation)
    store.append(votes[2])
    with store._duck.kept_cursor() as fresh:
        assert fresh is not kept
    assert sorted(vote.id for vote in store.rows(Vote)) == [vote.id for vote in votes]
