"""Before a run: what speaks against it, who says why it is made all the same, one pass of reading.

Every pair here was won by the longer answer, so that the length bias speaks against a start.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from align import training
from align.client import WorkerClient
from align.generation import Replenisher
from align.json_files import read_json
from align.manifest import write_manifest
from align.models import find_model
from align.workspace import Workspace
from feedback.frozen import seal_of
from feedback.simulate import simulate_votes
from feedback.snapshots import SnapshotSettings, freeze, load
from storage.errors import BadInput
from storage.records import Exclusion
from storage.store import Store
from tests.feedback.stock import fill, stock


class Counting(Store):
    """A store that counts what is read of it."""

    asked: Counter[str]

    def frame(self, name: str, **params: Any) -> pd.DataFrame:
        self.asked[name] += 1
        return super().frame(name, **params)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    store = Counting.open(tmp_path / "data")
    store.asked = Counter()
    stock(store, 40)
    simulate_votes(store, 40, prefer="longer", noise=0.0)
    client = WorkerClient(store.data)
    opened = Workspace(store.data, store, client, Replenisher(store, client), "")
    store.asked.clear()
    yield opened
    opened.close()


def begun(workspace: Workspace, told: list[str], **how: Any) -> dict[str, Any]:
    """Prepare a run and return what it keeps of the light."""
    how = {"snapshot": None, "model": None, "settings": (), **how}
    run = training.begin(workspace, told.append, method="dpo", prepare=True, **how)
    kept: dict[str, Any] = read_json(workspace.data / "runs" / run / "config.json")["readiness"]
    return kept


def leave_everybody_out(store: Store) -> None:
    people = store.frame("votes")["labeler"].unique()
    ids = [(f"e{n}", who) for n, who in enumerate(people)]
    store.add([Exclusion(id, "labeler", who, "exclude", "test", "lead") for id, who in ids])


def test_what_checks_speak_against_needs_a_reason(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="length_bias speaks against training: The longer") as error:
        begun(workspace, [], because="  ")
    assert "Ask the labelers whether length is what they want" in str(error.value)
    assert "--because" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(workspace.data.glob("runs/*")) + list(workspace.data.glob("snapshots/*"))
    told: list[str] = []
    kept = begun(workspace, told, because=" a demo ")
    assert (kept["light"], kept["because"]) == ("amber", "a demo")
    assert kept["objections"][0]["name"] == "length_bias"
    assert any(line.startswith("stop: The longer answer won 100.0 %") for line in told)


def test_a_remedy_answers_the_objection_also_where_it_is_frozen_already(tmp_path: Path) -> None:
    """Of the pairs in which the longer answer won as many stay as of the others."""
    balanced = SnapshotSettings(balance_length=True)
    with Workspace.open(tmp_path / "data") as workspace:
        stock(workspace.store, 60)
        simulate_votes(workspace.store, 60, prefer="longer", noise=0.25)
        frozen = workspace.data / "snapshots" / freeze(workspace.store, balanced).id
        for how in ({"remedies": {"balance_length": True}}, {"snapshot": frozen}):
            kept = begun(workspace, [], because="x", **how)
            assert "length_bias" in kept["answered"]
            assert "length_bias" not in [one["name"] for one in kept["objections"]]


def test_a_snapshot_is_judged_by_what_the_checks_said_of_it(workspace: Workspace) -> None:
    """Nobody's votes count any more, but the run learns from those that were frozen."""
    folder = workspace.data / "snapshots" / freeze(workspace.store).id
    leave_everybody_out(workspace.store)
    with pytest.raises(BadInput, match="length_bias speaks against training: The longer"):
        begun(workspace, [], snapshot=folder)
    kept = begun(workspace, [], snapshot=folder, because="x")
    (bias,) = [one for one in kept["objections"] if one["name"] == "length_bias"]
    assert bias["message"] == load(folder).manifest["checks"]["length_bias"]["message"]


def test_a_good_snapshot_stays_good_whatever_is_voted_later(tmp_path: Path) -> None:
    """Half of the pairs were won by the longer answer; then everybody takes the longer one."""
    with Workspace.open(tmp_path / "data") as workspace:
        stock(workspace.store, 60)
        simulate_votes(workspace.store, 60, prefer="random", labelers=6)
        folder = workspace.data / "snapshots" / freeze(workspace.store).id
        simulate_votes(workspace.store, 300, prefer="longer", noise=0.0, labelers=12)
        kept = begun(workspace, [], snapshot=folder, because="x")
        assert "length_bias" not in [one["name"] for one in kept["objections"]]
        kept = begun(workspace, [], because="x")
        assert "length_bias" in [one["name"] for one in kept["objections"]]


def test_a_plain_snapshot_knows_what_every_check_says(tmp_path: Path) -> None:
    """Every answer names a mail address: that is heard also of a snapshot, later."""
    with Workspace.open(tmp_path / "data") as workspace:
        texts = [(f"Ask ann@mail{n}.org.", f"Or bob{n}@post.net, who is there.") for n in range(30)]
        fill(workspace.store, texts)
        simulate_votes(workspace.store, 30, prefer="random")
        folder = workspace.data / "snapshots" / freeze(workspace.store).id
        kept = begun(workspace, [], snapshot=folder, because="x")
        assert "personal_data" in [one["name"] for one in kept["objections"]]
        assert kept["unheard"] == []


