"""The handlers of the train screen, as the page calls them, without a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from align import recipes, sweep_files
from align.json_files import read_json
from align.locks import FileLock
from align.screens import train
from align.screens.light import Light
from align.screens.sweep import Tryout
from align.screens.watch import Watch
from align.workspace import Workspace
from feedback.simulate import simulate_votes
from feedback.snapshots import load
from storage.errors import BadInput
from tests.align.small import tiny_model
from tests.feedback.stock import stock


def stand_in(kind: type[Any], **parts: Any) -> Any:
    """Return a view whose components are their own names: the keys of what a handler answers."""
    return kind(**{one.name: one.name for one in fields(kind)} | parts)


SETTINGS = {name: v for name, v in recipes.recipe("dpo").as_json().items() if name != "beta"}
FORM: train.Form = stand_in(
    train.Form, light=stand_in(Light), tryout=stand_in(Tryout), more={k: k for k in SETTINGS}
)
WATCH: Watch = stand_in(Watch)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Sixty votes, most for the longer answer; nobody starts the runs of a sweep."""
    with Workspace.open(tmp_path / "data") as opened:
        stock(opened.store, 60)
        simulate_votes(opened.store, 60, prefer="longer", noise=0.3)
        (opened.data / "sweeps").mkdir()
        held = FileLock(opened.data / "sweeps" / ".lock")
        assert held.acquire()
        yield opened
        held.release()


def asked(model: Path) -> list[Any]:
    """Return what the form holds when the page has opened, with a model of one's own."""
    return ["dpo", str(model), "", "base", 0.1, *SETTINGS.values()]


def test_trying_betas_asks_for_the_reason_and_takes_the_remedies(
    workspace: Workspace, tmp_path: Path
) -> None:
    how = asked(tiny_model(tmp_path / "tiny"))
    fixed = (workspace, FORM, WATCH, None, "0.1, 1", 8)
    with pytest.raises(BadInput, match="length_bias speaks against training"):
        train.start_sweep(*fixed, [], "", *how)
    shown = train.start_sweep(*fixed, ["balance_length"], "only a test", *how)
    assert "run" in shown[FORM.tryout.told]
    (id,) = sweep_files.sweep_ids(workspace.data)
    for run in sweep_files.read_sweep(workspace.data, id)["runs"]:
        config = read_json(workspace.data / "runs" / run / "config.json")
        assert config["readiness"]["because"] in ("only a test", "")
        assert config["readiness"]["answered"] == ["length_bias"]
        frozen = load(workspace.data / "snapshots" / config["snapshot"])
        assert frozen.manifest["settings"]["balance_length"] is True


def test_the_command_of_the_sweep_says_what_its_button_does(
    workspace: Workspace, tmp_path: Path
) -> None:
    how = asked(tiny_model(tmp_path / "tiny"))
    words = train.show_sweep_command(
        workspace, FORM, "0.1, 1", 8, ["balance_length"], " a demo ", *how
    )
    assert "--betas 0.1,1 --rows 8" in words
    assert "--balance-length --because 'a demo'" in words


def test_the_cost_of_a_sweep_is_that_of_what_the_remedies_leave(workspace: Workspace) -> None:
    """Balancing leaves out pairs, so that fewer rows are tried."""
    part = FORM.tryout
    cost = {
        n: train.sweeping.show_cost(workspace, part, remedies, "dpo", "", "0.1, 1", 200)[part.cost]
        for n, remedies in enumerate([[], ["balance_length"]])
    }
    rows = [int(words.split(" runs of ")[1].split(" ")[0]) for words in cost.values()]
    assert 2 <= rows[1] < rows[0]
