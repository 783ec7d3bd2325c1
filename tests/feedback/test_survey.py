"""What a lead looks at is computed beside a server, and is what it would be inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback import survey as surveys
from feedback.exports import export_file
from feedback.quality import run_checks
from feedback.simulate import simulate_votes
from feedback.survey import Survey, standings, survey
from feedback.tables import TABLES, table_of
from storage import store as stores
from storage.store import Store
from tests.feedback.stock import stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        stock(opened, 40)
        simulate_votes(opened, 120, labelers=3)
        yield opened


def seen(store: Store, folder: Path) -> dict[str, object]:
    """Return all that is computed of a store."""
    found = survey(store)
    frames = {name: getattr(found, name).to_csv() for name in Survey.__slots__ if name != "results"}
    exported = export_file(store, folder / "votes.jsonl", "votes")
    return {
        **frames,
        **{name: table_of(store, name).to_csv() for name in TABLES},
        "results": found.results,
        "checks": run_checks(store),
        "standings": standings(store),
        "exported": exported,
        "votes": (folder / "votes.jsonl").read_text("utf-8"),
    }


def test_beside_a_server_all_is_what_it_is_inside(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = seen(store, tmp_path)
    assert inside["checks"] == inside["results"]
    monkeypatch.setattr(stores, "MUCH", 0)
    store.announce("http://127.0.0.1:1", "token")
    monkeypatch.setattr(surveys, "gather", lambda _: pytest.fail("computed in the server"))
    beside = seen(store, tmp_path)
    for name, said in inside.items():
        assert beside[name] == said, name
