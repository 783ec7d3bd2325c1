"""Every command that changes something is in the list of changes."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from align.commands import COMMANDS
from align.noted import OWN, READS, TOLD, noted
from align.workspace import Workspace
from feedback import audit
from storage.records import Session
from storage.tables import TABLES
from tests.feedback.stock import say, stock

ROOT = Path(__file__).resolve().parents[2]
LONG = "correct horse battery"
BY: dict[str, dict[str, Any]] = {  # of each command with a line of its own: something it can do
    "user": {"action": "add", "name": "Lea", "role": "lead", "password": LONG},
    "key": {"action": "add", "name": "bot", "scopes": ["read"]},
    "exclude": {"kind": "labeler", "items": ["Ada"], "reason": "too fast"},
    "ask-again": {"comparisons": ["c_00001"]},
    "adjudicate": {"comparison": "c_00003", "verdict": "b"},
    "gold": {"comparison": "c_00002", "verdict": "a"},
    "campaign": {"overlap": 2},
    "export": {"format": "votes"},
    "erase": {"kind": "text", "what": "a rather longer answer", "dry_run": False},
}
ELSEWHERE = {"publish", "promote", "rollback"}  # need a run: told where they are tested


def quiet(_: str) -> None:
    pass


def documented(name: str) -> dict[str, Any]:
    """Return the first JSON that docs/commands.md gives for a command."""
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    section = re.split(rf"^## {name}\b.*$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    same = re.search(r"^As `(\w+)`|Prints what `(\w+)` prints", section, re.MULTILINE)
    blocks = re.findall(r"```json\n(.*)", section)
    return json.loads(blocks[0]) if blocks else documented(same[1] or same[2])  # type: ignore[index]


def test_every_command_has_one_place() -> None:
    assert sorted([*TOLD, *OWN, *READS]) == sorted(COMMANDS)
    assert {*BY, *ELSEWHERE} == set(OWN)


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with Workspace.open(tmp_path / "data") as opened:
        for one in stock(opened.store, 8):
            say(opened.store, one.id, "a")
        yield opened


def test_each_command_with_a_line_of_its_own_leaves_it(workspace: Any, tmp_path: Path) -> None:
    for name, asked in BY.items():
        before = audit.entries(workspace.store)
        given = {**asked, "file": str(tmp_path / "out.jsonl")} if name == "export" else asked
        COMMANDS[name](workspace, progress=quiet, by=f"lead of {name}", **given)
        new = audit.entries(workspace.store)[: -len(before) or None]
        assert f"lead of {name}" in {one.by for one in new}, name


def test_each_other_one_gets_its_line_with_who_did_it(workspace: Any) -> None:
    samples = {
        "import": ({"file": "votes.csv"}, {"stored": 3}),
        "generate": ({}, {"prompts": 2, "responses": 4, "comparisons": 2}),
        "score": ({}, {"scored": 9, "model": "m"}),
        "snapshot": ({}, {"snapshot": "s_1", "pairs": 5}),
        "train": ({"method": "ipo"}, {"run": "r-1"}),
        "sweep": ({}, {"sweep": "w-1"}),
        "resume": ({"run": "r-1"}, {"run": "r-1"}),
        "cancel": ({"run": "r-1"}, {"run": "r-1", "status": "cancelled"}),
        "duel": ({"run": "r-1"}, {"run": "r-1", "against": "base"}),
        "judge": ({"judge": "shorter"}, {"judge": "shorter", "judged": 7}),
        "simulate": ({}, {"votes": 30}),
        "demo": ({}, {"votes": 150, "run": "r-1"}),
    }
    assert set(samples) == set(TOLD)
    for name, (asked, result) in samples.items():
        command = noted(name, lambda _, file="", method="", run="", judge="", done=result: done)
        command(workspace, by="Lea", **asked)
        newest = audit.entries(workspace.store)[0]
        assert (newest.by, newest.did) == ("Lea", name)
        assert newest.what
        assert inspect.signature(COMMANDS[name]).parameters["by"].default == "lead"


def test_what_a_line_says_is_in_the_documented_result() -> None:
    for name, told in TOLD.items():
        assert told({"file": "x.jsonl"}, documented(name)), name


def test_who_only_reads_changes_nothing(workspace: Any) -> None:
    before = {kind: workspace.store.count(kind) for kind in TABLES if kind is not Session}
    for name in ("check", "advise", "exclusions", "runs", "rounds", "audit"):
        COMMANDS[name](workspace, progress=quiet)
    after = {kind: workspace.store.count(kind) for kind in before}
    assert after == before
