"""The demo: from nothing to a model before and after, without a person. Knows no torch.

Starter prompts are answered four times, simulated labelers vote, the checks look, DPO trains, and
both models answer held-out prompts. Everything but the votes is real, and done by the functions
that the screens use. How far it has come lies in `demo.json` of the data folder; begun again, it
goes on.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from align import runs, starters, training
from align.answering import answer_seed, starter_prompts
from align.following import follow
from align.json_files import read_json, write_json
from align.models import EMBEDDED, find_model
from align.wire import GenerateRequest, SamplingSettings
from feedback import simulate
from feedback.frozen import split_of
from feedback.intervals import wilson
from feedback.items import add_prompts
from feedback.quality import run_checks
from feedback.settling import settle
from feedback.tastes import TASTES, Judged
from storage.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from align.workspace import Workspace
    from storage.records import Message

VOTES = 150
# Choice: four answers to a prompt, each compared with two others, a vote for each: answering takes
# time on two cores without bf16, and what a run learns from is pairs. A third of them, from twice
# the prompts, changed nothing that one could see (docs/log.md).
PER_PROMPT = 4  # answers
HELD_OUT = 8  # one prompt of so many is none that teaches, so that the run can be judged
TASTE, NOISE, LABELERS = "friendly", 0.1, 3
# Choice: longer than most good answers to the starter prompts; what is cut off loses.
ANSWERS = SamplingSettings(max_tokens=96)
GREEDY = SamplingSettings(max_tokens=128, temperature=0.0)
# Choice: an SFT term holds on to what was chosen; without it brevity alone is learned, up to
# answers that only echo the question. Each pair once, at the most that such a model stands: so few
# steps at the recipe's 2e-4 change hardly anything (docs/log.md).
SETTINGS = {"sft_weight": 0.2, "epochs": 1, "learning_rate": 5e-4}
BECAUSE = "a demo: its votes are simulated, so that what checks find in them is known"
MOST_ASKED = 16  # held-out prompts. Choice: about a minute, and enough for a picture
STEPS = ("answers", "votes", "checks", "training", "after")
FILE = "demo.json"

Progress = Callable[[str], None]


def told(data: Path) -> dict[str, Any]:
    """Return what demo.json says; {} where no demo was begun.

    {"votes", "taste", "noise", "labelers", "steps": {step: {"seconds", …}}, "going": step or "",
    "error", "run", "asked": [{"prompt", "before", "after", …}]}
    """
    return read_json(data / FILE)


def begin(data: Path, votes: int = VOTES, model: str = EMBEDDED) -> dict[str, Any]:
    """Return what `told` does, written down before the first step where there is nothing yet."""
    state = told(data) or {
        "votes": votes, "taste": TASTES[TASTE].words, "noise": NOISE, "labelers": LABELERS,
        "model": find_model(model).name, "steps": {}, "going": "", "error": "", "run": "",
        "asked": [],
    }  # fmt: skip
    write_json(data / FILE, state)
    return state


def run(
    workspace: Workspace, progress: Progress, *, votes: int = VOTES, model: str = EMBEDDED,
    settings: Mapping[str, Any] = SETTINGS,
) -> dict[str, Any]:  # fmt: skip
    """Do every step that is not done yet; return what `told` does.

    Raises:
        UserError: as the step that failed; what came before it stays done.
    """
    state = begin(workspace.data, votes, model)
    asked = {"model": model, "settings": dict(settings)}
    for step in STEPS:
        if step in state["steps"]:
            continue
        _keep(workspace, state | {"going": step, "error": ""})
        began = time.monotonic()
        try:
            found = DO[step](workspace, progress, state, asked)
        except UserError as error:
            _keep(workspace, state | {"going": "", "error": str(error)})
            raise
        state["steps"][step] = {"seconds": round(time.monotonic() - began, 1), **found}
        _keep(workspace, state | {"going": "", "error": ""})
    return told(workspace.data)


def _keep(workspace: Workspace, state: Mapping[str, Any]) -> None:
    write_json(workspace.data / FILE, state)


def _answers(
    workspace: Workspace, progress: Progress, state: dict[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Let the base answer starter prompts until there is enough to vote on."""
    starters.fill(
        workspace, state["votes"], labelers=1, thumbs=False, seed=0, progress=progress,
        prompts=prompts_for(ceil(state["votes"] / PER_PROMPT)), model=asked["model"],
        n=PER_PROMPT, settings=ANSWERS,
    )  # fmt: skip
    sizes = workspace.store.frame("sizes").iloc[0]
    return {name: int(sizes[name]) for name in ("prompts", "responses", "comparisons")}


