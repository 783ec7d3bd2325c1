"""The data screen's handlers, without a browser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feedback.screens.data import take_out
from feedback.simulate import simulate_votes
from storage.store import Store
from tests.feedback.stock import fill


def test_an_export_says_what_personal_data_the_file_holds(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        workspace: Any = SimpleNamespace(store=store)
        fill(store, [("Short.", "A longer answer, by ada@lovelace.org.")])
        simulate_votes(store, 1)
        button, told = take_out(workspace, "pairs")
        assert told == (
            "1 rows.\n\n**1 text holds personal data: mail addresses (1).** Look at them "
            "on *Quality* before you pass the file on."
        )
        assert button.visible
    with Store.open(tmp_path / "clean") as store:
        workspace = SimpleNamespace(store=store)
        fill(store, [("Short.", "A longer answer.")])
        simulate_votes(store, 1)
        assert take_out(workspace, "pairs")[1] == "1 rows."


def test_an_export_is_written_once_where_it_is_sent_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lies elsewhere is copied there, and itself stays for ever."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "data" / "transfers"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Store.open(tmp_path / "data") as store:
        workspace: Any = SimpleNamespace(store=store)
        fill(store, [("Short.", "A longer answer.")])
        simulate_votes(store, 1)
        take_out(workspace, "pairs")
    (written,) = tmp_path.rglob("pairs.jsonl")
    assert written.is_relative_to(tmp_path / "data" / "transfers")


def test_what_a_browser_sent_or_fetched_is_removed_within_two_days() -> None:
    """In a process of its own: Gradio leaves event loops open."""
    code = "from feedback.screens import page; print(*page.lay_out(None, {}).delete_cache)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    every, age = map(int, done.stdout.split())
    assert 0 < every <= age
    assert every + age <= 2 * 86_400