def test_an_older_snapshot_is_trained_on_and_said_not_to_know_some_checks(
    workspace: Workspace,
) -> None:
    """Frozen when a snapshot kept only the checks that read no text."""
    folder = workspace.data / "snapshots" / freeze(workspace.store).id
    forget(folder, "style", "personal_data")
    told: list[str] = []
    kept = begun(workspace, told, snapshot=folder, because="x")
    assert kept["unheard"] == ["style", "personal_data"]
    assert "length_bias" in [one["name"] for one in kept["objections"]]
    (line,) = [line for line in told if "frozen without" in line]
    assert line.startswith("the snapshot was frozen without style, personal_data:")
    assert begun(workspace, told, because="x")["unheard"] == []


def forget(folder: Path, *names: str) -> None:
    """Make a snapshot one that was frozen before these checks were kept."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text("utf-8"))
    manifest["checks"] = {k: v for k, v in manifest["checks"].items() if k not in names}
    file.write_text(json.dumps({**manifest, "seal": seal_of(manifest)}), "utf-8")


def test_the_feedback_is_read_once_for_the_light_and_the_snapshot(workspace: Workspace) -> None:
    begun(workspace, [], because="a demo")
    asked = workspace.store.asked
    assert asked["coded_votes"] == 1  # what the checks read
    assert asked["votes"] == 1  # what becomes pairs and labels
    (folder,) = workspace.data.glob("snapshots/s_*")
    assert "personal_data" in load(folder).manifest["checks"]  # all of them ran, and are kept


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        ({}, ""),
        ({"1": 30}, ""),
        ({"0": 1_040, "2": 30}, "of round 0: 1,040, of round 2: 30"),
    ],
)
def test_rows_of_several_rounds_are_told_by_round(ages: dict[str, int], words: str) -> None:
    assert training.age_words({"rounds": {"labels": ages}}, "labels") == words
    assert training.age_words({}, "labels") == ""


def earlier_run(workspace: Workspace, base: Path, **settings: Any) -> None:
    """Write a finished run r-0 of a base."""
    adapter = workspace.data / "runs" / "r-0" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    write_manifest(adapter)
    told = {"method": "dpo", "model": str(base), "model_fingerprint": find_model(base).fingerprint}
    told["settings"] = {"lora_rank": 4, "lora_alpha": 8, **settings}
    (adapter.parent / "config.json").write_text(json.dumps(told), "utf-8")


def settings_of(workspace: Workspace, **how: Any) -> dict[str, Any]:
    """Prepare a run that goes on from r-0 and return its settings."""
    run = training.begin(
        workspace, lambda line: None, method="dpo", snapshot=None, model=None, prepare=True,
        because="x", start_from="r-0", **how,
    )  # fmt: skip
    found: dict[str, Any] = read_json(workspace.data / "runs" / run / "config.json")["settings"]
    return found


def test_a_run_that_goes_on_has_the_recipe_of_the_earlier_ones_kind(
    workspace: Workspace, embedded: Path
) -> None:
    """All weights are trained at 5e-7, and the learning rate is checked as theirs."""
    earlier_run(workspace, embedded, tune="full")
    found = settings_of(workspace, settings=())
    assert (found["tune"], found["learning_rate"], found["epochs"]) == ("full", 5e-7, 1)
    for settings in (["learning_rate=2e-4"], {"learning_rate": 2e-4}):
        with pytest.raises(BadInput, match="on all weights on a base of 135 million"):
            settings_of(workspace, settings=settings)


def test_a_run_that_goes_on_from_lora_is_lora_whatever_is_said(
    workspace: Workspace, embedded: Path
) -> None:
    earlier_run(workspace, embedded, tune="lora")
    for settings in (["tune=full"], {"tune": "full", "lora_rank": 16}):
        found = settings_of(workspace, settings=settings)
        assert (found["tune"], found["learning_rate"]) == ("lora", 2e-4)
        assert (found["lora_rank"], found["lora_alpha"]) == (4, 8)


def test_a_run_is_not_resumed_on_another_base(workspace: Workspace, tiny: Path) -> None:
    """Its folder holds other weights since the run was cancelled."""
    earlier_run(workspace, tiny)
    config = workspace.data / "runs" / "r-0" / "config.json"
    other = {**read_json(config), "model_fingerprint": f"sha256:{'0' * 64}"}
    config.write_text(json.dumps(other), "utf-8")
    with pytest.raises(BadInput, match="is not the one that r-0 was trained on"):
        training.begin_again(workspace, "r-0", lambda line: None)
    with pytest.raises(BadInput, match="is not the one that r-0 was trained on"):
        workspace.client.token_scores(
            [{"role": "user", "content": "Why?"}], "So.", [config.parent / "adapter", None],
            finished=True,
        )  # fmt: skip
