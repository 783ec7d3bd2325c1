"""The handlers of the train screen, as the page calls them, without a page."""

from __future__ import annotations

import uuid
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from align import recipes, sweep_files
from align.json_files import read_json
from align.locks import FileLock
from align.screens import train
from align.screens.light import Light, Seen, due
from align.screens.sweep import Tryout
from align.screens.watch import Watch
from align.workspace import Workspace
from feedback.simulate import simulate_votes
from feedback.snapshots import load, preview
from storage.errors import BadInput
from storage.records import Assignment, Comparison, Vote
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
def workspace(biased: Workspace) -> Workspace:
    return biased


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
        assert config["readiness"]["because"] == "only a test"  # other checks speak against it
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


def test_a_run_that_goes_on_is_asked_for_what_differs_from_the_recipe_alone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form holds LoRA's recipe; the earlier run may train all weights. β is always meant."""
    taken: list[Any] = []

    def begun(workspace: Workspace, **how: Any) -> dict[str, str]:
        taken.append(how["settings"])
        return {"run": "r-1"}

    monkeypatch.setitem(train.COMMANDS, "train", begun)
    monkeypatch.setattr(train, "look", lambda *view: {})
    how = asked(tiny_model(tmp_path / "tiny"))
    how[2] = "r-0"
    train.start(workspace, FORM, WATCH, [], "x", *how)
    how[5 + list(SETTINGS).index("epochs")] = 7
    train.start(workspace, FORM, WATCH, [], "x", *how)
    assert taken == [{"beta": 0.1}, {"beta": 0.1, "epochs": 7}]


def test_the_cost_of_a_sweep_is_that_of_what_the_remedies_leave(workspace: Workspace) -> None:
    """Balancing leaves out pairs, so that fewer rows are tried."""
    part = FORM.tryout
    cost = {
        n: train.sweeping.show_cost(workspace, part, remedies, "dpo", "", "0.1, 1", 200)[part.cost]
        for n, remedies in enumerate([[], ["balance_length"]])
    }
    rows = [int(words.split(" runs of ")[1].split(" ")[0]) for words in cost.values()]
    assert 2 <= rows[1] < rows[0]


# The panel moves with the votes


def test_it_is_looked_again_once_something_came_in_and_the_last_look_has_rested() -> None:
    """A look of 0.5 s that ended at 100 rests for ten times as long: until 105."""
    seen = Seen(reached=7, at=100.0, took=0.5)
    assert due(seen, 7, 1000.0) is None
    assert due(seen, 8, 104.0) == 1.0
    assert due(seen, 8, 105.0) == due(seen, 8, 1000.0) == 0.0
    assert due(seen, -1, 105.0) == 0.0  # the store forgot its news
    assert due(replace(seen, took=10.0), 8, 101.0) is None  # too long to wait for
    assert due(None, 8, 105.0) is None


def say(workspace: Workspace, verdict: str, left: int) -> None:
    """Judge one of the comparisons that are left to judge."""
    store = workspace.store
    pair = store.rows(Comparison)[-1 - left]
    place = Assignment(f"late-{left}", "default", "ann", pair.id, "", "a", "plain", "screen")
    store.add([place])
    store.append(Vote(str(uuid.uuid4()), place.id, 0, pair.id, "ann", verdict))


def table(shown: dict[Any, Any]) -> str:
    """Return the counts of the panel; below them stands what memory is free at the moment."""
    return shown[FORM.ready].split("\n\n")[0]


def test_the_panel_moves_with_a_vote_and_only_then(workspace: Workspace) -> None:
    """One more pair to learn from, whichever split it falls into."""
    learned = ("dpo", "", [])
    stock(workspace.store, 61)  # one more comparison, which nobody judged
    light = train.show_light(workspace, FORM.light, *learned)
    seen = replace(light[FORM.light.seen], took=0.0)
    before = preview(workspace.store)["pairs"]["all"]
    old = table(train.show_ready(workspace, FORM, *learned))
    assert train.keep_up(workspace, FORM, seen, *learned) == {FORM.light.seen: seen}
    say(workspace, "a", 0)
    assert preview(workspace.store)["pairs"]["all"] == before + 1
    tired = replace(seen, took=1e6)
    assert train.keep_up(workspace, FORM, tired, *learned) == {FORM.light.seen: tired}
    moved = train.keep_up(workspace, FORM, seen, *learned)
    assert table(moved) == table(train.show_ready(workspace, FORM, *learned)) != old
    assert FORM.light.lamp in moved
    assert moved[FORM.light.seen].reached == workspace.store.reached() > seen.reached
    again = moved[FORM.light.seen]
    assert train.keep_up(workspace, FORM, again, *learned) == {FORM.light.seen: again}


def test_a_look_waits_until_the_last_one_has_rested(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(train.time, "sleep", slept.append)
    seen = Seen(reached=-1, at=train.time.monotonic(), took=0.5)
    assert FORM.light.lamp in train.keep_up(workspace, FORM, seen, "dpo", "", [])
    assert 4.0 < slept[0] <= 5.0


def test_news_is_silent_about_a_model_that_is_not_there(workspace: Workspace) -> None:
    """It was said when it was typed; with every vote would be too often."""
    seen = Seen(reached=-1, at=0.0, took=0.0)
    moved = train.keep_up(workspace, FORM, seen, "dpo", "/nowhere/at-all", [])
    assert list(moved) == [FORM.light.seen]


def test_nothing_is_looked_at_while_a_run_has_the_machine(workspace: Workspace) -> None:
    folder = workspace.data / "runs" / "r-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"run": "r-1"}')
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    seen = Seen(reached=-1, at=0.0, took=0.0)
    assert train.keep_up(workspace, FORM, seen, "dpo", "", []) == {FORM.light.seen: seen}
    lock.release()
    assert FORM.ready in train.keep_up(workspace, FORM, seen, "dpo", "", [])


def test_a_remedy_that_leaves_nothing_is_not_taken_for_no_votes(tmp_path: Path) -> None:
    """Every pair was won by the longer answer: balanced, none is left of four."""
    how = ("dpo", "", ["balance_length"])
    with Workspace.open(tmp_path / "data") as opened:
        assert train.show_ready(opened, FORM, *how)[FORM.ready] == train.EMPTY
        stock(opened.store, 4)
        simulate_votes(opened.store, 4, prefer="longer", noise=0.0)
        words = train.show_ready(opened, FORM, *how)[FORM.ready]
        assert words.startswith(train.NONE_LEFT)
        assert "4 of 4 pairs are left out" in words
