"""Who may answer on the two sides of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from align import sides
from align.manifest import write_manifest
from storage.errors import BadInput


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for run, base in (("r-1", "a"), ("r-2", "a"), ("r-3", "b")):
        folder = tmp_path / "runs" / run
        (folder / "adapter").mkdir(parents=True)
        told = {"model_name": f"model-{base}", "model_fingerprint": base, "created_at": run}
        (folder / "config.json").write_text(json.dumps(told))
        write_manifest(folder / "adapter")
    return tmp_path


def test_a_run_against_its_base_is_before_and_after(data: Path) -> None:
    chosen = sides.choose(data, "base", "r-1")
    assert chosen.titles == ("Before", "After")
    assert (chosen.before.adapter, chosen.run) == (None, "r-1")
    assert chosen.after.adapter == data / "runs" / "r-1" / "adapter"


def test_two_runs_of_one_base_are_called_by_their_names(data: Path) -> None:
    chosen = sides.choose(data, "r-1", "r-2")
    assert chosen.titles == ("r-1", "r-2")
    assert chosen.run == "r-2"
    assert sides.choose(data, "r-2", "base").run == "r-2"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("base", "", "No run was chosen"),
        ("base", "base", "Both sides are 'base'"),
        ("r-1", "r-3", "r-1 on model-a, r-3 on model-b"),
        ("base", "endpoint", "no address"),
        ("base", "http://host/v1", "does not name a model"),
        ("base", "http://me:pw@host/v1#m", "password"),
    ],
)
def test_what_does_not_go_together_is_refused(
    data: Path, before: str, after: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        sides.choose(data, before, after)
