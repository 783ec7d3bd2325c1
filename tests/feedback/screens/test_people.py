"""The people screen's handlers, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feedback.accounts import people_of
from feedback.screens import people
from storage.errors import BadInput, Conflict
from storage.store import Store
from tests.feedback.stock import say, stock

LONG = "correct horse battery"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Any]:
    with Store.open(tmp_path) as store:
        yield SimpleNamespace(store=store, data=tmp_path)


@pytest.fixture(scope="module")
def view() -> people.View:
    """Return a view whose components are their own names: the keys of what a handler answers."""
    return people.View(*[one.name for one in fields(people.View)])  # type: ignore[arg-type]


def rows(frame: Any) -> list[list[str]]:
    return frame.to_numpy().tolist()


def shown(table: Any) -> list[list[str]]:
    return table.value["data"]


def test_without_accounts_everyone_here_is_the_lead(workspace: Any, view: people.View) -> None:
    drawn = people.refresh(workspace, view, "")
    assert (drawn[view.empty].visible, drawn[view.desk].visible) == (True, False)
    assert "python app.py user add NAME --role lead" in people.NOBODY


def test_accounts_tell_role_votes_and_state(workspace: Any, view: people.View) -> None:
    known = people_of(workspace.store)
    known.add("Lea", "lead", LONG, by="root")
    known.add("ann", "labeler", LONG, by="Lea")
    known.add("bo", "labeler", LONG, by="Lea")
    known.invite("cleo", "lead", by="Lea")
    known.log_in("ann", LONG, "")
    for one in stock(workspace.store, 3):
        say(workspace.store, one.id, "a", "ann")
    people.end(workspace, view, "bo", "", by="Lea")
    drawn = people.swap_role(workspace, view, "ann", "", by="Lea")
    told = [(*row[:4], row[5].split()[0]) for row in rows(drawn[view.accounts])]
    assert told == [
        ("Lea", "lead", "never", "0", "active"),
        ("ann", "lead", "in the last hour", "3", "active"),
        ("bo", "labeler", "never", "0", "ended"),
        ("cleo", "lead", "–", "–", "invited"),
    ]
    assert drawn[view.person].choices == [("Lea", "Lea"), ("ann", "ann")]
    people.log_out(workspace, view, "ann", "", by="Lea")
    found = shown(people.changes(workspace, "lea SESSIONS"))
    assert [row[1:] for row in found] == [["Lea", "end sessions", "'ann'"]]
    with pytest.raises(BadInput, match="Nobody was chosen"):
        people.end(workspace, view, None, "", by="Lea")


def test_a_link_and_a_key_are_shown_once(workspace: Any, view: people.View) -> None:
    known = people_of(workspace.store)
    known.add("Lea", "lead", LONG, by="root")
    request: Any = SimpleNamespace(
        headers={"origin": "https://hone.example.org"},
        request=SimpleNamespace(url=SimpleNamespace(scheme="http", netloc="127.0.0.1:7860")),
    )
    drawn = people.invite(workspace, view, "ann", "labeler", "", request, by="Lea")
    address, _, token = drawn[view.link].value.rpartition("/invite/")
    assert address == "https://hone.example.org"
    assert known.invitation(token)
    key = people.add_key(workspace, view, "bot", ["feedback"], "", by="Lea")[view.key].value
    assert known.by_key(key)
    drawn = people.refresh(workspace, view, "")
    assert [drawn[one].value for one in (view.link, view.key)] == ["", ""]
    drawn = people.revoke(workspace, view, "bot", "", by="Lea")
    assert known.by_key(key) is None
    assert shown(drawn[view.keys])[0][4].startswith("revoked")
    with pytest.raises(Conflict, match="last lead"):
        people.end(workspace, view, "Lea", "", by="Lea")
