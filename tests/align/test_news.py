"""A part's mark is another one exactly when there is something else to draw."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align.json_files import write_json
from align.locks import FileLock
from align.news import PARTS, news

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    """A folder with a run that a process trains, and one event in its store."""
    state = {"reached": 1, "made": 0}
    place = SimpleNamespace(
        data=tmp_path,
        state=state,
        store=SimpleNamespace(reached=lambda: state["reached"]),
        replenisher=SimpleNamespace(progress=lambda: {"made": state["made"]}),
    )
    run = tmp_path / "runs" / "r-1"
    run.mkdir(parents=True)
    write_json(run / "config.json", {"run": "r-1", "method": "dpo", "model": "tiny"})
    write_json(run / "status.json", {"status": "training", "step": 1, "steps": 9})
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    return place


def begin_sweep(place: Any) -> Path:
    file = place.data / "sweeps" / "w-1.json"
    file.parent.mkdir()
    record = {"sweep": "w-1", "created_at": "2026-01-01", "ended": False, "runs": []}
    file.write_text(json.dumps(record))
    return file


def vote(place: Any) -> None:
    place.state["reached"] += 1


def step(place: Any) -> None:
    with (place.data / "runs" / "r-1" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2}\n')


def warn(place: Any) -> None:
    warned = {"status": "training", "step": 1, "steps": 9, "warnings": [{"name": "kl"}]}
    write_json(place.data / "runs" / "r-1" / "status.json", warned)


def make_an_answer(place: Any) -> None:
    place.state["made"] += 1


def demonstrate(place: Any) -> None:
    write_json(place.data / "demo.json", {"steps": {}})


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda place: None, set()),
        (vote, {"votes"}),
        (step, {"runs"}),
        (warn, {"runs", "states"}),
        (make_an_answer, {"answers"}),
        (begin_sweep, {"sweeps"}),
        (demonstrate, {"demo"}),
    ],
)
def test_only_what_moved_has_another_mark(change: Any, moved: set[str], workspace: Any) -> None:
    before = news(workspace, PARTS)
    change(workspace)
    after = news(workspace, PARTS)
    assert {name for name in PARTS if before[name] != after[name]} == moved


def test_only_what_is_asked_for_is_looked_at(workspace: Any) -> None:
    assert set(news(workspace, ["votes", "no such part"])) == {"votes"}


def test_a_run_that_dies_is_news_although_it_writes_nothing(workspace: Any) -> None:
    lock = FileLock(workspace.data / "runs" / "r-1" / "lock")
    assert lock.acquire()
    before = news(workspace, PARTS)
    lock.release()
    after = news(workspace, PARTS)
    moved = {name for name in PARTS if before[name] != after[name]}
    assert moved == {"runs", "states", "waiting", "answers"}


def test_a_sweep_moves_with_its_runs_until_it_has_ended(workspace: Any) -> None:
    file = begin_sweep(workspace)
    seen = [news(workspace, PARTS)["sweeps"]]
    step(workspace)
    seen.append(news(workspace, PARTS)["sweeps"])
    file.write_text(json.dumps({**json.loads(file.read_text()), "ended": True}))
    seen.append(news(workspace, PARTS)["sweeps"])
    assert len(set(seen)) == 3
    step(workspace)
    assert news(workspace, PARTS)["sweeps"] == seen[-1]


def test_the_screens_listen_to_parts_that_there_are() -> None:
    heard: set[str] = set()
    for file in [*ROOT.glob("align/screens/*.py"), *ROOT.glob("feedback/screens/*.py")]:
        for names in re.findall(r'on_news\(\s*"([^"]+)"', file.read_text("utf-8")):
            heard |= set(names.split())
    assert heard == set(PARTS)
