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
from feedback.simulate import simulate_votes
from feedback.tables import TABLES, csv_of
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
