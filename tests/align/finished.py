"""What finished runs leave behind, for tests that look at runs and train none."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from align import runs
from align.manifest import write_manifest
from feedback.frozen import split_of
from storage.records import Prompt, Snapshot
from tests.feedback.stock import answered, say, stock

VOTES = 24
WEIGHTS = "adapter_model.safetensors"


def train(
    workspace: Any, tiny: Path, snapshot: Snapshot, *, after: str = "", **settings: Any
) -> str:
    """Leave behind what a finished run does, its weights apart; return its id."""
    run = runs.create_run(
        workspace.store, workspace.data, snapshot.id, "dpo", str(tiny), {"max_rows": 0} | settings,
        after or None, "start" if after else "base",
    )  # fmt: skip
    folder = workspace.data / "runs" / run.id
    (folder / "adapter").mkdir()
    (folder / "adapter" / WEIGHTS).write_bytes(run.id.encode())
    write_manifest(folder / "adapter")
    (folder / "status.json").write_text(json.dumps({"status": "done"}))
    report = {"held_out": {"pairs": 3, "reward_accuracy": 2 / 3, "low": 0.2, "high": 0.9}}
    (folder / "report.json").write_text(json.dumps(report))
    return run.id


def collect(workspace: Any, upto: int = VOTES, have: int = 0) -> list[str]:
    """Let somebody prefer the first answer of each new comparison; return the votes' ids."""
    return [say(workspace.store, one.id, "a") for one in stock(workspace.store, upto)[have:]]


def duel(workspace: Any, run: str, won: int, lost: int, against: str = "base") -> None:
    """Let people judge a duel: `won` prompts for the run, `lost` for the other one."""
    asked = (f"Duel {run} {against} {number}" for number in itertools.count())
    free = (one for one in asked if split_of(prompt_id(one)) == "duel")
    for number, question in enumerate(itertools.islice(free, won + lost)):
        one = answered(workspace.store, question, f"duel:{run}:{against}")
        say(workspace.store, one.id, "b" if number < won else "a")


def prompt_id(question: str) -> str:
    return Prompt.id_of([{"role": "user", "content": question}])
