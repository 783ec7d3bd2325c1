"""A data folder is opened as a whole, held, and given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.erasing import held_by
from align.folder import prepare_folder
from align.workspace import Workspace
from storage.errors import BadInput, Locked, UserError
from storage.lock import read_lock


def test_a_workspace_makes_its_folder_and_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    with Workspace.open(data) as workspace:
        assert workspace.data == data.resolve()
        assert (data / "hone.duckdb").exists()
        assert read_lock(data) is not None
    assert read_lock(data) is None


def test_a_second_workspace_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Workspace.open(tmp_path), pytest.raises(Locked, match="in use by process"):
        Workspace.open(tmp_path)


def test_each_opening_has_a_token_of_its_own(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with Workspace.open(tmp_path) as workspace:
            tokens.add(workspace.token)
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_closing_starts_no_model_and_stops_the_background_work(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    workspace.close()
    assert workspace.replenisher.progress()["running"] is False
    with pytest.raises(UserError, match="closed"):
        workspace.store.add([_labeler()])


def test_files_on_their_way_to_a_browser_go_at_the_end_and_what_a_kill_left_at_the_start(
    tmp_path: Path,
) -> None:
    sent = tmp_path / "transfers" / "one" / "pairs.jsonl"
    for _ in range(2):
        sent.parent.mkdir(parents=True)
        sent.write_text("{}", "utf-8")
        with Workspace.open(tmp_path) as workspace:
            assert not sent.exists()
            sent.parent.mkdir(parents=True)
            sent.write_text("{}", "utf-8")
            assert held_by(workspace, [], [])["files"] == ["transfers/one"]
        assert not (tmp_path / "transfers").exists()


def _labeler():
    from storage.records import Labeler

    return Labeler("Ada", "person")


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", "utf-8")
    with pytest.raises(BadInput, match="is a file"):
        prepare_folder(file)
    with pytest.raises(BadInput, match="cannot be made"):
        prepare_folder(file / "below")