def prompts_for(count: int) -> list[Sequence[Message]]:
    """Return the starter prompts that are answered, those that `count` takes first: some held-out
    ones among them, and none of duels."""
    parts = starters.by_split(starter_prompts())
    judging = parts["held_out"][::-1][: ceil(count / HELD_OUT)]  # `_after` asks the first ones
    return [*judging, *parts["train"]]


def _votes(
    workspace: Workspace, progress: Progress, state: dict[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Let simulated labelers vote, as far as they have not yet."""
    there = int((workspace.store.frame("votes")["source"] == "simulated").sum())
    if missing := state["votes"] - there:
        simulate.simulate_votes(
            workspace.store, missing, prefer=TASTE, noise=NOISE, labelers=LABELERS, seed=there,
            progress=progress,
        )  # fmt: skip
    return {"votes": state["votes"]}


def _checks(
    workspace: Workspace, progress: Progress, state: dict[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Let every check look at the votes."""
    found = run_checks(workspace.store)
    progress(f"{len(found)} checks\n")
    said = {one.name: {"severity": one.severity, "message": one.message} for one in found}
    return {"checks": said}


def _training(
    workspace: Workspace, progress: Progress, state: dict[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Train with DPO, or go on with the training that was begun."""
    if not state["run"]:
        state["run"] = training.begin(
            workspace, progress, method="dpo", snapshot=None, model=asked["model"],
            settings=asked["settings"], because=BECAUSE,
        )  # fmt: skip
        _keep(workspace, state | {"going": "training", "error": ""})
    elif runs.status(workspace.data, state["run"]).resumable:
        training.begin_again(workspace, state["run"], progress)
    done = follow(workspace.data, state["run"], progress)
    if done["status"] != "done":
        raise UserError(f"the training {state['run']} {done['status']}: see the Train screen")
    return {"report": done["report"]}


def _after(
    workspace: Workspace, progress: Progress, state: dict[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Let the model before and after answer held-out prompts, and ask the same taste about them."""
    store, run = workspace.store, state["run"]
    base, adapter = runs.model_of(workspace.data, run), runs.load_adapter(workspace.data, run)
    known = add_prompts(store, starter_prompts(), source="starter")
    settle(store)
    prompts = store.frame("prompts")
    clusters = dict(zip(prompts["prompt"], prompts["cluster"], strict=True))
    rows = {one.id: one for one in known if split_of(clusters[one.id]) == "held_out"}
    held_out = list(rows)[:MOST_ASKED]
    requests = [
        GenerateRequest(
            store.messages(rows[id]), answer_seed(0, id, 0), **dataclasses.asdict(GREEDY),
            adapter=which,
        )
        for id in held_out
        for which in (None, adapter)
    ]  # fmt: skip
    progress(f"both models answer {len(held_out)} held-out prompts\n")
    answers = workspace.client.generate(requests, model=base)
    state["asked"] = []
    for id, before, after in zip(held_out, answers[::2], answers[1::2], strict=True):
        question = store.messages(rows[id])[-1]["content"]
        costs = [
            TASTES[TASTE].cost(Judged(len(one.text), one.text, question, one.finished))
            for one in (before, after)
        ]
        state["asked"].append({
            "prompt": id,
            "question": question,
            **{
                name: {"text": one.text, "tokens": one.tokens, "finished": one.finished}
                for name, one in (("before", before), ("after", after))
            },
            "score": 0.5 if costs[0] == costs[1] else float(costs[1] < costs[0]),
        })  # fmt: skip
    return preferred(state["asked"])


def preferred(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Return on how many of the prompts the taste prefers the answer after: a tie is half a one."""
    n, won = len(asked), sum(one["score"] for one in asked)
    low, high = wilson(won, n) if n else (None, None)
    return {"prompts": n, "preferred": won, "low": low, "high": high}


DO: dict[str, Callable[..., dict[str, Any]]] = {
    "answers": _answers,
    "votes": _votes,
    "checks": _checks,
    "training": _training,
    "after": _after,
}
