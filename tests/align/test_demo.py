"""The demo: every step once, what it keeps, and going on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align import demo
from align.workspace import Workspace
from feedback.frozen import split_of
from storage.errors import UserError
from storage.records import Prompt


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the steps say only that they were done, in which order."""
    steps: list[str] = []

    def step(name: str) -> Any:
        def do(workspace: Any, progress: Any, state: dict[str, Any], asked: Any) -> dict[str, Any]:
            assert demo.told(workspace.data)["going"] == name
            steps.append(name)
            return {"found": len(steps)}

        return do

    monkeypatch.setattr(demo, "DO", {name: step(name) for name in demo.STEPS})
    return steps


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return SimpleNamespace(data=tmp_path)


def test_each_step_is_done_once_and_kept(place: Any, done: list[str], tiny: Path) -> None:
    found = demo.run(place, print, votes=30, model=str(tiny))
    assert done == list(demo.STEPS)
    assert found == demo.told(place.data)
    assert (found["votes"], found["going"], found["model"]) == (30, "", str(tiny))
    assert {step: one["found"] for step, one in found["steps"].items()} == {
        step: n for n, step in enumerate(demo.STEPS, start=1)
    }
    assert demo.run(place, print, votes=99, model=str(tiny)) == found
    assert len(done) == len(demo.STEPS)


def test_a_step_that_fails_says_why_and_is_done_again(
    place: Any, done: list[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> dict[str, Any]:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setitem(demo.DO, "checks", fail)
        with pytest.raises(UserError, match="the disk is full"):
            demo.run(place, print, model=str(tiny))
    told = demo.told(place.data)
    assert (told["error"], told["going"], list(told["steps"])) == (
        "the disk is full", "", ["answers", "votes"],
    )  # fmt: skip
    found = demo.run(place, print, model=str(tiny))
    assert done == list(demo.STEPS)
    assert found["error"] == ""


def test_what_the_taste_prefers_is_counted_with_ties_as_a_half() -> None:
    found = demo.preferred([{"score": score} for score in (1.0, 0.5, 0.0, 1.0)])
    assert (found["prompts"], found["preferred"]) == (4, 2.5)
    assert found["low"] < 0.625 < found["high"]
    assert demo.preferred([]) == {"prompts": 0, "preferred": 0, "low": None, "high": None}


def test_of_the_prompts_that_are_answered_some_judge_and_none_is_for_duels() -> None:
    splits = [split_of(Prompt.id_of(one)) for one in demo.prompts_for(38)[:38]]
    assert (splits.count("held_out"), splits.count("train")) == (5, 33)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "data") as opened:
        yield opened


@pytest.mark.slow
def test_the_whole_demo_on_a_tiny_model(workspace: Workspace, tiny: Path) -> None:
    """The real worker and a real training; of the votes thirty."""
    lines: list[str] = []
    settings = {"epochs": 1, "sft_weight": 0.2}
    found = demo.run(workspace, lines.append, votes=30, model=str(tiny), settings=settings)
    steps = found["steps"]
    assert list(steps) == list(demo.STEPS)
    assert steps["answers"]["comparisons"] == 32  # eight prompts, four answers in a ring
    assert len(workspace.store.frame("votes")) == 30
    assert set(workspace.store.frame("votes")["source"]) == {"simulated"}
    assert steps["training"]["report"]["length"]["prompts"] > 0
    assert 0 < steps["after"]["prompts"] == len(found["asked"]) <= demo.MOST_ASKED
    assert all(one["before"]["text"] != "" for one in found["asked"])
    assert demo.run(workspace, lines.append, model=str(tiny)) == found
