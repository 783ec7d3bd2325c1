"""The data screen's handlers, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
