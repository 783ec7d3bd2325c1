"""The quality screen's tables as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feedback import downloads
from feedback.api import install_errors
from feedback.checks.result import Finding, measured, part
from feedback.simulate import simulate_votes
from feedback.tables import TABLES, csv_of, findings
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with Store.open(tmp_path) as store:
        stock(store, 12)
        simulate_votes(store, 12, labelers=2)
        app = FastAPI()
        install_errors(app)
        app.include_router(downloads.router(lambda _: store))
        yield TestClient(app)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_comes_as_a_file_with_a_header(client: TestClient, name: str) -> None:
    answer = client.get(f"/api/v1/tables/{name}.csv")
    assert answer.status_code == 200
    assert f'filename="hone-{name}.csv"' in answer.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert len(rows[0]) >= 3
    if name == "labelers":
        assert [row[0] for row in rows[1:]] == ["sim-1", "sim-2"]


def test_the_findings_come_worst_first_with_their_items_counted_and_named() -> None:
    """250 items are counted, the first 200 named; what a spreadsheet would compute stays text."""
    bold = part("bold", 3, 4, "warn", "Form wins.", "Balance.", tuple(f"c{n}" for n in range(250)))
    ann = part("labeler ann", 1, 2, "stop", "=HYPERLINK(1)", "Ask.", ())
    age = Finding("age", None, None, None, 0, "unknown", "Not known.", "")
    results = [measured("style", 3, 4, "warn", "", "", (), (bold, age)),
               measured("labeler_quality", 1, 2, "stop", "", "", (), (ann,))]  # fmt: skip
    header, *rows = csv.reader(io.StringIO(csv_of(findings(results))))
    told = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(one["check"], one["where"], one["state"]) for one in told] == [
        ("labeler_quality", "labeler ann", "stop"),
        ("style", "bold", "warn"),
        ("style", "age", "unknown"),
    ]
    assert [one["items"] for one in told] == ["0", "250", "0"]
    assert told[1]["ids"].split() == [f"c{n}" for n in range(200)]
    assert (told[0]["message"], told[1]["value"], told[2]["value"]) == (
        "'=HYPERLINK(1)",
        "0.75",
        "",
    )


def test_the_findings_file_has_what_the_checks_found(client: TestClient) -> None:
    """Twelve votes for the shorter by two: the two labelers' lengths are told at twenty, so none;
    the reference's margins are not known, which is a finding."""
    rows = list(csv.DictReader(io.StringIO(client.get("/api/v1/tables/findings.csv").text)))
    assert ("too_easy", "unknown") in {(row["check"], row["state"]) for row in rows}


def test_an_unknown_table_names_those_there_are(client: TestClient) -> None:
    answer = client.get("/api/v1/tables/voters.csv")
    assert answer.status_code == 404
    assert "labelers" in answer.text


def test_a_name_that_a_spreadsheet_would_compute_stays_text() -> None:
    table = pd.DataFrame({"labeler": ["=1+1", "ada", "@x"], "votes": [-3, 4, 5]})
    assert csv_of(table).splitlines() == ["labeler,votes", "'=1+1,-3", "ada,4", "'@x,5"]


def test_what_is_not_known_is_an_empty_cell() -> None:
    table = pd.DataFrame({"model": ["m", "n"], "score": [None, None], "low": ["x", float("nan")]})
    assert csv_of(table).splitlines() == ["model,score,low", "m,,x", "n,,"]
